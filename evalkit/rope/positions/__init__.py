"""Position designs: where on the three axes (time, height, width) each token of a prompt sits.

Text runs alike in every design: token ``j`` of a run sits at ``p + j`` on all axes (on time alone
where a design says so), ``p`` being the next free text position. A design says where the tokens of
a visual block sit that starts at ``b = p``, and where text goes on after it. One file per design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.rope.layout import Segment, TextRun, VisualBlock

Coordinates = npt.NDArray[np.floating[Any]]

ALL_AXES = (1.0, 1.0, 1.0)


class BadPosition(ValueError):
    """A design returned a position that is no finite number."""


class Cursor(NamedTuple):
    """Where a block begins: ``start`` is the next text position, ``first`` that of the row's first
    block, and ``frames`` counts the temporal steps of the blocks before it.
    """

    start: float
    first: float = 0.0
    frames: int = 0


class BlockPositions(NamedTuple):
    """Coordinates of a block, three arrays that broadcast to ``[T, H, W]``, and where text goes on: whole
    numbers or fractions, of any dtype.
    """

    t: Coordinates
    h: Coordinates
    w: Coordinates
    next_position: float


@dataclass(frozen=True)
class PositionDesign:
    """Base of all designs: a frozen dataclass whose fields are the design's parameters."""

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        """Coordinates of a block, and the position of the text after it."""
        raise NotImplementedError

    @property
    def text_step(self) -> tuple[float, float, float]:
        """What one text token adds on each axis: 1 and, where text ignores height and width, 0."""
        return ALL_AXES

    def generation_start(self, next_position: float, largest: Callable[[], float]) -> float:
        """Position of the first generated token, ``next_position`` being that of a next prompt token and
        ``largest()`` the prompt's largest coordinate.
        """
        return next_position

    def layer_groups(self, layers: int) -> tuple[tuple[PositionDesign, ...], tuple[int, ...]]:
        """The designs that the layers of a model use, and for every layer which of them."""
        return (self,), (0,) * layers


@dataclass(frozen=True)
class SequencePositions:
    """Positions of one unpadded row.

    ``ids``: ``[R, L]``, rows t, h, w of each layer group of the design (one, except for CircleRoPE's AGE);
    int64 if all positions of the row, and of what is generated after it, are integers, and float64
    otherwise. Generated token ``k`` sits at ``next_position + k * step``, both ``[R]``; never derive that from a
    padded length.
    """

    ids: npt.NDArray[Any]
    next_position: Coordinates
    step: Coordinates

    @property
    def p_next(self) -> float:
        """The first generated token's position in time; an int if positions are whole."""
        first = float(self.next_position[0])
        return first if self.ids.dtype == np.float64 else int(first)


def position_ids(design: PositionDesign, segments: Sequence[Segment]) -> SequencePositions:
    """Positions of one unpadded row under a design.

    Raises:
        BadPosition: the design returns what is no finite number.
    """
    designs, _ = design.layer_groups(0)
    plans = [SequencePlan(each, segments) for each in designs]
    ids = np.empty((3 * len(plans), plans[0].length), positions_dtype(plans))
    for group, plan in enumerate(plans):
        plan.write(ids[3 * group : 3 * group + 3])
    next_position = np.concatenate([plan.next_position for plan in plans])
    return SequencePositions(ids, next_position, np.concatenate([plan.step for plan in plans]))


class SequencePlan:
    """Positions of one row, worked out per segment; :meth:`write` spreads them over the tokens.

    Costs a few small arrays per segment and one assignment per token and axis. ``is_integer``: all positions,
    of the row and of what follows it, are integers.
    """

    def __init__(self, design: PositionDesign, segments: Sequence[Segment]) -> None:
        self.segments = segments
        self.step = np.array(design.text_step, np.float64)
        self._starts: list[float] = []
        self._placed: list[BlockPositions | None] = []
        at, first, frames = 0.0, None, 0
        for segment in segments:
            self._starts.append(at)
            if isinstance(segment, TextRun):
                self._placed.append(None)
                at += segment.length
            else:
                first = at if first is None else first
                placed = design.place(segment, Cursor(at, first, frames))
                self._placed.append(placed)
                at, frames = float(placed.next_position), frames + segment.grid[0]
        self.next_position = float(design.generation_start(at, self._largest)) * self.step
        self.length = sum(segment.length for segment in segments)
        self.is_integer = self._all_integers(design)

    def _all_integers(self, design: PositionDesign) -> bool:
        """By their values, not by what a design says of itself: a fraction must never be cut."""
        for values in self._values():
            for some in (values[-64:], values):  # fractions show at once in most designs that have any
                floor = np.floor(some)
                if not np.isfinite(floor).all():
                    raise BadPosition(f"{design} places tokens at positions that are no finite numbers")
                if (some != floor).any():
                    return False
        return True

    def _values(self) -> Iterator[Coordinates]:
        """All that positions are made of, flat: what is small together."""
        starts = zip(self._starts, self.segments, strict=True)
        text = [start * self.step for start, segment in starts if isinstance(segment, TextRun)]
        axes = {id(axis): axis for placed in self._placed if placed for axis in placed[:3]}
        flat = [np.ravel(axis).astype(np.float64, copy=False) for axis in axes.values()]
        yield np.concatenate(
            [self.step, self.next_position, *text, *(each for each in flat if each.size < 4096)]
        )
        yield from (each for each in flat if each.size >= 4096)

    def _largest(self) -> float:
        text = zip(self._starts, self.segments, strict=True)
        found = [start + each.length - 1 for start, each in text if isinstance(each, TextRun)]
        found += [float(np.max(axis)) for placed in self._placed if placed for axis in placed[:3]]
        return max(found, default=-1.0)

    def write(self, out: npt.NDArray[Any]) -> None:
        """Fill ``out [3, L]``, any view whose last axis is contiguous."""
        begin = 0
        for segment, start, placed in zip(self.segments, self._starts, self._placed, strict=True):
            window = out[:, begin : begin + segment.length]
            begin += segment.length
            if isinstance(segment, TextRun):
                run = start + np.arange(segment.length)
                for axis, step in enumerate(self.step):
                    window[axis] = run * step if step != 1.0 else run
            elif placed is not None:
                _spread(window, segment, placed)


def positions_dtype(plans: Iterable[SequencePlan]) -> type[np.int64 | np.float64]:
    """What holds the positions of rows exactly."""
    return np.int64 if all(plan.is_integer for plan in plans) else np.float64


def _spread(window: npt.NDArray[Any], block: VisualBlock, placed: BlockPositions) -> None:
    order = None if block.tile is None else block.order()
    for axis in range(3):
        if order is None:
            window[axis].reshape(block.grid)[...] = placed[axis]
        else:
            window[axis][order] = np.broadcast_to(placed[axis], block.grid)


def axes_of(block: VisualBlock) -> Iterator[Coordinates]:
    """Time, row and column of a block's places, shaped to broadcast to ``[T, H, W]``."""
    for axis, size in enumerate(block.grid):
        yield np.arange(float(size)).reshape([-1 if each == axis else 1 for each in range(3)])
