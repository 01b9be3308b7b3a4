"""What a position design does to a layout: collisions, the interval between modalities, growth, structure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from evalkit.diagnose.layouts import Layout
from evalkit.rope.layout import Segment, TextRun, VisualBlock
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, position_ids

Array = npt.NDArray[np.float64]
Structure = Literal["kept", "bent", "lost"]

CONTEXTS: Mapping[str, int] = MappingProxyType({"32k": 32768, "128k": 131072, "256k": 262144})


@dataclass(frozen=True)
class AxisOverlap:
    """One axis of one layout.

    ``overlap``: the share of visual tokens whose coordinate is also that of a later text token, prompt or
    answer. ``depth``: by how much the block's coordinates reach into the text after it, at most. ``before``
    and ``after``: from the last text before a block to its smallest coordinate, and from its largest to the
    next text; the smallest over the blocks (negative: inside the text). ``moves``: text advances on the axis.
    """

    axis: str
    overlap: float
    depth: float
    before: float
    after: float
    moves: bool


@dataclass(frozen=True)
class Consistency:
    """Positions of one variant on one layout.

    ``duplicates``: visual tokens that share all coordinates with another of their block. ``shared_blocks``:
    with one of another block. ``text_collisions``: visual tokens whose coordinates are, as a tuple, those of
    a later text token. ``growth``: text positions that a visual token costs. ``interval``: mean distance from
    a block's tokens to the next text, over the axes. ``slack``: how far text jumps beyond the block's own
    extent, in extents (0: just past it; negative: into it). ``structure``: of the blocks, the worst
    (:func:`structure_of`). ``step_ratio``: size of a step down over that of a step right (1 in a grid, W in a
    flattened one). ``motion``: what a step to the next frame moves the row by, over what it moves time by (0:
    decoupled); None without a next frame. ``largest``: the largest position when a context of that many
    tokens is filled with the layout.
    """

    layout: str
    axes: tuple[AxisOverlap, ...]
    duplicates: int
    shared_blocks: int
    text_collisions: int
    visual_tokens: int
    growth: float
    interval: float
    slack: float
    structure: Structure
    step_ratio: float | None
    motion: float | None
    largest: dict[str, float]

    @property
    def overlap(self) -> float:
        """The largest share of visual tokens that later text meets on an axis on which text advances."""
        return max((each.overlap for each in self.axes if each.moves), default=0.0)


@dataclass(frozen=True)
class _Block:
    """Coordinates ``[R, N]`` of a block, the text position before which it begins, and that of the text
    after.
    """

    block: VisualBlock
    ids: Array
    begin: float
    after: float


def consistency(design: PositionDesign, used: Sequence[int], layout: Layout) -> Consistency:
    """Positions of a design on a layout; ``used`` are the indices of the axes that have rotary pairs.

    A design with layer groups is judged by its first (CircleRoPE with AGE: the rings).
    """
    first = design.layer_groups(2)[0][0]
    blocks = _blocks(first, layout)
    found = position_ids(
        first, [*layout.segments, TextRun(layout.generated)] if layout.generated else layout.segments
    )
    ids = np.asarray(found.ids, np.float64)
    is_text, starts = _kinds(layout)
    axes = tuple(_axis(first, axis, ids[axis], is_text, starts, blocks) for axis in used)
    visual = sum(each.block.length for each in blocks)
    chosen = list(used)
    return Consistency(
        layout=layout.name,
        axes=axes,
        duplicates=sum(each.block.length - len(_tuples(each.ids[chosen])) for each in blocks),
        shared_blocks=_shared(blocks, chosen),
        text_collisions=_text_collisions(ids[chosen], is_text, starts),
        visual_tokens=visual,
        growth=sum(each.after - each.begin for each in blocks) / visual,
        interval=sum(float(np.abs(each.after - each.ids[chosen]).mean(axis=0).sum()) for each in blocks)
        / visual,
        slack=max((_slack(each, chosen) for each in blocks), key=abs),
        structure=max((structure_of(each.block, each.ids[chosen]) for each in blocks), key=_ORDER.index),
        step_ratio=_step_ratio(blocks[0], chosen),
        motion=_motion(first, blocks, chosen),
        largest={name: largest_position(first, layout, tokens, chosen) for name, tokens in CONTEXTS.items()},
    )


_ORDER: tuple[Structure, ...] = ("kept", "bent", "lost")


def structure_of(block: VisualBlock, ids: Array) -> Structure:
    """Whether the coordinates ``ids [R, N]`` show a block's grid.

    ``lost``: two tokens share a position, or a step in time, down and right (those that the block has) are
    not linearly independent, so that one number stands for several. ``bent``: every token has its own
    position, but a step moves it differently from place to place, so that a relative position doesn't say
    which step it was. ``kept``: each step is one vector everywhere.
    """
    if len(_tuples(ids)) < block.length:
        return "lost"
    grid = _gridded(block, ids)
    steps = [np.diff(grid, axis=axis + 1) for axis in range(3) if block.grid[axis] > 1]
    means = np.array([step.reshape(len(ids), -1).mean(axis=1) for step in steps])
    even = all(
        np.allclose(step.reshape(len(ids), -1), mean[:, None], atol=1e-6)
        for step, mean in zip(steps, means, strict=True)
    )
    if not even:
        return "bent"
    return "kept" if not len(means) or np.linalg.matrix_rank(means) == len(means) else "lost"


def _gridded(block: VisualBlock, ids: Array) -> Array:
    """Coordinates ``[R, T, H, W]``."""
    found: Array = ids[:, block.token_indices().reshape(-1)].reshape(len(ids), *block.grid)
    return found


def _walk(
    design: PositionDesign, segments: Iterable[Segment]
) -> Iterator[tuple[Segment, float, BlockPositions | None]]:
    """Each segment with the text position at which it begins, and where a block's tokens stand."""
    at, first, frames = 0.0, None, 0
    for segment in segments:
        if isinstance(segment, TextRun):
            yield segment, at, None
            at += segment.length
            continue
        first = at if first is None else first
        placed = design.place(segment, Cursor(at, first, frames))
        yield segment, at, placed
        at, frames = float(placed.next_position), frames + segment.grid[0]


def _blocks(design: PositionDesign, layout: Layout) -> list[_Block]:
    found = []
    for segment, begin, placed in _walk(design, layout.segments):
        if placed is not None and isinstance(segment, VisualBlock):
            ids = np.empty((len(placed.coordinates), segment.length))
            for axis, values in enumerate(placed.coordinates):
                ids[axis, segment.token_indices()] = np.broadcast_to(values, segment.grid)
            found.append(_Block(segment, ids, begin, float(placed.next_position)))
    return found


def _kinds(layout: Layout) -> tuple[npt.NDArray[np.bool_], list[tuple[int, int]]]:
    """Which tokens are text, the answer's included; and where the blocks begin and end."""
    parts, bounds, at = [], [], 0
    for segment in layout.segments:
        text = isinstance(segment, TextRun)
        parts.append(np.full(segment.length, text))
        if not text:
            bounds.append((at, at + segment.length))
        at += segment.length
    return np.concatenate([*parts, np.ones(layout.generated, np.bool_)]), bounds


def _axis(
    design: PositionDesign,
    axis: int,
    ids: Array,
    is_text: npt.NDArray[np.bool_],
    bounds: Sequence[tuple[int, int]],
    blocks: Sequence[_Block],
) -> AxisOverlap:
    step = design.text_step[axis]
    hit = sum(
        int(np.isin(ids[begin:end], np.unique(ids[end:][is_text[end:]])).sum()) for begin, end in bounds
    )
    return AxisOverlap(
        axis=design.axes[axis],
        overlap=hit / sum(end - begin for begin, end in bounds),
        depth=max(max(0.0, float(each.ids[axis].max()) - each.after * step + 1) for each in blocks)
        if step
        else 0.0,
        before=min(float(each.ids[axis].min()) - (each.begin - 1) * step for each in blocks),
        after=min(each.after * step - float(each.ids[axis].max()) for each in blocks),
        moves=step != 0,
    )


def _tuples(ids: Array) -> set[bytes]:
    """The different columns of ``[R, N]``."""
    return {column.tobytes() for column in np.ascontiguousarray(ids.T)}


def _shared(blocks: Sequence[_Block], axes: list[int]) -> int:
    """Tokens whose coordinates a token of an earlier block has."""
    seen: set[bytes] = set()
    count = 0
    for each in blocks:
        own = _tuples(each.ids[axes])
        count += len(own & seen)
        seen |= own
    return count


def _text_collisions(ids: Array, is_text: npt.NDArray[np.bool_], bounds: Sequence[tuple[int, int]]) -> int:
    """Visual tokens whose tuple is that of a later text token."""
    columns = np.ascontiguousarray(ids.T)
    last = {columns[place].tobytes(): int(place) for place in np.flatnonzero(is_text)}
    return sum(
        last.get(columns[place].tobytes(), -1) >= end for begin, end in bounds for place in range(begin, end)
    )


def _slack(each: _Block, axes: list[int]) -> float:
    extent = max(float(each.ids[axis].max() - each.ids[axis].min()) + 1 for axis in axes)
    return (each.after - each.begin - extent) / extent


def _step_ratio(each: _Block, axes: list[int]) -> float | None:
    grid = _gridded(each.block, each.ids[axes])
    _, rows, columns = each.block.grid
    if rows < 2 or columns < 2:
        return None
    down = np.abs(np.diff(grid, axis=2)).max(axis=0).mean()
    right = np.abs(np.diff(grid, axis=3)).max(axis=0).mean()
    return float(down / right) if right else math.inf


def _motion(design: PositionDesign, blocks: Sequence[_Block], axes: list[int]) -> float | None:
    """Over the frames of a block, or over consecutive blocks of one size (frames that are blocks)."""
    names = [design.axes[axis] for axis in axes]
    if "h" not in names or design.axes[0] != "t":
        return None
    time, row = 0, axes[names.index("h")]
    pairs: list[tuple[Any, Any]] = []
    for each in blocks:
        if each.block.grid[0] > 1:
            grid = _gridded(each.block, each.ids)
            pairs.append((np.diff(grid[row], axis=0), np.diff(grid[time], axis=0)))
    for one, two in pairwise(blocks):
        if one.block.grid == two.block.grid and two.block.seconds_per_grid is not None:
            pairs.append((two.ids[row] - one.ids[row], two.ids[time] - one.ids[time]))
    rows = sum(float(np.abs(rows).sum()) for rows, _ in pairs)
    times = sum(float(np.abs(times).sum()) for _, times in pairs)
    return rows / times if pairs and times else None


def largest_position(design: PositionDesign, layout: Layout, tokens: int, axes: list[int]) -> float:
    """The largest position on ``axes`` when the layout's prompt fills a context: over and over, as often as
    it fits, then text up to the number of tokens.
    """
    times, left = divmod(tokens, layout.prompt_tokens)
    segments = chain.from_iterable(repeat(layout.segments, times))
    found = 0.0
    for segment, begin, placed in _walk(design, chain(segments, [TextRun(left)] if left else [])):
        if placed is not None:
            found = max(found, *(float(np.max(placed.coordinates[axis])) for axis in axes))
        else:
            found = max(found, *((begin + segment.length - 1) * design.text_step[axis] for axis in axes))
    return found
