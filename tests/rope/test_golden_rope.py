"""Positions and cos/sin against the output of the official code (see the reference data's FORMAT.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit.rope.layout import IMAGE, VIDEO, read_row
from evalkit.rope.positions import position_ids
from evalkit.rope.rotary import VariantRotary
from evalkit.rope.variants import parse_variant

SEQUENCES = (
    "s1_text_only",
    "s2_one_image",
    "s3_interleaved_images",
    "s4_video_block",
    "s5_video_seconds",
    "s6_video_timestamps",
    "s7_image_video",
    "s8_batch3_leftpad",
)
POSITION_KEYS = {
    "unified.vanilla": "vanilla",
    "unified.mrope.ts1": "mrope(absolute_time=false)",
    "unified.mrope.ts2": "mrope(absolute_time=false,temporal_stride=2)",
    "unified.mrope_i.reset": "mrope-i",
    "unified.mrope_i.reset.ts2": "mrope-i(temporal_stride=2)",
    "unified.mrope_i.noreset": "mrope-i(spatial_reset=false)",
    "unified.mhrope.reset": "mhrope",
    "original.qwen.rope2": "mrope(absolute_time=false)",
    "original.qwen.rope25": "mrope",
    "original.qwen.rope3": "mrope-i(spatial_reset=false)",
    "original.videorope.vanilla": "vanilla",
    "original.videorope.mrope": "mrope(absolute_time=false)",
}
FREQUENCY_KEYS = {
    "unified.vanilla": "vanilla",
    "unified.mrope.16_24_24": "mrope",
    "unified.mrope_i.24_20_20": "mrope-i",
    "unified.mrope_i.32_16_16": "mrope-i(allocation=[32,16,16])",
    "unified.mrope_i.48_8_8": "mrope-i(allocation=[48,8,8])",
    "unified.mhrope.kv8.2_3_3": "mhrope",
}


def load(folder: Path, name: str) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(folder / f"{name}.npz") as arrays:
        return json.loads((folder / f"{name}.json").read_text()), dict(arrays)


def grids_of(case: dict, kind: str) -> list[tuple[int, int, int]]:
    grids = [tuple(grid) for grid in case[f"{kind}_grid_thw"] or []]
    if case["layout"] == "qwen3" and kind == "video":  # every frame is a block of its own there
        return [(1, h, w) for t, h, w in grids for _ in range(t)]
    return grids


@pytest.mark.parametrize("name", SEQUENCES)
def test_positions_equal_the_official_ones(name: str, shared: Path) -> None:
    case, arrays = load(shared / "golden", name)
    compared = 0
    for key, text in POSITION_KEYS.items():
        if key not in case["results"]:
            continue
        expected = arrays[key]
        images, videos = grids_of(case, "image"), grids_of(case, "video")
        seconds = case["second_per_grid_ts"] or [None] * len(videos)
        media = {IMAGE: iter([(g, None) for g in images]), VIDEO: iter(zip(videos, seconds, strict=True))}
        for row, mask in enumerate(np.array(case["attention_mask"], dtype=bool)):
            types = np.array(case["mm_token_type_ids"][row])[mask]
            segments = read_row(types.tolist(), media, case["spatial_merge_size"])
            positions, following = position_ids(parse_variant(text), segments)
            np.testing.assert_array_equal(positions, expected[:, row, mask], err_msg=key)
            assert following == case["results"][key]["next_position"][row], key
        compared += 1
    assert compared >= 5


def test_the_keys_that_must_be_reproduced_are_all_compared(shared: Path) -> None:
    present = {key for name in SEQUENCES for key in load(shared / "golden", name)[0]["results"]}
    assert set(POSITION_KEYS) <= present


def rotary_of(text: str, inv_freq: np.ndarray, scaling: float, kv_heads: int = 8) -> VariantRotary:
    axes = parse_variant(text).frequency.axis_map(len(inv_freq), kv_heads)
    return VariantRotary(torch.from_numpy(inv_freq), scaling, torch.from_numpy(axes))


def spectrum(base: float) -> np.ndarray:
    return (1.0 / (base ** (torch.arange(0, 128, 2, dtype=torch.float) / 128))).numpy()


@pytest.mark.parametrize("key", FREQUENCY_KEYS)
@pytest.mark.parametrize("base", [1_000_000, 5_000_000])
def test_cos_and_sin_equal_the_official_ones_bit_for_bit(key: str, base: int, shared: Path) -> None:
    case, arrays = load(shared / "golden", "freq")
    entry = f"{key}.base{base}"
    assert entry in case["entries"]
    positions = torch.tensor(case["positions"] if "positions" in case else arrays["positions"]).T[:, None]
    cos, sin = rotary_of(FREQUENCY_KEYS[key], spectrum(base), 1.0)(torch.zeros(1), positions)
    np.testing.assert_array_equal(cos[0].numpy(), arrays[f"{entry}.cos"])
    np.testing.assert_array_equal(sin[0].numpy(), arrays[f"{entry}.sin"])


@pytest.mark.parametrize("key", FREQUENCY_KEYS)
def test_axis_maps_equal_the_probed_ones(key: str, shared: Path) -> None:
    case, _ = load(shared / "golden", "freq")
    axes = parse_variant(FREQUENCY_KEYS[key]).frequency.axis_map(64, 8)
    rows = ["".join("THWn"[axis] for axis in row) for row in np.atleast_2d(axes)]
    assert (rows if axes.ndim == 2 else rows[0]) == case["axis_maps"][key]
