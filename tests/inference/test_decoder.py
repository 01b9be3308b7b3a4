"""Generation on a tiny random Qwen2.5-VL: neither the cache nor the batch changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny_qwen import EOS, IMAGE_PAD, PAD, PROMPTS, VIDEO_PAD, make_model, prompt
from transformers_reference import generate as generate_with
from transformers_reference import prefill, qwen_inputs

from evalkit.core.errors import OutOfMemory
from evalkit.core.types import Generation, Prepared
from evalkit.inference.sequence import SequenceState
from evalkit.inference.stopping import GenerationTokens, is_loop
from evalkit.models.families._qwen.vision import encode
from evalkit.rope.hf.install import Installed, install
from evalkit.rope.variants import parse_variant

VARIANTS = ("vanilla", "mrope", "mrope-i", "mrope-i(spatial_reset=false)", "mhrope")
BANNED = (IMAGE_PAD, VIDEO_PAD, PAD)
VISUAL = (IMAGE_PAD, VIDEO_PAD)
TOKENS = GenerationTokens(frozenset({EOS}), BANNED, VISUAL)


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model()


@pytest.fixture(params=VARIANTS)
def installed(request: pytest.FixtureRequest, model: Any) -> Installed:
    return install(model, parse_variant(request.param))


def generate(
    model: Any, installed: Installed, items: Sequence[Prepared], generation_tokens: GenerationTokens = TOKENS
) -> list[Generation]:
    return generate_with(model, installed, items, generation_tokens, encode)


def tokens(found: list[Generation]) -> list[list[int]]:
    return [list(each.token_ids) for each in found]


def uncached(model: Any, installed: Installed, item: Prepared) -> list[int]:
    """Greedy generation that computes everything anew for each token, positions included."""
    found: list[int] = []
    while len(found) < item.max_new_tokens:
        placement, inputs = prefill(model, installed, [item], TOKENS, qwen_inputs)
        after = [placement.after(placement.lengths[:, None] + k) for k in range(len(found))]
        new = torch.cat([inputs["position_ids"], *after], dim=2)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([found], dtype=torch.long)], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["position_ids"] = new
        with torch.inference_mode():
            logits = model(**inputs, use_cache=False).logits[0, -1]
        token = int(logits.index_fill(0, torch.tensor(BANNED), -torch.inf).argmax())
        if token in TOKENS.stop_token_ids:
            break
        found.append(token)
    return found


def test_the_cache_changes_nothing(model: Any, installed: Installed) -> None:
    for item in PROMPTS:
        assert tokens(generate(model, installed, [item])) == [uncached(model, installed, item)], item.key


def test_the_batch_changes_nothing(model: Any, installed: Installed) -> None:
    alone = [tokens(generate(model, installed, [item]))[0] for item in PROMPTS]
    by_four = [generate(model, installed, PROMPTS[i : i + 4]) for i in (0, 4)]
    assert [ids for rows in by_four for ids in tokens(rows)] == alone
    assert tokens(generate(model, installed, PROMPTS)) == alone
    assert tokens(generate(model, installed, PROMPTS[::-1])) == alone[::-1]


def test_padding_moves_logits_by_rounding_only(model: Any, installed: Installed) -> None:
    with torch.inference_mode():
        _, inputs = prefill(model, installed, PROMPTS, TOKENS, qwen_inputs)
        together = model(**inputs, logits_to_keep=1).logits[:, -1]
        for index, item in enumerate(PROMPTS):
            _, inputs = prefill(model, installed, [item], TOKENS, qwen_inputs)
            alone = model(**inputs, logits_to_keep=1).logits[0, -1]
            torch.testing.assert_close(together[index], alone, rtol=1e-4, atol=1e-4)


def test_transformers_generate_agrees(model: Any, installed: Installed) -> None:
    for item in PROMPTS:
        _, inputs = prefill(model, installed, [item], TOKENS, qwen_inputs)
        del inputs["position_ids"]
        seconds = [medium.seconds_per_grid for medium in item.vision if medium.kind == "video"]
        output = model.generate(
            **inputs,
            mm_token_type_ids=torch.from_numpy(item.token_types).int()[None],
            **({"second_per_grid_ts": torch.tensor(seconds)} if seconds else {}),
            do_sample=False,
            max_new_tokens=item.max_new_tokens,
            eos_token_id=EOS,
            pad_token_id=PAD,
            suppress_tokens=list(BANNED),
        )
        theirs = [token for token in output[0, item.length :].tolist() if token != EOS]
        assert tokens(generate(model, installed, [item])) == [theirs], item.key


def test_variants_see_pictures_differently(model: Any) -> None:
    def logits(variant: str) -> torch.Tensor:
        installed = install(model, parse_variant(variant))
        with torch.inference_mode():
            return model(**prefill(model, installed, [PROMPTS[2]], TOKENS, qwen_inputs)[1]).logits

    found = [logits(variant) for variant in VARIANTS]
    for index, first in enumerate(found):
        for second in found[index + 1 :]:
            assert (first - second).abs().max() > 1e-3


def test_every_sequence_keeps_its_own_limit_and_stops(model: Any) -> None:
    installed = install(model, parse_variant("mrope"))
    short, long = prompt("a", 6, limit=3), prompt("b", 9, limit=9)
    first, second = generate(model, installed, [short, long])
    assert (len(first.token_ids), first.finish_reason) == (3, "length")
    assert (len(second.token_ids), second.finish_reason) == (9, "length")
    ending = GenerationTokens(frozenset({second.token_ids[4]}), BANNED, VISUAL)
    _, again = generate(model, installed, [short, long], ending)
    place = second.token_ids.index(second.token_ids[4])
    assert (again.token_ids, again.finish_reason) == (second.token_ids[:place], "stop")


def test_placeholders_are_never_generated(model: Any) -> None:
    installed = install(model, parse_variant("mrope"))
    wanted = generate(model, installed, [PROMPTS[0]])[0].token_ids[0]
    generation_tokens = GenerationTokens(TOKENS.stop_token_ids, (*BANNED, wanted), VISUAL)
    assert wanted not in generate(model, installed, [PROMPTS[0]], generation_tokens)[0].token_ids


def test_a_loop_is_cut_at_the_same_place_in_every_batch() -> None:
    sequence = SequenceState(prompt("a", 3, limit=1000), torch.zeros(3))
    stream = [7, 8, 9, *[1, 2, 3] * 400]
    for token in stream:
        if sequence.finish_reason is not None:
            break
        sequence.accept(token, 1.0, frozenset())
    assert sequence.finish_reason == "loop"
    assert sequence.token_ids == stream[: 3 + 64]
    assert not is_loop(list(range(500)))
    assert not is_loop([*range(33)] * 30)  # a phrase of more than 32 tokens is not judged


def test_out_of_memory_is_reported_as_such(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(model, parse_variant("mrope"))

    def burst(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(model.model.language_model, "forward", burst)
    with pytest.raises(OutOfMemory, match="2 GiB"):
        generate(model, installed, PROMPTS)


def test_other_errors_are_not_swallowed(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(model, parse_variant("mrope"))

    def broken(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(model.model.language_model, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        generate(model, installed, PROMPTS)
