"""The position design of docs/add-a-rope.md, from a user's own file, in every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from outside_files import HALF, catalog
from tiny_families import TINY
from tiny_qwen import EOS, PAD, make_model, prompt
from transformers_reference import generate

from evalkit.inference.sequence import segments_of
from evalkit.rope.catalog import RopeCatalog
from evalkit.rope.hf.install import install
from evalkit.rope.layout import TextRun, VisualBlock
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import PositionDesign, position_ids
from evalkit.rope.variant import RopeVariant
from evalkit.rope.variants import VARIANTS

QWEN = TINY["qwen2_5_vl"]
FREQUENCIES = ("interleave", "heads", "temporal", "videorope")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> RopeCatalog:
    """The catalog with the documentation's file."""
    return catalog(tmp_path_factory.mktemp("ropes"), half_steps=HALF)


@pytest.fixture(scope="module")
def half_steps(found: RopeCatalog) -> type[PositionDesign]:
    return found.positions["half"]


def test_its_fractions_are_kept(found: RopeCatalog) -> None:
    variant = found.parse("position=half,frequency=interleave")
    assert str(variant) == "position=half,frequency=interleave"
    placed = position_ids(variant.position, [TextRun(3), VisualBlock((4, 1, 1)), TextRun(2)])
    assert placed.ids[0].tolist() == [0, 1, 2, 3, 3.5, 4, 4.5, 5.5, 6.5]
    assert placed.p_next == 7.5
    faster = found.parse("position=half(step=2),frequency=interleave")
    assert position_ids(faster.position, [VisualBlock((2, 1, 1))]).ids.dtype == "int64"


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_its_fractions_reach_the_attention(found: RopeCatalog, frequency: str) -> None:
    """Cos and sin of the model's own rotary module, per axis (and head): those of the fractions."""
    model = make_model()
    installed = install(model, found.parse(f"position=half,frequency={frequency}"))
    item = prompt("a video", 3, ("video", (4, 4, 4)), 2)
    seen = []
    rotary = model.model.language_model.rotary_emb
    rotary.register_forward_hook(lambda module, inputs, output: seen.append(module.pending_position_ids))
    generate(model, installed, [item], QWEN.generation_tokens, QWEN.encode)
    placed = position_ids(installed.resolved.position, segments_of(item))
    assert seen[0][:, 0].tolist() == placed.ids.tolist()
    assert any(value % 1 for value in seen[0][0, 0].tolist())
    steps = [each[:, 0, 0].tolist() for each in seen[1:]]
    assert steps == [[placed.p_next + k] * 3 for k in range(len(steps))]
    assert placed.p_next % 1
    assert not torch.equal(rotary.angles(seen[0]), rotary.angles(seen[0].long()))


@pytest.mark.parametrize("name", TINY)
def test_it_answers_alike_with_and_without_cache_and_batch(found: RopeCatalog, name: str) -> None:
    """transformers' ``generate``, our decoder, alone and in a batch with prompts of text alone."""
    family = TINY[name]
    model = family.model()
    installed = install(model, found.parse("half-i"))
    together = generate(model, installed, family.prompts, family.generation_tokens, family.encode)
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


def test_transformers_counts_on_as_the_design_says(half_steps: type[PositionDesign]) -> None:
    """Text at halves on an axis, and a prompt that ends in a video: by itself it adds one everywhere."""

    class Halves(half_steps):  # type: ignore[valid-type,misc]
        name = "halves"
        text_step = (1.0, 0.5, 1.0)

    model = make_model()
    install(model, RopeVariant(Halves(), VARIANTS["mrope-i"].frequency))
    item = prompt("a video", 3, ("video", (4, 4, 4)))
    ids, inputs = torch.from_numpy(item.input_ids)[None, :-1], QWEN.own_inputs(model, item)
    inputs["mm_token_type_ids"] = inputs["mm_token_type_ids"][:, :-1]
    seen: list[Any] = []
    rotary = model.model.language_model.rotary_emb
    rotary.register_forward_hook(lambda module, inputs, output: seen.append(module.pending_position_ids))
    model.generate(
        input_ids=ids, **inputs, do_sample=False, max_new_tokens=4, pad_token_id=PAD, suppress_tokens=[EOS]
    )
    begin = seen[0][0, 0, -1].item() + 1
    assert begin % 1
    steps = [each[:, 0, 0].tolist() for each in seen[1:]]
    assert steps == [[begin + k, (begin + k) / 2, begin + k] for k in range(3)]


def test_a_class_without_a_name_of_its_own_has_none(half_steps: type[PositionDesign]) -> None:
    class Nameless(half_steps):  # type: ignore[valid-type,misc]
        pass

    with pytest.raises(BadParameter, match="`Nameless` has no name"):
        str(RopeVariant(Nameless(), VARIANTS["mrope-i"].frequency))
