"""A compiled model answers as it did."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import TINY
from transformers_reference import decoder, generate

from evalkit.cli import run_cli
from evalkit.core.errors import EnvironmentProblem
from evalkit.inference.base import PrefixGroup
from evalkit.inference.compile import compile_parts
from evalkit.models import hf_model
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["qwen2_5_vl", "internvl"])
def test_a_compiled_model_gives_the_same_answers(name: str) -> None:
    family = TINY[name]
    found = []
    for compiled in (False, True):
        model = family.model()
        installed = install(model, parse_variant("mhrope"))
        if compiled:
            assert compile_parts(model) > 0
        together = generate(model, installed, family.prompts, family.generation_tokens, family.encode)
        alone = generate(model, installed, family.prompts[:1], family.generation_tokens, family.encode)
        found.append([each.token_ids for each in [*together, *alone]])
    assert found[0] == found[1]


def test_steps_run_uncompiled() -> None:
    """Compiled layers are called in prefill only."""
    family = TINY["internvl"]
    model = family.model()
    layers = model.model.language_model.layers
    calls: list[torch.nn.Module] = []

    def compiled(layer: torch.nn.Module) -> Callable[..., Any]:
        def call(*words: Any, **options: Any) -> Any:
            calls.append(layer)
            return layer._call_impl(*words, **options)

        return call

    own = [compiled(layer) for layer in layers]
    for layer, call in zip(layers, own, strict=True):
        layer._compiled_call_impl = call
    one = decoder(model, install(model, parse_variant("mrope")), family.generation_tokens, family.encode)
    one.add([PrefixGroup((item,), item.prefix) for item in family.prompts])
    assert calls == list(layers)
    while one.running:
        one.step()
    assert one.stats.counts["steps"] > 1
    assert calls == list(layers)
    assert [layer._compiled_call_impl for layer in layers] == own


def test_a_run_says_how_long_compiling_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hf_model, "compile_parts", lambda model, compile_tower: 12.34)
    words = ["run", "--model", "tiny", "--rope", "mrope", "--tasks", "mini_chartqa", "--limit", "2"]
    assert run_cli([*words, "--workers", "0", "--compile", "--output", str(tmp_path / "out")]) == 0
    assert "tiny@mrope: compiled in 12.3 s" in capsys.readouterr().err
    assert run_cli([*words, "--workers", "0", "--output", str(tmp_path / "other")]) == 0
    assert "compiled" not in capsys.readouterr().err


def test_what_a_compiler_can_t_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object, **options: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    with pytest.raises(EnvironmentProblem, match="leave `--compile` out"):
        compile_parts(TINY["qwen3_vl"].model())
