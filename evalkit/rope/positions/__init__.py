"""Position designs: where each token of a sequence stands on the axes of the design (time, height, width).

Text is placed alike in every design: token ``j`` of a run stands at ``p + j`` times the axis' text step,
``p`` being the next free text position and the step 1 (0 on an axis that text leaves at zero). A design says
where the tokens of a visual block stand that begins at ``b = p``, and where text goes on after it. One file
per design.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from evalkit.rope.layout import Segment, TextRun, VisualBlock

Coordinates = npt.NDArray[np.floating[Any]]


class BadPosition(ValueError):
    """A design returned what is no position: not a finite number, or not one for each of its axes."""


class Cursor(NamedTuple):
    """Where a block begins: ``start`` is the next text position, ``first`` that of the sequence's first
    block, and ``frames`` counts the temporal steps of the blocks before it.
    """

    start: float
    first: float = 0.0
    frames: int = 0


class BlockPositions(NamedTuple):
    """Positions of a block: an array for each axis of the design, which broadcasts to ``[T, H, W]``, and the
    position of the text after it. Integers or fractions, of any dtype.
    """

    coordinates: tuple[Coordinates, ...]
    next_position: float


@dataclass(frozen=True)
class PositionDesign:
    """Base of all designs: a frozen dataclass whose fields are the design's parameters.

    ``name`` is what it is called in a variant, ``axes`` are the names of its axes, of any number; the first
    is the one on which text is counted (time).
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]] = ("t", "h", "w")
    query_rotations: ClassVar[int] = 1
    """In how many ways a query is rotated: more than one where that depends on the key it meets."""

    @property
    def integer_positions(self) -> bool:
        """Whether every position is an integer, as layouts of many sizes show by their values."""
        designs, _ = self.layer_groups(len(_PROBED))
        return all(SequencePlan(each, layout).is_integer for each in designs for layout in _PROBED)

    @property
    def text_goes_on(self) -> bool:
        """Whether generated tokens go on where further text of the prompt would."""
        return type(self).generation_start is PositionDesign.generation_start

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        """Positions of a block, and of the text after it."""
        raise NotImplementedError

    @property
    def text_step(self) -> tuple[float, ...]:
        """What a text token adds on each axis: 1 or, where text leaves an axis at zero, 0."""
        return (1.0,) * len(self.axes)

    def generation_start(self, next_position: float, largest: Callable[[], float]) -> float:
        """Position of the first generated token, ``next_position`` being that of a next prompt token and
        ``largest()`` the prompt's largest coordinate.
        """
        return next_position

    def layer_groups(self, layers: int) -> tuple[tuple[PositionDesign, ...], tuple[int, ...]]:
        """The designs that the layers of a model use, all with the same axes, and for every layer the index
        of its design among them.
        """
        return (self,), (0,) * layers


# What a design is tried on: images and videos of many sizes at many places, some with seconds between frames.
_PROBED: tuple[tuple[Segment, ...], ...] = tuple(
    (TextRun(text), VisualBlock((1, h, w)), TextRun(2), VisualBlock((t, h, w), seconds), TextRun(1))
    for text, (t, h, w), seconds in (
        (0, (2, 1, 1), None),
        (1, (2, 2, 3), 1.0),
        (4, (3, 4, 4), 0.5),
        (5, (5, 7, 5), None),
        (14, (4, 9, 13), 2 / 3),
        (3, (8, 16, 30), None),
    )
)


@dataclass(frozen=True)
class SequencePositions:
    """Positions of one unpadded sequence.

    ``ids``: ``[R, L]``, the axes of each layer group of the design (one group, except for CircleRoPE's AGE);
    int64 if all positions, of the sequence and of what is generated after it, are integers, and float64
    otherwise. Generated token ``k`` stands at ``next_position + k * step``, both ``[R]``; never derive that
    from a padded length.
    """

    ids: npt.NDArray[Any]
    next_position: Coordinates
    step: Coordinates

    @property
    def p_next(self) -> float:
        """The first generated token's position on the first axis; an int if positions are integers."""
        first = float(self.next_position[0])
        return first if self.ids.dtype == np.float64 else int(first)


def position_ids(design: PositionDesign, segments: Sequence[Segment]) -> SequencePositions:
    """Positions of one unpadded sequence under a design.

    Raises:
        BadPosition: the design returns what is no position.
    """
    designs, _ = design.layer_groups(0)
    plans = [SequencePlan(each, segments) for each in designs]
    step = np.concatenate([plan.step for plan in plans])
    ids = np.empty((len(step), plans[0].length), positions_dtype(plans))
    write_positions(plans, ids)
    return SequencePositions(ids, np.concatenate([plan.next_position for plan in plans]), step)


class SequencePlan:
    """Positions of one sequence under one design, worked out per segment; :meth:`write` spreads them over
    the tokens.

    Costs a few small arrays per segment and one assignment per token and axis. ``is_integer``: all
    positions, of the sequence and of what follows it, are integers.
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
                if len(placed.coordinates) != len(self.step):
                    found, axes = len(placed.coordinates), ", ".join(design.axes)
                    raise BadPosition(f"{design} places tokens on {found} axes, not on {axes}")
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

    def _coordinates(self) -> Iterator[Coordinates]:
        return (axis for placed in self._placed if placed for axis in placed.coordinates)

    def _values(self) -> Iterator[Coordinates]:
        """All numbers that positions are made of, flat: the small arrays joined into one."""
        starts = zip(self._starts, self.segments, strict=True)
        text = [start * self.step for start, segment in starts if isinstance(segment, TextRun)]
        axes = {id(axis): axis for axis in self._coordinates()}
        flat = [np.ravel(axis).astype(np.float64, copy=False) for axis in axes.values()]
        yield np.concatenate(
            [self.step, self.next_position, *text, *(each for each in flat if each.size < 4096)]
        )
        yield from (each for each in flat if each.size >= 4096)

    def _largest(self) -> float:
        text = zip(self._starts, self.segments, strict=True)
        found = [start + each.length - 1 for start, each in text if isinstance(each, TextRun)]
        return max([*found, *(float(np.max(axis)) for axis in self._coordinates())], default=-1.0)

    def write(self, out: npt.NDArray[Any]) -> None:
        """Fill ``out [axes, L]``, any view whose last axis is contiguous."""
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


def write_positions(plans: Sequence[SequencePlan], out: npt.NDArray[Any]) -> None:
    """Fill ``out [R, L]`` with the positions of one sequence: the axes of each layer group, in order."""
    begin = 0
    for plan in plans:
        plan.write(out[begin : begin + len(plan.step)])
        begin += len(plan.step)


def positions_dtype(plans: Iterable[SequencePlan]) -> type[np.int64 | np.float64]:
    """The dtype that holds the positions of all sequences exactly."""
    return np.int64 if all(plan.is_integer for plan in plans) else np.float64


def _spread(window: npt.NDArray[Any], block: VisualBlock, placed: BlockPositions) -> None:
    indices = None if block.tile is None else block.token_indices()
    for axis, coordinates in enumerate(placed.coordinates):
        if indices is None:
            window[axis].reshape(block.grid)[...] = coordinates
        else:
            window[axis][indices] = np.broadcast_to(coordinates, block.grid)


def grid_indices(block: VisualBlock) -> Iterator[Coordinates]:
    """Temporal step, row and column of a block's tokens, each shaped to broadcast to ``[T, H, W]``."""
    for axis, size in enumerate(block.grid):
        yield np.arange(float(size)).reshape([-1 if each == axis else 1 for each in range(3)])
