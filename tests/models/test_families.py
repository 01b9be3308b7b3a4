"""Variants in every family with the rest of what transformers can do: conversations, static caches, beams,
compilation, masks. What every family must pass is in evalkit/models/conformance.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from tiny_families import TINY, TinyFamily
from tiny_qwen import EOS, PAD
from transformers_reference import generate, prefill

from evalkit.rope.hf.install import Installed, install
from evalkit.rope.variants import parse_variant

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


# One graph also where DeepStack picks visual tokens by a mask (Qwen3-VL); broken there, it takes much longer.
@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
def test_the_language_model_can_be_compiled(name: str) -> None:
    """One layer of a variant that is the same in all: tracing takes a second for each."""
    torch._dynamo.reset()
    for text, layers in (("mrope-i", 1), ("mhrope", 1), ("circlerope(age=odd)", 2)):
        family, model, installed = put(name, text)
        inputs = prefill(
            model, installed, [family.prompts[0]], family.generation_tokens, family.media_inputs
        )[1]
        text_model = model.model.language_model
        forward, whole = text_model.forward, text_model.layers
        text_model.layers = whole[:layers]
        with torch.inference_mode():
            eager = model(**inputs).logits
            text_model.forward = torch.compile(forward, backend="aot_eager")
            compiled = model(**inputs).logits
        text_model.forward, text_model.layers = forward, whole
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
