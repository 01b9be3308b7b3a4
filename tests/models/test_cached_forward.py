"""Hand-written cached forwards without position ids equal full recomputation, whatever the cache is called.

transformers calls it ``past_key_values`` up to 5.23 and ``cache`` from 5.24 on; both names are tried in every
version, and a model without a variant shows what that version itself understands.
"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

import pytest
import torch
from tiny_families import TINY, TinyFamily
from tiny_qwen import EOS, PAD

from evalkit.core.types import Prepared
from evalkit.rope.hf.install import install
from evalkit.rope.hf.signature import CallSignature
from evalkit.rope.variants import parse_variant

NAMES = ("past_key_values", "cache")
CLOSE = {"rtol": 0.0, "atol": 5e-3}  # logits reach some tens; one wrong position changes them by more than 1
MORE = torch.tensor([[9, 8, 7, 6, 5]])

Case = tuple[TinyFamily, Any]


@functools.cache
def family_model(name: str) -> Any:
    return TINY[name].model()


def with_variant(name: str, text: str) -> Case:
    model = family_model(name)
    install(model, parse_variant(text))
    return TINY[name], model


def media(family: TinyFamily, model: Any, item: Prepared, length: int) -> dict[str, Any]:
    """The keyword arguments of a prompt's own media, its token types as long as the call's ids."""
    inputs = {key: value for key, value in family.own_inputs(model, item).items() if key != "input_ids"}
    if (types := inputs.get("mm_token_type_ids")) is not None:
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(types, (0, length - types.shape[1]))
    return inputs


def cache_of(output: Any) -> Any:
    """The cache in an output, found as ours is: by what it is."""
    (found,) = [each for each in output.values() if hasattr(each, "get_seq_length")]
    return found


@pytest.fixture(params=TINY)
def family_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["mrope-i", "mhrope", "v2pe", "circlerope(age=odd)"])
@torch.inference_mode()
def test_a_cached_forward_equals_full_recomputation(family_name: str, text: str, name: str) -> None:
    family, model = with_variant(family_name, text)
    for item in (family.prompts[0], family.prompts[3], family.prompts[4]):
        ids = torch.from_numpy(item.input_ids)[None]
        whole = torch.cat([ids, MORE], dim=1)
        expected = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits
        first = model(input_ids=ids, **media(family, model, item, item.length), use_cache=True)
        one = model(input_ids=MORE[:, :1], use_cache=True, **{name: cache_of(first)})
        rest = model(input_ids=MORE[:, 1:], use_cache=True, **{name: cache_of(one)})
        found = torch.cat([first.logits, one.logits, rest.logits], dim=1)
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_rows_padded_on_the_left_go_on_after_their_own_prompts(family_name: str, name: str) -> None:
    family, model = with_variant(family_name, "mrope-i")
    items = [family.prompt("one", 3, ("image", 0), 4), family.prompt("two", 9, ("image", 0), 4)]
    width = max(item.length for item in items)
    mask = torch.tensor([[int(place >= width - item.length) for place in range(width)] for item in items])
    rows = [
        torch.nn.functional.pad(torch.from_numpy(item.input_ids), (width - item.length, 0)) for item in items
    ]
    given = [family.own_inputs(model, item) for item in items]
    inputs: dict[str, Any] = {}
    for key in given[0].keys() - {"input_ids"}:
        if key == "mm_token_type_ids":
            inputs[key] = torch.cat(
                [torch.nn.functional.pad(each[key], (width - each[key].shape[1], 0)) for each in given]
            )
        else:
            inputs[key] = torch.cat([each[key] for each in given])
    first = model(input_ids=torch.stack(rows), attention_mask=mask, **inputs, use_cache=True)
    longer = torch.cat([mask, torch.ones(2, 1, dtype=torch.long)], dim=1)
    both = model(input_ids=MORE[:, :1].expand(2, 1), attention_mask=longer, **{name: cache_of(first)}).logits
    for row, item in enumerate(items):
        whole = torch.cat([torch.from_numpy(item.input_ids)[None], MORE[:, :1]], dim=1)
        alone = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits
        torch.testing.assert_close(both[row, -1], alone[0, -1], **CLOSE)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_model_around_the_language_model_and_that_itself_take_either_name(
    family_name: str, name: str
) -> None:
    """Called without the head on top, nothing of transformers' translates the name first."""
    family, model = with_variant(family_name, "mrope-i")
    item = family.prompts[0]
    ids = torch.from_numpy(item.input_ids)[None]
    whole = torch.cat([ids, MORE[:, :1]], dim=1)
    expected = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits[:, -1]
    first = model(input_ids=ids, **media(family, model, item, item.length), use_cache=True)
    hidden = model.model(MORE[:, :1], **{name: cache_of(first)}).last_hidden_state
    torch.testing.assert_close(model.lm_head(hidden)[:, -1], expected, **CLOSE)

    text = torch.from_numpy(family.prompts[4].input_ids)[None]
    language_model = model.model.language_model
    expected = language_model(torch.cat([text, MORE], dim=1)).last_hidden_state[:, -5:]
    cache = cache_of(language_model(text, use_cache=True))
    found = language_model(MORE, **{name: cache}).last_hidden_state
    torch.testing.assert_close(found, expected, **CLOSE)


@torch.inference_mode()
def test_arguments_by_position_are_read_as_the_family_orders_them(family_name: str) -> None:
    """LLaVA-OneVision and InternVL take pixels second, Qwen the mask."""
    family, model = with_variant(family_name, "mrope-i")
    item = family.prompts[0]
    ids = torch.from_numpy(item.input_ids)[None]
    inputs = {"input_ids": ids, **media(family, model, item, item.length)}
    expected = model.model(**inputs).last_hidden_state
    parameters = list(inspect.signature(type(model.model).forward).parameters)[1:]
    last = max(parameters.index(key) for key in inputs)
    found = model.model(*[inputs.get(key) for key in parameters[: last + 1]]).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with pytest.raises(TypeError, match="`input_ids` is given by position and by name"):
        model.model(ids, **inputs)


@torch.inference_mode()
def test_positions_of_text_may_be_given_as_rows(family_name: str) -> None:
    family, model = with_variant(family_name, "mrope-i")
    ids = torch.from_numpy(family.prompts[4].input_ids)[None]
    expected = model(input_ids=ids).logits
    given = model(input_ids=ids, position_ids=torch.arange(ids.shape[1])[None], use_cache=True)
    torch.testing.assert_close(given.logits, expected, **CLOSE)


@torch.inference_mode()
def test_two_caches_are_refused_and_one_under_two_names_is_not(family_name: str) -> None:
    family, model = with_variant(family_name, "mrope-i")
    ids = torch.from_numpy(family.prompts[4].input_ids)[None]
    one, other = (cache_of(model(input_ids=ids, use_cache=True)) for _ in range(2))
    with pytest.raises(TypeError, match="several key-value caches in one call"):
        model.model(input_ids=MORE, past_key_values=one, cache=other)
    twice = model.model(input_ids=MORE, past_key_values=one, cache=one).last_hidden_state
    torch.testing.assert_close(twice, model.model(input_ids=MORE, cache=other).last_hidden_state)


@torch.inference_mode()
def test_each_cache_goes_on_after_its_own_prompts(family_name: str) -> None:
    """Other prompts, `generate` and copies in between change nothing."""
    family, model = with_variant(family_name, "mrope-i")
    expected, caches = [], []
    for item in family.prompts[:4]:
        ids = torch.from_numpy(item.input_ids)[None]
        whole = torch.cat([ids, MORE], dim=1)
        logits = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits[:, -5:]
        expected.append(logits)
        first = model(input_ids=ids, **media(family, model, item, item.length), use_cache=True)
        caches.append(cache_of(first))
    item = family.prompts[2]
    common = {
        "do_sample": False,
        "max_new_tokens": 2,
        "suppress_tokens": [EOS, *family.generation_tokens.banned_token_ids],
    }
    done = model.generate(
        input_ids=torch.from_numpy(item.input_ids)[None],
        **media(family, model, item, item.length),
        **common,
        return_dict_in_generate=True,
        pad_token_id=PAD,
    )
    model(input_ids=MORE)
    whole = torch.cat([done.sequences, MORE], dim=1)
    after = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits[:, -6:]
    model(input_ids=MORE)
    turn = whole[:, -6:]  # the last generated token is not in the cache
    torch.testing.assert_close(model(input_ids=turn, cache=cache_of(done)).logits, after, **CLOSE)
    for cache, logits in zip(caches, expected, strict=True):
        copied = copy.deepcopy(cache)
        torch.testing.assert_close(model(input_ids=MORE, cache=cache).logits, logits, **CLOSE)
        torch.testing.assert_close(model(input_ids=MORE, cache=copied).logits, logits, **CLOSE)


@torch.inference_mode()
def test_other_rows_than_were_cached_are_refused(family_name: str) -> None:
    _, model = with_variant(family_name, "mrope-i")
    first = model(input_ids=torch.arange(3, 13).view(2, 5), use_cache=True)
    cache = cache_of(first)
    cache.batch_select_indices(torch.tensor([1]))
    with pytest.raises(ValueError, match="1 rows go on after 2 prompts"):
        model(input_ids=MORE, cache=cache)


@torch.inference_mode()
def test_a_cache_may_be_cut_back_into_the_last_text_and_no_further(family_name: str) -> None:
    family, model = with_variant(family_name, "mrope-i")
    for item in (family.prompts[0], family.prompts[4]):
        kept = item.length - 3
        whole = torch.cat([torch.from_numpy(item.input_ids)[None, :kept], MORE], dim=1)
        expected = model(input_ids=whole, **media(family, model, item, whole.shape[1])).logits[:, kept:]
        ids = torch.from_numpy(item.input_ids)[None]
        cache = cache_of(model(input_ids=ids, **media(family, model, item, item.length), use_cache=True))
        cache.crop(-3)
        torch.testing.assert_close(model(input_ids=MORE, cache=cache).logits, expected, **CLOSE)
    item = family.prompts[0]
    ids = torch.from_numpy(item.input_ids)[None]
    cache = cache_of(model(input_ids=ids, **media(family, model, item, item.length), use_cache=True))
    cache.crop(4 - item.length)
    with pytest.raises(ValueError, match=f"the cache was cut to 4 of its prompt's {item.length} tokens"):
        model(input_ids=MORE, cache=cache)


@torch.inference_mode()
def test_media_after_cached_tokens_are_refused(family_name: str) -> None:
    family, model = with_variant(family_name, "mrope-i")
    item = family.prompts[0]
    ids = torch.from_numpy(item.input_ids)[None]
    first = model(input_ids=ids[:, :4], use_cache=True)
    inputs = {
        key: value for key, value in media(family, model, item, item.length).items() if "types" not in key
    }
    with pytest.raises(ValueError, match="visual tokens after 4 cached ones"):
        model(input_ids=ids[:, 4:], cache=cache_of(first), **inputs)


@pytest.mark.parametrize("family", [name for name in TINY if name.startswith("qwen")])
@torch.inference_mode()
def test_get_rope_index_takes_its_arguments_in_the_models_own_order(family: str) -> None:
    """Qwen2.5-VL has the seconds before the mask, the others have none."""
    _, model = with_variant(family, "mrope-i")
    item = TINY[family].prompts[2]
    inputs = media(TINY[family], model, item, item.length)
    ids = torch.from_numpy(item.input_ids)[None]
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids).index_fill(1, torch.tensor([0]), 0)}
    parameters = list(inspect.signature(type(model.model).get_rope_index).parameters)[1:-1]
    named = {key: inputs[key] for key in parameters if key in inputs}
    expected, deltas = model.model.get_rope_index(**named)
    found = model.model.get_rope_index(*[inputs.get(key) for key in parameters])
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], deltas)
    assert expected[:, 0, 0].tolist() == [0, 0, 0]
    assert expected[:, 0, 1].tolist() == [0, 0, 0]


def test_a_cache_goes_by_the_methods_own_name() -> None:
    class Cache:
        def get_seq_length(self) -> int:
            return 3

    def later(self: object, ids: int, state: Cache | None = None, *, mask: int = 0, **more: int) -> None: ...

    signature, cache = CallSignature.of(later), Cache()
    assert signature == CallSignature(("ids", "state", "mask"), "state")
    assert signature.bind((1,), {"past_key_values": cache}) == {"ids": 1, "state": cache}
    assert signature.bind((1,), {"past_key_values": None, "cache": cache})["state"] is cache
    assert signature.bind((1, cache), {"x": 2}) == {"ids": 1, "state": cache, "x": 2}
    with pytest.raises(TypeError, match="4 positional arguments for 3 parameters"):
        signature.bind((1, 2, 3, 4), {})
