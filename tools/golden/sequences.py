"""Positions and deltas on token sequences in Qwen's layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evalkit.rope.batch import BatchPositions, position_batch
from evalkit.rope.catalog import RopeCatalog
from evalkit.rope.hf.layouts import grid_inputs
from evalkit.rope.layout import Segment
from evalkit.rope.positions import PositionDesign
from evalkit.rope.positions.circle import Circle
from evalkit.rope.variants import BUILTIN
from tools.golden import GoldenResult, Mode
from tools.golden.mapping import MappedVariant, sequence_variant

Arrays = Mapping[str, npt.NDArray[Any]]

FRACTION_TOLERANCE = 1e-5  # relative: the official code accumulates steps in float32
CIRCLE_TOLERANCE = 1e-3  # absolute: float32 arctangents and cosines that accumulate over blocks


def check_sequence(
    name: str, case: Mapping[str, Any], arrays: Arrays, catalog: RopeCatalog = BUILTIN
) -> Iterator[GoldenResult]:
    """Compare every result of one sequence file."""
    mask = torch.tensor(case["attention_mask"], dtype=torch.bool)
    rows = _segments(case, mask)
    for key, entry in case["results"].items():
        ours = sequence_variant(key, entry)
        if ours is None:
            yield GoldenResult(
                name, key, "", "unknown", "positions", np.nan, False, "no variant of ours is known"
            )
            continue
        variant = catalog.parse(ours.variant)
        ours = replace(ours, variant=str(variant))
        design = variant.position
        batch = position_batch([design], rows, mask.numpy())
        if entry.get("error") or key not in arrays:
            note = f"official code: {entry.get('error', 'no array')}"
            finite = bool(torch.isfinite(batch.prompt.double()).all())
            yield GoldenResult(name, key, ours.variant, "official failure", "positions", 0.0, finite, note)
            continue
        yield _compare(name, key, ours, design, batch, entry, arrays[key], mask.numpy())


def _segments(case: Mapping[str, Any], mask: torch.Tensor) -> list[list[Segment]]:
    names = ("image_grid_thw", "video_grid_thw")
    grids = {name: torch.tensor(case[name]) for name in names if case.get(name) is not None}
    config = SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=case["spatial_merge_size"]))
    inputs = {
        **grids,
        "mm_token_type_ids": torch.tensor(case["mm_token_type_ids"]),
        "second_per_grid_ts": case.get("second_per_grid_ts"),
    }
    read = grid_inputs.batch_segments_by_frame if case["layout"] == "qwen3" else grid_inputs.batch_segments
    return read(config, torch.tensor(case["input_ids"]), mask, inputs)


def _compare(
    name: str,
    key: str,
    ours: MappedVariant,
    design: PositionDesign,
    batch: BatchPositions,
    entry: Mapping[str, Any],
    official: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
) -> GoldenResult:
    mine = batch.prompt[1:].double().numpy()[:, mask]
    theirs = official.astype(np.float64)[:, mask]
    next_position = batch.next_position[0].numpy()
    expected = _next_position(entry, mask)
    cut = np.issubdtype(official.dtype, np.integer) and not (mine == np.floor(mine)).all()
    if cut:
        mine = np.trunc(mine)
    tolerance = 0.0
    if batch.prompt.is_floating_point():
        tolerance = _tolerance(design, np.concatenate([np.abs(theirs).ravel(), np.abs(expected)]))
    difference = max(
        float(np.abs(mine - theirs).max(initial=0.0)),
        float(np.abs(next_position - expected).max(initial=0.0)),
    )
    mode: Mode = "official failure" if cut else ("compat" if ours.compat else "default")
    note = "positions cut to whole numbers there; ours keep the fraction" if cut else ours.compat
    return GoldenResult(
        name, key, ours.variant, mode, "positions, deltas", difference, difference <= tolerance, note
    )


def _next_position(entry: Mapping[str, Any], mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Position of the first generated token by the official deltas."""
    deltas = np.asarray(entry["rope_deltas"], dtype=np.float64).reshape(len(mask))
    padded = entry.get("delta_convention") != "unpadded_len"
    lengths = np.full(len(mask), mask.shape[1]) if padded else mask.sum(axis=1)
    found: npt.NDArray[np.float64] = deltas + lengths
    return found


def _tolerance(design: PositionDesign, values: npt.NDArray[np.float64]) -> float:
    if isinstance(design, Circle):
        return CIRCLE_TOLERANCE
    return FRACTION_TOLERANCE * float(values.max(initial=1.0))
