"""A block as rings in a plane across the line of text (CircleRoPE)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import BadParameter, require_positive
from evalkit.rope.positions import BlockPositions, Coordinates, Cursor, PositionDesign, grid_indices
from evalkit.rope.positions.grid import Grid

# An orthonormal basis (t, h, w are the last, second and first component) of the plane that is
# perpendicular to (1, 1, 1), the direction in which text runs.
_U = np.array([-1.0, 1.0, 0.0]) / math.sqrt(2)
_V = np.array([-1.0, -1.0, 2.0]) / math.sqrt(6)


@dataclass(frozen=True)
class Circle(PositionDesign):
    """Every frame becomes a ring around the line of text (arXiv 2505.16416).

    A token's angle is ``alpha * theta_grid + (1 - alpha) * theta_index``: the first is that of its
    place in the grid, stretched to a full turn, the second its share of the frame's tokens. Text
    goes on one above the block's largest coordinate, which is fractional.

    Args:
        radius: a number, ``auto`` (the largest coordinate of the grid) or ``auto-S`` (S times that).
        alpha: weight of the grid's angle.
        move_to_origin: centre the grid before taking angles.
        move_to_positive: ``false``, ``auto`` (shift the ring until no coordinate is below ``b``) or a
            number (that much further).
        projection: share of the plain grid, projected onto the plane, that is mixed in
            (``dff_rate`` of the official code; 1 leaves no ring).
        video: ``stack`` moves frame ``t`` by ``temporal_stride * t`` along the text, as
            JJJYmmm/Multimodal-RoPEs does; ``collapse`` puts all frames on one ring, as the paper
            describes. The official code can't run on videos.
        age: which layers use plain MRoPE positions instead (Alternating Geometry Encoding):
            ``none``, ``odd`` (official ``strategy_4``), ``second_half`` (``strategy_2``) or
            ``first_half`` (``strategy_3``).
    """

    name = "circle"
    radius: float | str = 10.0
    alpha: float = 0.5
    move_to_origin: bool = True
    move_to_positive: bool | float | str = False
    projection: float = 0.0
    video: Literal["stack", "collapse"] = "stack"
    temporal_stride: float = 1.0
    age: Literal["none", "odd", "second_half", "first_half"] = "none"
    absolute_time: bool | None = field(default=None)
    tokens_per_second: float | None = field(default=None)

    def __post_init__(self) -> None:
        require_positive("temporal_stride", self.temporal_stride)
        self._radius(1.0)
        if isinstance(self.move_to_positive, str) and self.move_to_positive != "auto":
            raise BadParameter(
                f"`move_to_positive` is `{self.move_to_positive}`, it must be false, auto or a number",
                "move_to_positive",
            )

    def layer_groups(self, layers: int) -> tuple[tuple[PositionDesign, ...], tuple[int, ...]]:
        if self.age == "none":
            return super().layer_groups(layers)
        plain = Grid(absolute_time=self.absolute_time, tokens_per_second=self.tokens_per_second)
        half = layers // 2
        uses = {
            "odd": [layer % 2 for layer in range(layers)],
            "second_half": [int(layer >= half) for layer in range(layers)],
            "first_half": [int(layer < half) for layer in range(layers)],
        }
        return (self, plain), tuple(uses[self.age])

    def place(self, block: VisualBlock, at: Cursor) -> BlockPositions:
        t, h, w = grid_indices(block)
        z = self.temporal_stride * t
        # Evenly spaced: the last is the largest, and the mean lies half way.
        x, y, depth = (axis - axis.flat[-1] / 2 if self.move_to_origin else axis for axis in (w, h, z))
        radius = self._radius(max(float(axis.flat[-1]) for axis in (x, y, depth)))
        ring = self._ring(x[0], y[0], radius)
        along = z if self.video == "stack" else np.zeros((1, 1, 1))
        origin = at.start + self._lift(float(ring.min()))
        largest = origin + float(ring.max()) + float(along.flat[-1])
        first, second, third = (origin + along + axis for axis in ring)
        return BlockPositions((third, second, first), largest + 1)

    def _ring(self, x: Coordinates, y: Coordinates, radius: float) -> Coordinates:
        """Points ``[3, H, W]`` of one frame."""
        angle = np.arctan2(y, x)
        spread = float(angle.max() - angle.min())
        turned = (angle - angle.min()) / spread * 2 * math.pi if spread else angle
        index = 2 * math.pi * np.arange(angle.size).reshape(angle.shape) / angle.size
        theta = self.alpha * turned + (1 - self.alpha) * index
        ring = _in_plane(radius * np.cos(theta), radius * np.sin(theta))
        if not self.projection:
            return ring
        return (1 - self.projection) * ring + self.projection * _in_plane(x, y)

    def _radius(self, largest: float) -> float:
        name, _, factor = str(self.radius).partition("-") if isinstance(self.radius, str) else ("", "", "")
        try:
            if not name:
                return float(self.radius)
            if name == "auto":
                return largest * float(factor or 1)
        except ValueError:
            pass
        raise BadParameter(f"`radius` is `{self.radius}`, it must be a number, auto or auto-NUMBER", "radius")

    def _lift(self, lowest: float) -> float:
        if self.move_to_positive is False:
            return 0.0
        extra = 0.0 if isinstance(self.move_to_positive, (str, bool)) else self.move_to_positive
        return abs(lowest) + extra


def _in_plane(x: Coordinates, y: Coordinates) -> Coordinates:
    return x * _U.reshape(3, 1, 1) + y * _V.reshape(3, 1, 1)
