"""A position design in a user's own file, written line by line as docs/ropes.md says, in every family."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from tiny_families import TINY
from tiny_qwen import EOS, PAD, make_model, prompt
from transformers_reference import generate

from evalkit.inference.sequence import segments_of
from evalkit.rope import variants
from evalkit.rope.hf.install import install
from evalkit.rope.layout import TextRun, VisualBlock
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import PositionDesign, position_ids
from evalkit.rope.variants import RopeVariant, parse_variant

DOCS = Path(__file__).resolve().parents[2] / "docs/ropes.md"
QWEN = TINY["qwen2_5_vl"]
FREQUENCIES = ("interleave", "heads", "temporal", "videorope")


@pytest.fixture
def half_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[PositionDesign]:
    """The design of the documentation, from a file outside of evalkit, with its line in the table."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path / "half_steps.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("half_steps", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "half_steps", module)
    spec.loader.exec_module(module)
    table = MappingProxyType({**variants.POSITIONS, "half": module.HalfSteps})
    monkeypatch.setattr(variants, "POSITIONS", table)
    design: type[PositionDesign] = module.HalfSteps
    return design


def test_its_fractions_are_kept(half_steps: type[PositionDesign]) -> None:
    variant = parse_variant("position=half,frequency=interleave")
    assert str(variant) == "position=half,frequency=interleave"
    found = position_ids(variant.position, [TextRun(3), VisualBlock((4, 1, 1)), TextRun(2)])
    assert found.ids[0].tolist() == [0, 1, 2, 3, 3.5, 4, 4.5, 5.5, 6.5]
    assert found.p_next == 7.5
    faster = parse_variant("position=half(step=2),frequency=interleave")
    assert position_ids(faster.position, [VisualBlock((2, 1, 1))]).ids.dtype == "int64"


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_its_fractions_reach_the_attention(half_steps: type[PositionDesign], frequency: str) -> None:
    """Cos and sin of the model's own rotary module, per axis (and head): those of the fractions."""
    model = make_model()
    installed = install(model, parse_variant(f"position=half,frequency={frequency}"))
    item = prompt("a video", 3, ("video", (4, 4, 4)), 2)
    seen = []
    rotary = model.model.language_model.rotary_emb
    rotary.register_forward_hook(lambda module, inputs, output: seen.append(module.pending_position_ids))
    generate(model, installed, [item], QWEN.generation_tokens, QWEN.encode)
    placed = installed.position_ids(segments_of(item))
    assert seen[0][:, 0].tolist() == placed.ids.tolist()
    assert any(value % 1 for value in seen[0][0, 0].tolist())
    steps = [each[:, 0, 0].tolist() for each in seen[1:]]
    assert steps == [[placed.p_next + k] * 3 for k in range(len(steps))]
    assert placed.p_next % 1
    assert not torch.equal(rotary.angles(seen[0]), rotary.angles(seen[0].long()))


@pytest.mark.parametrize("name", TINY)
def test_it_answers_alike_with_and_without_cache_and_company(
    half_steps: type[PositionDesign], name: str
) -> None:
    """transformers' ``generate``, our decoder, alone and in a batch with rows of text alone."""
    family = TINY[name]
    model = family.model()
    installed = install(model, parse_variant("position=half,frequency=interleave"))
    together = generate(model, installed, family.prompts, family.generation_tokens, family.encode)
    for item, company in zip(family.prompts, together, strict=True):
        alone = generate(model, installed, [item], family.generation_tokens, family.encode)[0]
        assert alone.token_ids == company.token_ids
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


def test_transformers_counts_on_as_the_design_says(
    half_steps: type[PositionDesign], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text at halves on an axis, and a prompt that ends in a video: by itself it adds one everywhere."""

    class Halves(half_steps):  # type: ignore[valid-type,misc]
        text_step = (1.0, 0.5, 1.0)

    monkeypatch.setattr(variants, "POSITIONS", {"halves": Halves})
    model = make_model()
    install(model, RopeVariant(Halves(), parse_variant("mrope-i").frequency))
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


def test_without_its_line_in_the_table_it_has_no_name(half_steps: type[PositionDesign]) -> None:
    class Nameless(half_steps):  # type: ignore[valid-type,misc]
        pass

    with pytest.raises(BadParameter, match="`Nameless` has no name"):
        str(RopeVariant(Nameless(), parse_variant("mrope-i").frequency))
