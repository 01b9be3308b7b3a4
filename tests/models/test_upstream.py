"""What the docs say of transformers' own code holds for the transformers that is installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from tiny_families import TINY
from transformers.models.ernie4_5_vl_moe.modeling_ernie4_5_vl_moe import Ernie4_5_VLMoeModel

from evalkit.models.families.paddleocr_vl.tiny import TINY as PADDLEOCR
from evalkit.rope.hf.install import install, uninstall
from evalkit.rope.variants import parse_variant


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_text_after_a_video_begins_inside_it_upstream(name: str) -> None:
    """docs/ropes.md: `mrope(compat=hf5)` is what transformers 5.3 to the newest tested one computes."""
    family, model = TINY[name], TINY[name].model()
    item = family.prompts[2]
    ids = torch.from_numpy(item.input_ids)[None]
    inputs = {"input_ids": ids, **family.own_inputs(model, item)}
    inputs = {key: value for key, value in inputs.items() if not key.startswith("pixel")}
    if "second_per_grid_ts" in inputs:
        inputs["second_per_grid_ts"] = torch.tensor(
            [3.0]
        )  # long beside its 2 x 2 tokens; 5.17 cuts fractions
    theirs, their_deltas = model.model.get_rope_index(**inputs)
    found = {}
    for text in ("mrope(compat=hf5)", "mrope"):
        install(model, parse_variant(text))
        found[text] = model.model.get_rope_index(**inputs)
        uninstall(model)
    ours, deltas = found["mrope(compat=hf5)"]
    assert torch.equal(ours, theirs)
    assert torch.equal(deltas, their_deltas)
    assert found["mrope"][0][0, 0, -1] > theirs[0, 0, -1]


LONG, SIDE, TEXT = 9, 2, 4
"""Temporal steps and sides of a video in tokens, and the tokens of text around it."""


def long_video(config: Any, temporal: int = 1) -> dict[str, torch.Tensor]:
    """Text, a video that is longer than wide, and text."""
    types = torch.tensor([[0] * TEXT + [2] * LONG * SIDE**2 + [0] * TEXT], dtype=torch.int32)
    merge = config.vision_config.spatial_merge_size
    return {
        "input_ids": torch.where(types == 2, config.video_token_id, 5).long(),
        "mm_token_type_ids": types,
        "video_grid_thw": torch.tensor([[LONG * temporal, SIDE * merge, SIDE * merge]]),
    }


def test_paddleocr_numbers_text_after_a_long_video_as_qwen_does() -> None:
    """Its processor takes no videos, but a training may; the official positions are ``compat=hf5``."""
    model = PADDLEOCR.model("PaddleOCRVLForConditionalGeneration")
    inputs = long_video(model.config)
    theirs, their_deltas = model.model.get_rope_index(**inputs)
    found = {}
    for text in ("mrope(compat=hf5)", "mrope"):
        install(model, parse_variant(text))
        found[text] = model.model.get_rope_index(**inputs)
        uninstall(model)
    assert torch.equal(found["mrope(compat=hf5)"][0], theirs)
    assert torch.equal(found["mrope(compat=hf5)"][1], their_deltas)
    ours, deltas = found["mrope"]
    assert torch.equal(ours[:, :, :-TEXT], theirs[:, :, :-TEXT])
    last_frame = TEXT + LONG - 1
    assert ours[0, 0, -TEXT:].tolist() == [last_frame + 1 + each for each in range(TEXT)]
    assert theirs[0, 0, -TEXT] == TEXT + SIDE  # a time that the video has, too
    assert int(deltas) == last_frame + 1 + TEXT - ours.shape[2]


def test_ernie_numbers_text_after_a_long_video_so_upstream() -> None:
    """docs/ropes.md: one of the reasons why ERNIE-4.5-VL is no family."""
    config = transformers.Ernie4_5_VLMoeConfig()
    given = long_video(config, config.vision_config.temporal_merge_size)
    stand_in = SimpleNamespace(config=config)
    stand_in.get_vision_position_ids = lambda *args, **kwargs: Ernie4_5_VLMoeModel.get_vision_position_ids(
        stand_in, *args, **kwargs
    )
    theirs, _ = Ernie4_5_VLMoeModel.get_rope_index(stand_in, **given)
    assert int(theirs[0, 0, TEXT:-TEXT].max()) == TEXT + LONG - 1
    assert int(theirs[0, 0, -TEXT]) == TEXT + SIDE
