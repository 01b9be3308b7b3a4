"""Designs of one axis, two and four, from files, in tiny models of every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from outside_files import LINES, VROPE, catalog
from tiny_families import TINY
from tiny_qwen import EOS, PAD, make_model
from transformers_reference import generate

from evalkit.inference.sequence import segments_of
from evalkit.rope.hf.install import install, installed_in, uninstall
from evalkit.rope.parameters import BadParameter
from evalkit.rope.variant import RopeVariant

VARIANTS = {
    "line": 1,
    # Of 16 pairs; `plane` itself is for heads of 64.
    "position=plane,frequency=interleave(0,8,8)": 2,
    "vrope": 4,
}
MORE = torch.tensor([[9, 8, 7, 6, 5]])


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RopeVariant]:
    found = catalog(tmp_path_factory.mktemp("ropes"), lines=LINES, vrope=VROPE)
    return {text: found.parse(text) for text in VARIANTS}


@pytest.mark.parametrize("text", VARIANTS)
def test_position_ids_have_the_designs_axes(variants: dict[str, RopeVariant], text: str) -> None:
    family, model = TINY["qwen2_5_vl"], make_model()
    installed = install(model, variants[text])
    item = family.prompts[3]
    placed = installed.position_batch([segments_of(item)], item.length)
    assert placed.prompt.shape == (1 + VARIANTS[text], 1, item.length)
    assert placed.next_position.shape == (VARIANTS[text], 1)
    rotary = model.model.language_model.rotary_emb
    assert rotary.angles(placed.prompt[1:]).shape == (1, item.length, 16)
    assert sorted(set(rotary.axes.tolist())) == list(range(VARIANTS[text]))


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("text", VARIANTS)
@torch.inference_mode()
def test_cached_and_uncached_are_equal(variants: dict[str, RopeVariant], name: str, text: str) -> None:
    """A prompt and five more tokens, in one call and in three."""
    family, model = TINY[name], TINY[name].model()
    install(model, variants[text])
    for item in (family.prompts[0], family.prompts[3]):
        ids = torch.from_numpy(item.input_ids)[None]
        whole = torch.cat([ids, MORE], dim=1)
        expected = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits
        first = model(input_ids=ids, **media(family, model, item, item.length), use_cache=True)
        (cache,) = [each for each in first.values() if hasattr(each, "get_seq_length")]
        one = model(input_ids=MORE[:, :1], use_cache=True, past_key_values=cache)
        rest = model(input_ids=MORE[:, 1:], use_cache=True, past_key_values=cache)
        found = torch.cat([first.logits, one.logits, rest.logits], dim=1)
        torch.testing.assert_close(found, expected, rtol=0.0, atol=5e-3)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("text", VARIANTS)
def test_answers_do_not_depend_on_the_batch(variants: dict[str, RopeVariant], name: str, text: str) -> None:
    """Our decoder, alone and in a batch, and transformers' own ``generate``."""
    family = TINY[name]
    model = family.model()
    installed = install(model, variants[text])
    together = generate(model, installed, family.prompts, family.generation_tokens, family.encode)
    assert len({each.token_ids for each in together}) > 1
    for item, batched in zip(family.prompts, together, strict=True):
        alone = generate(model, installed, [item], family.generation_tokens, family.encode)[0]
        assert alone.token_ids == batched.token_ids
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
        assert list(alone.token_ids) == theirs, item.key


@pytest.mark.parametrize("text", VARIANTS)
@torch.inference_mode()
def test_text_alone_is_answered_as_before(variants: dict[str, RopeVariant], text: str) -> None:
    """To the last bit, with the variant and after it was uninstalled; a picture is not."""
    model, family = make_model(), TINY["qwen2_5_vl"]
    ids, item = torch.arange(3, 140)[None], family.prompts[0]
    picture = {"input_ids": torch.from_numpy(item.input_ids)[None], **media(family, model, item, item.length)}
    untouched, seen = model(input_ids=ids).logits, model(**picture).logits
    install(model, variants[text])
    assert torch.equal(model(input_ids=ids).logits, untouched)
    assert not torch.equal(model(**picture).logits, seen)
    uninstall(model)
    assert torch.equal(model(**picture).logits, seen)
    assert installed_in(model) is None


def test_an_allocation_without_its_axes_is_refused(variants: dict[str, RopeVariant]) -> None:
    model = make_model()
    wrong = variants["line"].with_parameters(frequency=variants["vrope"].frequency)
    with pytest.raises(BadParameter, match="gives pairs to the axis `sum`, which `line` does not have"):
        install(model, wrong)
    assert installed_in(model) is None


def media(family: Any, model: Any, item: Any, length: int) -> dict[str, Any]:
    """The keyword arguments of a prompt's own media, its token types as long as the call's ids."""
    inputs = {key: value for key, value in family.own_inputs(model, item).items() if key != "input_ids"}
    if (types := inputs.get("mm_token_type_ids")) is not None:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(types, (0, length - types.shape[1]))
    return inputs
