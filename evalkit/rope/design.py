"""What a RoPE variant from outside is written with: ``from evalkit.rope.design import RopeVariant, ...``."""

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.frequencies.chunk import Chunk
from evalkit.rope.frequencies.heads import Heads
from evalkit.rope.frequencies.interleave import Interleave
from evalkit.rope.frequencies.temporal import Temporal
from evalkit.rope.frequencies.time_last import TimeLast
from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign, grid_indices
from evalkit.rope.positions.grid import Grid
from evalkit.rope.positions.reset import SpatialReset
from evalkit.rope.scaling import Scaling, Spectrum
from evalkit.rope.variant import RopeVariant

__all__ = [
    "AxisMap",
    "BadParameter",
    "BlockPositions",
    "Chunk",
    "Cursor",
    "FrequencyAllocation",
    "Grid",
    "Heads",
    "Interleave",
    "PositionDesign",
    "RopeVariant",
    "Scaling",
    "SpatialReset",
    "Spectrum",
    "Temporal",
    "TimeLast",
    "VisualBlock",
    "grid_indices",
]
