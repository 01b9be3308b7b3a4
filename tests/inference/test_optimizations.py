"""Optimizations change no answer: shared prefixes, continuous batching, preemption, growing KV caches."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import TINY, TinyFamily, recomputed
from tiny_qwen import EOS
from transformers_reference import NORMALISE, decoder

from evalkit.core.errors import OutOfMemory
from evalkit.core.types import Prepared
from evalkit.inference import decoder as decoding
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.counters import EngineCounters
from evalkit.inference.decoder import HfDecoder
from evalkit.models.conformance.tested_family import MORE_VARIANTS
from evalkit.models.families._qwen import vision as qwen_vision
from evalkit.rope.hf.install import Installed, install
from evalkit.rope.variants import VARIANTS, parse_variant

SOME = ("mrope-i", "mhrope", "circlerope(age=odd)", "v2pe")


@functools.cache
def family_model(name: str) -> Any:
    return TINY[name].model()


@pytest.fixture(params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def put(name: str, text: str) -> tuple[TinyFamily, Any, Installed]:
    model = family_model(name)
    return TINY[name], model, install(model, parse_variant(text))


def questions(family: TinyFamily, limit: int = 8) -> list[Prepared]:
    """Three questions of different length about the same video and image."""
    first = family.prompt("asked", 3, ("video", 1), 2, ("image", 1), 4, limit=limit)
    asked = []
    for number, length in enumerate((4, 9, 6)):
        rest = np.random.default_rng(number).integers(0, 256, length)
        ids = np.concatenate([first.input_ids[: first.prefix], rest])
        types = np.concatenate([first.token_types[: first.prefix], np.zeros(length, np.uint8)])
        asked.append(Prepared(f"q{number}", ids, types, first.vision, limit, prefix=first.prefix))
    return asked


def new(name: str, model: Any, installed: Installed, **options: Any) -> HfDecoder:
    family = TINY[name]
    return decoder(model, installed, family.generation_tokens, family.encode, **options)


@functools.cache
def answers_alone(name: str, variant: str) -> dict[tuple[str, int], Any]:
    """What is known of them so far: contents of a prompt depend on its key only."""
    return {}


def alone(name: str, model: Any, installed: Installed, items: Sequence[Prepared]) -> dict[str, Any]:
    known = answers_alone(name, str(installed.variant))
    for item in items:
        if (item.key, item.max_new_tokens) not in known:
            each = generate_all(new(name, model, installed), [PrefixGroup((item,), item.prefix)])
            known[item.key, item.max_new_tokens] = each[0][1].token_ids
    return {item.key: known[item.key, item.max_new_tokens] for item in items}


def texts(finished: Any) -> dict[str, Any]:
    return {item.key: generation.token_ids for item, generation in finished}


@pytest.mark.parametrize("text", [*VARIANTS, *MORE_VARIANTS])
def test_a_shared_prefix_changes_no_answer(name: str, text: str) -> None:
    family, model, installed = put(name, text)
    items = questions(family)
    stats = EngineCounters()
    found = generate_all(
        new(name, model, installed, stats=stats), [PrefixGroup(tuple(items), items[0].prefix)]
    )
    assert texts(found) == alone(name, model, installed, items)
    assert stats.counts["prefill"] == items[0].prefix + sum(item.length - item.prefix for item in items)
    assert stats.counts["media"] == 2


@pytest.mark.parametrize("text", SOME)
def test_answers_come_and_go(name: str, text: str) -> None:
    """Prefix groups are added while others run, and some prompts are preempted and begun anew."""
    family, model, installed = put(name, text)
    asked = questions(family, limit=20)
    items = [*family.prompts, *asked]
    expected = alone(name, model, installed, items)
    prefix_groups = [PrefixGroup((item,), item.prefix) for item in family.prompts]
    prefix_groups.insert(2, PrefixGroup(tuple(asked), asked[0].prefix))
    one = new(name, model, installed)
    found = texts(one.add(prefix_groups[:3]))
    for prefix_group in prefix_groups[3:]:
        found |= texts(one.step())
        found |= texts(one.add([prefix_group]))
    again = one.preempt(2)
    assert len(one.running) == min(2, len(items) - len(found) - len(again))
    while one.running:
        found |= texts(one.step())
    found |= texts(generate_all(one, [PrefixGroup((item,), item.prefix) for item in again]))
    assert found == expected
    assert one.tokens == 0


@pytest.mark.parametrize("text", SOME)
def test_a_long_answer_outgrows_its_cache(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, model, installed = put(name, text)
    items = questions(family, limit=70)
    own, sizes = decoding.merge_kv_caches, []
    monkeypatch.setattr(
        decoding, "merge_kv_caches", lambda parts, size: sizes.append(size) or own(parts, size)
    )
    found = texts(generate_all(new(name, model, installed), [PrefixGroup(tuple(items), items[0].prefix)]))
    assert sizes or all(len(ids) < 70 for ids in found.values()), "some ended before"
    assert found["q1"] == tuple(recomputed(model, family, items[1], found["q1"]))[: len(found["q1"])]
    assert found == alone(name, model, installed, items)


def test_prefill_batches_are_cut_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    family, model, installed = put("qwen2_5_vl", "mrope-i")
    expected = alone("qwen2_5_vl", model, installed, family.prompts)
    monkeypatch.setattr(decoding, "MAX_PREFILL_TOKENS", 40)
    prefix_groups = [PrefixGroup((item,), item.prefix) for item in family.prompts]
    assert texts(generate_all(new("qwen2_5_vl", model, installed), prefix_groups)) == expected


@pytest.mark.parametrize("family_name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_a_video_may_be_encoded_in_parts(family_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family, model, _ = put(family_name, "mrope-i")
    media = [each for item in family.prompts for each in item.vision]
    whole = qwen_vision.encode(model, media, NORMALISE)
    single = [qwen_vision.encode(model, [each], NORMALISE)[0] for each in media]
    monkeypatch.setattr(qwen_vision, "max_patches_per_call", lambda device: 40)
    cut = qwen_vision.encode(model, media, NORMALISE)
    for each, other, third in zip(whole, cut, single, strict=True):
        for ours in (other, third):
            torch.testing.assert_close(each.tokens, ours.tokens, rtol=1e-5, atol=1e-5)
            assert len(each.deepstack) == len(ours.deepstack) == int(family_name == "qwen3_vl")


@pytest.mark.parametrize("family_name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_features_are_those_of_the_untouched_tower(family_name: str) -> None:
    family, model, _ = put(family_name, "mrope-i")
    for item in family.prompts:
        for medium, ours in zip(item.vision, qwen_vision.encode(model, item.vision, NORMALISE), strict=True):
            shown = family.media_inputs(model, [Prepared("k", *(item.input_ids,) * 2, (medium,), 1)], {})
            with torch.inference_mode():
                theirs = model.model.visual(*shown.values())
            torch.testing.assert_close(ours.tokens, theirs.pooler_output, rtol=1e-5, atol=1e-5)


def test_one_call_of_attention_for_all_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers calls it once for every window and layer."""
    from evalkit.inference import attention

    family, model, _ = put("qwen2_5_vl", "mrope-i")
    calls: list[torch.Size] = []
    own = attention.scaled_dot_product_attention

    def counted(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(query.shape)
        return own(query, *args, **kwargs)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", counted)
    media = [family.prompt(f"{n}", ("image", 2)).vision[0] for n in range(5)]
    qwen_vision.encode(model, media, NORMALISE)
    assert len(calls) == len(model.model.visual.blocks)
    assert calls[0][0] == 5


def test_running_out_of_memory_while_going_on_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    family, model, installed = put("qwen2_5_vl", "mrope")
    expected = alone("qwen2_5_vl", model, installed, family.prompts)
    one = new("qwen2_5_vl", model, installed)
    found = texts(one.add([PrefixGroup((item,), item.prefix) for item in family.prompts]))
    one.step()  # the first tokens are here
    own = HfDecoder._select_tokens

    def burst(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    running = [item.key for item in one.running]
    monkeypatch.setattr(HfDecoder, "_select_tokens", burst)
    with pytest.raises(OutOfMemory, match="2 GiB"):
        one.step()
    assert [item.key for item in one.running] == running
    assert not one.vision_encoder._cache  # room was made
    monkeypatch.setattr(HfDecoder, "_select_tokens", own)
    while one.running:
        found |= texts(one.step())
    assert found == expected


@pytest.mark.parametrize("limit", [1, 8])
def test_running_out_of_memory_for_pending_prefills_loses_nothing(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First tokens have arrived, and there is no room for the KV caches; prompts are added and preempted."""
    family, model, installed = put("qwen2_5_vl", "mrope")
    asked = questions(family, limit=limit)
    items = [*asked, *family.prompts]
    expected = alone("qwen2_5_vl", model, installed, items)
    one = new("qwen2_5_vl", model, installed)
    own, finished = decoding.kv_caches_of, one.add([PrefixGroup(tuple(asked), asked[0].prefix)])

    def burst(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")

    prefix_groups = [PrefixGroup((item,), item.prefix) for item in family.prompts]
    monkeypatch.setattr(decoding, "kv_caches_of", burst)
    for again in (lambda: one.add(prefix_groups), one.step, one.step):
        with pytest.raises(OutOfMemory, match="3 GiB"):
            again()
        assert [item.key for item in one.running] == [item.key for item in asked]
    dropped = one.preempt(1)
    assert [item.key for item in dropped] == ["q1", "q2"]
    monkeypatch.setattr(decoding, "kv_caches_of", own)
    finished += one.add(prefix_groups)
    while one.running:
        finished += one.step()
    finished += generate_all(one, [PrefixGroup((item,), item.prefix) for item in dropped])
    assert len(finished) == len(items)
    assert texts(finished) == expected


def test_the_margin_is_that_of_the_closest_choice() -> None:
    family, model, installed = put("qwen2_5_vl", "mrope")
    item = family.prompts[0]
    ((_, found),) = generate_all(new("qwen2_5_vl", model, installed), [PrefixGroup((item,), item.prefix)])
    ids = np.concatenate([item.input_ids, found.token_ids])
    inputs = family.own_inputs(model, item)
    inputs["mm_token_type_ids"] = torch.nn.functional.pad(
        inputs["mm_token_type_ids"], (0, len(found.token_ids))
    )
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(ids)[None], **inputs).logits[0, item.length - 1 :].clone()
    logits[:, list(family.generation_tokens.banned_token_ids)] = -torch.inf
    steps = len(found.token_ids) + (found.finish_reason == "stop")
    best = logits[:steps].topk(2).values
    assert found.margin == pytest.approx(float((best[:, 0] - best[:, 1]).min()), abs=1e-3)
    assert EOS not in found.token_ids
