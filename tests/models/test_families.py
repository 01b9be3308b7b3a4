"""Every variant in every family: generation is exact, whatever the cache and the batch."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny_families import TINY, TinyFamily
from tiny_qwen import EOS, PAD
from transformers_reference import generate, prefill

from evalkit.core.types import Prepared
from evalkit.rope.hf.install import Installed, install, installed_in, uninstall
from evalkit.rope.variants import VARIANTS, parse_variant

MORE = (
    "circlerope(age=odd)",
    "hope(temporal_stride=0.75)",
    "mrope-i(scaling=yarn(8))",
    "position=diagonal,frequency=heads,scaling=ntk(4)",
    "position=circle(age=second_half),frequency=heads",
    "omni-rope(text=copy,scaling=per_axis)",
)
SHORT = ("mrope-i", "mhrope", "il-rope", "circlerope(age=odd)", "v2pe")


@functools.cache
def family_model(name: str) -> Any:
    return TINY[name].model()


@pytest.fixture(params=TINY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def put(name: str, text: str) -> tuple[TinyFamily, Any, Installed]:
    model = family_model(name)
    return TINY[name], model, install(model, parse_variant(text))


def answers(
    model: Any, installed: Installed, family: TinyFamily, items: Sequence[Prepared]
) -> list[list[int]]:
    found = generate(model, installed, items, family.generation_tokens, family.encode)
    return [list(each.token_ids) for each in found]


@functools.cache
def each_alone(name: str, text: str) -> list[list[int]]:
    """Answers of our decoder to a family's prompts, one at a time: what three tests compare with."""
    family, model, installed = put(name, text)
    return [answers(model, installed, family, [item])[0] for item in family.prompts]


@torch.inference_mode()
def recomputed(model: Any, family: TinyFamily, item: Prepared, answer: Sequence[int]) -> list[int]:
    """The token after the prompt, and after each beginning of an answer, without a cache: in one plain call,
    since no token sees what comes after it.
    """
    inputs = family.own_inputs(model, item)
    embedded = inputs.pop("inputs_embeds", None)
    inputs.pop("input_ids", None)
    assert embedded is None
    ids = torch.cat([torch.from_numpy(item.input_ids), torch.tensor(answer, dtype=torch.long)])[None]
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(answer)))
    logits = model(input_ids=ids, **inputs, use_cache=False).logits[0, item.length - 1 :]
    tokens: list[int] = (
        logits.index_fill(1, torch.tensor(family.generation_tokens.banned_token_ids), -torch.inf)
        .argmax(1)
        .tolist()
    )
    return tokens


@pytest.mark.parametrize("text", [*VARIANTS, *MORE])
def test_cached_generation_equals_recomputation(name: str, text: str) -> None:
    alone = each_alone(name, text)
    family, model, _ = put(name, text)
    for item, found in zip(family.prompts, alone, strict=True):
        tokens = recomputed(model, family, item, found)
        assert tokens[: len(found)] == found, item.key
        assert len(found) == item.max_new_tokens or tokens[-1] == EOS


@pytest.mark.parametrize("text", [*VARIANTS, *MORE])
def test_a_left_padded_batch_equals_each_row_alone(name: str, text: str) -> None:
    alone = each_alone(name, text)
    family, model, installed = put(name, text)
    assert answers(model, installed, family, family.prompts) == alone


@pytest.mark.parametrize("text", [*VARIANTS, *MORE])
def test_transformers_generate_agrees(name: str, text: str) -> None:
    alone = each_alone(name, text)
    family, model, _ = put(name, text)
    for item, found in zip(family.prompts, alone, strict=True):
        output = model.generate(
            input_ids=torch.from_numpy(item.input_ids)[None],
            **family.own_inputs(model, item),
            do_sample=False,
            max_new_tokens=item.max_new_tokens,
            eos_token_id=EOS,
            pad_token_id=PAD,
            suppress_tokens=list(family.generation_tokens.banned_token_ids),
        )
        theirs = [token for token in output[0, item.length :].tolist() if token != EOS]
        assert found == theirs, item.key


@pytest.mark.parametrize("text", VARIANTS)
def test_text_alone_is_answered_as_promised(name: str, text: str) -> None:
    _, model, _ = put(name, text)
    ids = torch.arange(3, 140).view(1, -1)
    with torch.inference_mode():
        mine = model(input_ids=ids).logits
        uninstall(model)
        untouched = model(input_ids=ids).logits
    assert torch.equal(mine, untouched) == VARIANTS[text].keeps_text_prior


def test_the_native_variant_is_the_untouched_model(name: str) -> None:
    """Bit for bit, on images; transformers numbers text after Qwen's videos wrongly."""
    family, model, installed = put(name, TINY[name].native)
    for item in family.prompts[:2]:
        with torch.inference_mode():
            mine = model(
                **prefill(model, installed, [item], family.generation_tokens, family.media_inputs)[1]
            ).logits
            inputs = family.own_inputs(model, item)
            uninstall(model)
            theirs = model(input_ids=torch.from_numpy(item.input_ids)[None], **inputs).logits
            installed = install(model, parse_variant(family.native))
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("text", SHORT)
def test_a_conversation_goes_on_after_generated_text(name: str, text: str) -> None:
    """A second turn on the cache of the first equals the whole conversation computed at once."""
    family, model, _ = put(name, text)
    first = family.prompts[3]
    inputs = family.own_inputs(model, first)
    ids = torch.from_numpy(first.input_ids)[None]
    turn = torch.tensor([[9, 8, 7, 6]])
    common = {"do_sample": False, "eos_token_id": EOS, "pad_token_id": PAD}
    common["suppress_tokens"] = [*family.generation_tokens.banned_token_ids, EOS]
    done = model.generate(input_ids=ids, **inputs, **common, max_new_tokens=5, return_dict_in_generate=True)
    whole = torch.cat([done.sequences, turn], dim=1)
    types = inputs.pop("mm_token_type_ids", None)
    if types is not None:
        types = {"mm_token_type_ids": torch.nn.functional.pad(types, (0, whole.shape[1] - types.shape[1]))}
    media = {key: value for key, value in inputs.items() if key not in ("input_ids", "inputs_embeds")}
    ahead = model.generate(
        input_ids=whole, past_key_values=done.past_key_values, **(types or {}), **common, max_new_tokens=6
    )
    fresh = model.generate(input_ids=whole, **media, **(types or {}), **common, max_new_tokens=6)
    assert torch.equal(ahead, fresh)


@pytest.mark.parametrize("text", SHORT)
def test_static_caches_and_beams_work(name: str, text: str) -> None:
    family, model, _ = put(name, text)
    item = family.prompts[3]
    ids, inputs = torch.from_numpy(item.input_ids)[None], family.own_inputs(model, item)
    common = {"do_sample": False, "eos_token_id": EOS, "pad_token_id": PAD, "max_new_tokens": 6}
    common["suppress_tokens"] = list(family.generation_tokens.banned_token_ids)
    plain = model.generate(input_ids=ids, **inputs, **common)
    static = model.generate(
        input_ids=ids, **inputs, **common, cache_implementation="static", disable_compile=True
    )
    assert torch.equal(plain, static)
    beams = model.generate(input_ids=ids, **inputs, **common, num_beams=3)
    assert beams.shape[1] > ids.shape[1]


def test_uninstalling_restores_everything(name: str) -> None:
    model = family_model(name)
    uninstall(model)
    base, text_model = model.model, model.model.language_model
    before = [dict(each.__dict__) for each in (model, base, text_model, text_model.layers[0].self_attn)]
    rotary = text_model.rotary_emb
    for text in ("mhrope", "circlerope(age=odd)", "il-rope"):
        install(model, parse_variant(text))
        uninstall(model)
    after = [dict(each.__dict__) for each in (model, base, text_model, text_model.layers[0].self_attn)]
    assert text_model.rotary_emb is rotary
    assert installed_in(model) is None
    assert before == after


def test_the_language_model_can_be_compiled(name: str) -> None:
    torch._dynamo.reset()
    for text in ("mrope-i", "mhrope", "circlerope(age=odd)"):
        family, model, installed = put(name, text)
        inputs = prefill(
            model, installed, [family.prompts[0]], family.generation_tokens, family.media_inputs
        )[1]
        with torch.inference_mode():
            eager = model(**inputs).logits
            text_model = model.model.language_model
            forward = text_model.forward
            text_model.forward = torch.compile(forward, backend="aot_eager")
            compiled = model(**inputs).logits
            text_model.forward = forward
        torch.testing.assert_close(compiled, eager, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("text", ["mrope-i", "mhrope", "circlerope(age=odd)"])
def test_masks_are_made_from_a_row_that_counts_tokens(name: str, text: str) -> None:
    """Flash attention looks for packed sequences in the ids that the language model passes on; positions of
    a variant there would be taken for several sequences.
    """
    family, model, installed = put(name, text)
    seen: list[torch.Tensor | None] = []
    own = type(model.model.language_model).forward

    def watched(*args: Any, position_ids: torch.Tensor | None = None, **kwargs: Any) -> Any:
        seen.append(position_ids)
        return own(model.model.language_model, *args, position_ids=position_ids, **kwargs)

    model.model.language_model._evalkit_forward = watched
    item = family.prompts[3]
    with torch.inference_mode():
        inputs = prefill(model, installed, [item], family.generation_tokens, family.media_inputs)[1]
        model(**inputs)
    generate(model, installed, [item], family.generation_tokens, family.encode)
    model.model.language_model._evalkit_forward = None
    expected = [list(range(item.length)), list(range(item.length))]
    expected += [[item.length + step] for step in range(len(seen) - 2)]
    assert [ids.tolist() for ids in seen] == [[row] for row in expected]


@pytest.mark.parametrize("name", ["qwen2_5_vl", "internvl"])  # 15 s each: it compiles
def test_flex_attention_answers_as_sdpa_does(name: str) -> None:
    model = TINY[name].model()
    family, installed = TINY[name], install(model, parse_variant("mhrope"))
    inputs = prefill(model, installed, family.prompts[:2], family.generation_tokens, family.media_inputs)[1]
    with torch.inference_mode():
        expected = model(**inputs, logits_to_keep=1).logits
        model.model.language_model.config._attn_implementation = "flex_attention"
        found = model(**inputs, logits_to_keep=1).logits
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
