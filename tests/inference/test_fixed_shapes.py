"""``--deterministic``: to the last bit, an answer depends on nothing but its prompt, in 16 bits too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_optimizations import questions
from tiny_families import TINY, TinyFamily
from transformers_reference import decoder

from evalkit.cli import run_cli
from evalkit.core.types import Prepared
from evalkit.engine.config import EngineConfig
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.fixed_shapes import FIXED_SEQUENCES
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant

LIMITS = (40, 3, 17)


def cast(model: Any, dtype: torch.dtype) -> Any:
    """A model in another dtype, but for its rotary spectrum, which transformers keeps in float32."""
    rotary = model.model.language_model.rotary_emb
    kept = {name: value for name, value in vars(rotary)["_buffers"].items() if value is not None}
    model.to(dtype)
    for name, value in kept.items():
        setattr(rotary, name, value)
    return model


def many(family: TinyFamily) -> list[Prepared]:
    """More questions than a call of the model has tokens, some about the same media, of different lengths."""
    alone = [
        family.prompt(f"alone{number}", 3 + number, ("image", 1), 2, limit=LIMITS[number % 3])
        for number in range(15)
    ]
    return [*questions(family, limit=12), *alone]


def answers(
    family: TinyFamily, model: Any, installed: Any, groups: Sequence[Sequence[Prepared]], **options: Any
) -> dict[str, tuple[Any, float]]:
    """Tokens and margins of questions that are added group by group, a step between."""
    running = decoder(model, installed, family.generation_tokens, family.encode, **options)
    found = []
    for items in groups:
        found += running.add([PrefixGroup(tuple(items), items[0].prefix)])
        found += running.step()
    while running.running:
        found += running.step()
    return {item.key: (each.token_ids, each.margin) for item, each in found}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", TINY)
def test_an_answer_depends_on_its_prompt_alone(name: str, dtype: torch.dtype) -> None:
    family = TINY[name]
    model = cast(family.model(), dtype)
    installed = install(model, parse_variant("mrope-i"))
    asked = many(family)
    assert len(asked) > FIXED_SEQUENCES
    shared, rest = asked[:3], asked[3:]
    alone = {}
    for item in asked:
        alone |= answers(family, model, installed, [[item]], deterministic=True)
    together = answers(family, model, installed, [shared, *([each] for each in rest)], deterministic=True)
    backwards = answers(family, model, installed, [[each] for each in reversed(asked)], deterministic=True)
    some = answers(family, model, installed, [[each] for each in asked[::3]], deterministic=True)
    assert together == alone == backwards
    assert some == {each.key: alone[each.key] for each in asked[::3]}
    assert len({tokens for tokens, _ in alone.values()}) > 3
    if dtype == torch.float32:
        usual = answers(family, model, installed, [shared, *([each] for each in rest)])
        assert {key: tokens for key, (tokens, _) in usual.items()} == {
            key: each for key, (each, _) in alone.items()
        }


def test_what_was_preempted_is_answered_as_before() -> None:
    family = TINY["qwen2_5_vl"]
    model = cast(family.model(), torch.bfloat16)
    installed = install(model, parse_variant("mhrope"))
    asked = [PrefixGroup((item,), item.prefix) for item in many(family)]
    expected = {
        item.key: each
        for item, each in generate_all(
            decoder(model, installed, family.generation_tokens, family.encode, deterministic=True), asked
        )
    }
    running = decoder(model, installed, family.generation_tokens, family.encode, deterministic=True)
    found = running.add(asked)
    for _ in range(3):
        found += running.step()
    again = running.preempt(2)
    assert again
    found += running.add([PrefixGroup((item,), item.prefix) for item in again])
    while running.running:
        found += running.step()
    assert {item.key: each for item, each in found} == expected


def test_no_optimization_shares_a_computation() -> None:
    enabled = EngineConfig(deterministic=True).enabled
    assert not any((enabled.prefix, enabled.packing, enabled.graphs))
    assert enabled.media
    assert enabled.continuous
    assert EngineConfig().enabled.prefix


def test_runs_of_any_batch_size_store_the_same(tmp_path: Path) -> None:
    found = []
    for number, words in enumerate((["--batch-size", "1"], ["--batch-size", "5"], [])):
        run = tmp_path / str(number)
        command = [
            "run",
            "--model",
            "tiny",
            "--rope",
            "mrope",
            "--tasks",
            "mini_docvqa,mini_refcoco",
            "--limit",
            "12",
        ]
        command += ["--dtype", "bfloat16", "--deterministic", "--workers", "0", "-q", "--output", str(run)]
        assert run_cli([*command, *words]) in (0, 3)
        records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
        found.append([{k: v for k, v in each.items() if k not in ("seconds", "crc32")} for each in records])
        (system,) = json.loads((run / "manifest.json").read_text())["arms"]
        assert "deterministic" in json.dumps(system)
    assert len(found[0]) == 24
    assert found[0] == found[1] == found[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", TINY)
def test_an_answer_depends_on_its_prompt_alone_on_a_gpu(name: str) -> None:
    family = TINY[name]
    model = cast(family.model(), torch.bfloat16).to("cuda")
    installed = install(model, parse_variant("mrope-i"))
    asked = many(family)
    alone = {}
    for item in asked:
        alone |= answers(family, model, installed, [[item]], deterministic=True)
    assert (
        answers(family, model, installed, [asked[:3], *([each] for each in asked[3:])], deterministic=True)
        == alone
    )
