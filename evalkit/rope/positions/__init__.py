"""Position designs: where on the three axes (time, height, width) each token of a prompt sits.

Text runs the same in every design: token ``j`` of a run sits at ``p + j`` on all axes, ``p`` being
the next free text position. A design says where the tokens of a visual block sit that starts at
``b = p``, and where text goes on after it. One file per design.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evalkit.rope.layout import Segment, TextRun, VisualBlock

if TYPE_CHECKING:
    from evalkit.rope.variants import RopeVariant

Coordinates = npt.NDArray[np.float64]


class PositionDesign(Protocol):
    """A frozen dataclass whose fields are the design's parameters."""

    def place(self, block: VisualBlock, start: float) -> tuple[Coordinates, float]:
        """Coordinates ``[3, T*H*W]`` of a block that starts at ``start``, and where text goes on."""
        ...


def position_ids(variant: RopeVariant, segments: Sequence[Segment]) -> tuple[npt.NDArray[Any], float]:
    """Positions of one unpadded row, and the text position of the first generated token.

    Returns:
        ``positions [3, L]`` (rows t, h, w), int64 if every value is whole and float32 otherwise, and
        ``p_next``, an int in the first case. Generated token ``k`` sits at ``p_next + k`` on every
        axis; never derive that from a padded length.
    """
    following = 0.0
    columns: list[Coordinates] = [np.empty((3, 0))]
    for segment in segments:
        if isinstance(segment, TextRun):
            run = following + np.arange(segment.length, dtype=np.float64)
            columns.append(np.broadcast_to(run, (3, segment.length)))
            following += segment.length
        else:
            placed, following = variant.position.place(segment, following)
            columns.append(placed)
    positions = np.concatenate(columns, axis=1)
    if following.is_integer() and bool((positions == np.floor(positions)).all()):
        return positions.astype(np.int64), int(following)
    return positions.astype(np.float32), following
