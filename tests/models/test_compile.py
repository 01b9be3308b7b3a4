"""A compiled model answers as it did."""

from __future__ import annotations

import shutil

import pytest
import torch
from reference import generate
from tiny_families import TINY

from evalkit.errors import EnvironmentProblem
from evalkit.models.compile import compile_parts
from evalkit.rope.install import install
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
        together = generate(model, installed, family.prompts, family.rules, family.encode)
        alone = generate(model, installed, family.prompts[:1], family.rules, family.encode)
        found.append([each.token_ids for each in [*together, *alone]])
    assert found[0] == found[1]


def test_what_a_compiler_can_t_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object, **options: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch.nn.Module, "compile", broken)
    with pytest.raises(EnvironmentProblem, match="leave `--compile` out"):
        compile_parts(TINY["qwen3_vl"].model())
