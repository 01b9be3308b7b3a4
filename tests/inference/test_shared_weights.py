"""Variants in lockstep answer as they do alone, and what they share is computed once."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_family_loading import save
from tiny_families import TINY
from tiny_qwen import save_checkpoint
from transformers_reference import NORMALISE, adapter_of, decoder

from evalkit.cli import run_cli
from evalkit.core.types import MediaRef, Request, Response, Text
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.local import LocalExecutor
from evalkit.engine.planner import group_requests
from evalkit.engine.scheduler import run_requests
from evalkit.inference import vision_features
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.counters import EngineCounters
from evalkit.inference.vision_features import _connectors, encode_for_models, share_weights
from evalkit.models.base import LoadConfig, Model
from evalkit.models.hf_model import HfModel
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant
from evalkit.zoo.minisuite import MiniDataset


def has_same_tower(name: str, one: Any, other: Any) -> bool:
    adapter = adapter_of(name)
    return vision_features.has_same_tower(
        one, other, vision_tower=adapter.vision_tower, connector=adapter.connector
    )


def variants_of(name: str) -> list[Any]:
    """One base: itself, one with other connectors and language model, and one with other text alone."""
    base = TINY[name].model()
    others = [copy.deepcopy(base), copy.deepcopy(base)]
    torch.manual_seed(1)
    with torch.no_grad():
        for part in _connectors(others[0], adapter_of(name).connector).values():
            weights = part.parameters() if isinstance(part, torch.nn.Module) else [part]
            for weight in weights:
                weight.add_(0.1 * torch.randn_like(weight))
        for model in others:
            for weight in model.model.language_model.parameters():
                weight.add_(0.02 * torch.randn_like(weight))
    for model in others:
        share_weights(model, base)
    return [base, *others]


@pytest.mark.parametrize("name", TINY)
def test_features_for_several_models_are_those_for_each_alone(name: str) -> None:
    models = variants_of(name)
    media = [each for item in TINY[name].prompts for each in item.vision]
    calls = Counter[str]()

    def counted(model: Any, media: Sequence[Any], generation_tokens: Any) -> Any:
        calls["tower"] += 1
        return TINY[name].encode(model, media, generation_tokens)

    with torch.inference_mode():
        together = encode_for_models(models, counted, media, NORMALISE, connector=adapter_of(name).connector)
        assert calls["tower"] == 1
        for model, found in zip(models, together, strict=True):
            alone = TINY[name].encode(model, media, NORMALISE)
            for one, other in zip(found, alone, strict=True):
                torch.testing.assert_close(one.tokens, other.tokens, rtol=0, atol=0)
                assert len(one.deepstack) == len(other.deepstack)
                for deepstack, own in zip(one.deepstack, other.deepstack, strict=True):
                    torch.testing.assert_close(deepstack, own, rtol=0, atol=0)
    assert not torch.equal(together[0][0].tokens, together[1][0].tokens)
    assert together[0][0] is together[2][0], "equal connectors make equal features once"


@pytest.mark.parametrize("name", TINY)
def test_the_connectors_are_put_back(name: str) -> None:
    models = variants_of(name)
    before = dict(models[0].named_parameters())
    medium, paths = TINY[name].prompts[2].vision, adapter_of(name).connector
    encode_for_models(models, TINY[name].encode, medium, NORMALISE, connector=paths)
    after = dict(models[0].named_parameters())
    assert before.keys() == after.keys()
    assert all(before[key] is after[key] for key in before)


@pytest.mark.parametrize("name", TINY)
def test_only_the_same_tower_is_shared(name: str) -> None:
    first, second, third = variants_of(name)
    assert has_same_tower(name, first, second)
    assert has_same_tower(name, first, third)
    other = TINY[name].model()
    assert not has_same_tower(name, first, other), "equal, but not known to be"
    with torch.no_grad():
        tower = getattr(other.model, "visual", None) or other.model.vision_tower
        next(tower.parameters()).add_(1e-3)
    share_weights(other, first)
    assert not has_same_tower(name, first, other)


def test_shared_weights_are_in_memory_once() -> None:
    first, _, third = variants_of("qwen2_5_vl")
    tower = [{each.data_ptr() for each in model.model.visual.parameters()} for model in (first, third)]
    assert tower[0] == tower[1]
    text = [{each.data_ptr() for each in model.model.language_model.parameters()} for model in (first, third)]
    assert not text[0] & text[1]


def ask(model: Model, prefix: str, count: int = 6) -> list[Request]:
    shown = dict.fromkeys(row["image"]["bytes"] for row in MiniDataset("mini_chartqa", n=40).rows())
    pictures = [MediaRef("image", data=each) for each in shown]
    return [
        Request(
            key=f"{prefix}{number}",
            task="task",
            sample_id=str(number),
            prompt=model.info.render([pictures[number // 2], Text(f"Which is largest, {number}?")]),
            media=(pictures[number // 2],),
            max_new_tokens=6,
        )
        for number in range(count)
    ]


def texts(found: list[Response]) -> dict[str, tuple[int, ...]]:
    assert [each.error for each in found] == [None] * len(found)
    return {each.key: each.token_ids for each in found}


ROPES = ("vanilla", "mrope-i", "v2pe")


def loaded(folder: Path) -> LocalExecutor:
    executor = LocalExecutor()
    specs = [ModelSpec(str(folder), rope, LoadConfig(device="cpu")) for rope in ROPES]
    assert len(executor.load(specs, lockstep=True)) == len(ROPES)
    return executor


def folder_of(name: str, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path) if name == "qwen2_5_vl" else save(tmp_path / "c", name)


@pytest.mark.parametrize("name", TINY)
def test_variants_in_lockstep_answer_as_alone(name: str, tmp_path: Path) -> None:
    executor = loaded(folder_of(name, tmp_path))
    requests = [ask(model, f"m{number}-") for number, model in enumerate(executor.models)]
    # One has been interrupted before, and another has more to do.
    requests[1] = requests[1][3:]
    expected = []
    for model, own in zip(executor.models, requests, strict=True):
        found: list[Response] = []
        run_requests(model, own, on_batch=found.extend, workers=0)
        expected.append(texts(found))
        assert isinstance(model, HfModel)
        model.vision_encoder.release()
    executor.stats = stats = EngineCounters()
    together: list[list[Response]] = [[] for _ in requests]
    for number, batch in executor.generate(requests, EngineConfig(workers=0)):
        together[number] += batch
    assert [texts(found) for found in together] == expected
    assert stats.counts["requests"] == 15
    assert stats.counts["media"] == 3, "each picture is seen once for all three"


def test_a_question_of_several_models_is_one_request() -> None:
    picture = (MediaRef("image", path="a.png"),)
    first = [
        Request(key=f"a{n}", task="t", sample_id=str(n), prompt="?", media=picture, max_new_tokens=4)
        for n in range(3)
    ]
    second = [
        Request(key=f"b{n}", task="t", sample_id=str(n), prompt="?", media=picture, max_new_tokens=4)
        for n in (2, 3)
    ]
    (group,) = group_requests([first, second], lambda request: 7)
    assert [each.sample_id for each in group.requests] == ["0", "1", "2", "3"]
    expected = [((0, "a0"),), ((0, "a1"),), ((0, "a2"), (1, "b2")), ((1, "b3"),)]
    assert [each.consumers for each in group.members] == expected
    assert (group.prompt_tokens, group.max_tokens) == (7, 11)


def test_what_does_not_fit_or_suit_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = save(tmp_path / "one", "qwen2_vl"), save(tmp_path / "two", "internvl")
    specs = [ModelSpec(str(folder), "auto", LoadConfig(device="cpu")) for folder in (one, one, two)]
    executor = LocalExecutor()
    assert len(executor.load(specs, lockstep=True)) == 2
    assert len(executor.load(specs, lockstep=False)) == 1
    missing = ModelSpec(str(tmp_path / "three"))
    assert len(executor.load([specs[0], missing], lockstep=True)) == 1
    monkeypatch.setattr(HfModel, "fits_beside", lambda self, other: False)
    assert len(executor.load(specs, lockstep=True)) == 1
    executor.close()
    assert not executor.models


@pytest.mark.slow
def test_a_run_in_lockstep_stores_what_one_after_another_does(tmp_path: Path) -> None:
    words = ["run", "--model", "tiny", "--rope", "vanilla,mrope-i", "--limit", "4"]
    words += ["--tasks", "mini_docvqa,mini_chartqa,mini_refcoco,mini_video"]
    words += ["--workers", "0", "--dtype", "float32", "-q", "--output"]
    assert run_cli([*words, str(tmp_path / "a")]) == 0
    assert run_cli([*words, str(tmp_path / "b"), "--without", "lockstep"]) == 0
    found = []
    for run in ("a", "b"):
        lines = (tmp_path / run / "records.jsonl").read_text().splitlines()
        records = map(json.loads, lines)
        found.append({(each["arm"], each["key"]): each["token_ids"] for each in records})
    assert len(found[0]) == 32
    assert found[0] == found[1]


def test_the_decoder_of_a_model_is_untouched_by_others() -> None:
    """A model that shares its tower answers alone as before it did."""
    name = "qwen3_vl"
    family, models = TINY[name], variants_of(name)
    item = family.prompts[2]
    for model in models[1:]:
        installed = install(model, parse_variant("mrope-i"))
        one = decoder(model, installed, family.generation_tokens, family.encode)
        ((_, before),) = generate_all(one, [PrefixGroup((item,), item.prefix)])
        encode_for_models(models, family.encode, item.vision, NORMALISE, connector=adapter_of(name).connector)
        one = decoder(model, installed, family.generation_tokens, family.encode)
        ((_, after),) = generate_all(one, [PrefixGroup((item,), item.prefix)])
        assert before == after
