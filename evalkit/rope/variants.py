"""The variants that there are: parts and named compositions of them, and how a variant is read.

A variant is written ``name`` or ``name(parameter=value, ...)``, or composed freely:
``mrope-i``, ``mrope-i(spatial_reset=false)``, ``mrope-i(allocation=[32,16,16],scaling=yarn(8))``,
``position=diagonal,frequency=interleave(24,20,20),scaling=yarn(8)``. To add one to evalkit, add a file to
``positions/`` or ``frequencies/`` and its class to the tables below; to add one from outside, see
``docs/add-a-rope.md``. The fields of a part are its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evalkit.rope.catalog import RopeCatalog, UnknownVariant
from evalkit.rope.frequencies import FrequencyAllocation
from evalkit.rope.frequencies.chunk import Chunk
from evalkit.rope.frequencies.grape import Grape
from evalkit.rope.frequencies.heads import Heads
from evalkit.rope.frequencies.interleave import Interleave, InterleaveTimeLow
from evalkit.rope.frequencies.meta import MetaGroups
from evalkit.rope.frequencies.temporal import Temporal
from evalkit.rope.frequencies.time_last import NoTime, TimeLast
from evalkit.rope.grammar import split_variants
from evalkit.rope.positions import PositionDesign
from evalkit.rope.positions.circle import Circle
from evalkit.rope.positions.diagonal import Diagonal
from evalkit.rope.positions.frames import Frames
from evalkit.rope.positions.grid import Grid
from evalkit.rope.positions.interval import Interval
from evalkit.rope.positions.lumos import Lumos
from evalkit.rope.positions.reset import SpatialReset
from evalkit.rope.positions.scaled import ScaledGrid
from evalkit.rope.positions.sequential import Sequential
from evalkit.rope.positions.v2pe import SmallSteps
from evalkit.rope.scaling import Linear, NtkAware, PerAxis, Power, Scaling, SpatialBase, Yarn
from evalkit.rope.variant import RopeVariant

__all__ = ["BUILTIN", "VARIANTS", "RopeVariant", "UnknownVariant", "parse_variant", "split_variants"]

_POSITIONS: tuple[type[PositionDesign], ...] = (
    *(Sequential, SmallSteps, Grid, SpatialReset, Diagonal, Circle, Interval, ScaledGrid, Lumos, Frames),
)
_FREQUENCIES: tuple[type[FrequencyAllocation], ...] = (
    *(Temporal, Chunk, Interleave, Heads, TimeLast, NoTime, InterleaveTimeLow, MetaGroups, Grape),
)
_SCALINGS: tuple[type[Scaling], ...] = (Linear, NtkAware, Yarn, SpatialBase, PerAxis, Power)


def _variant(name: str, position: Any, frequency: Any, summary: str, paper: str) -> RopeVariant:
    return RopeVariant(position, frequency, (), name, summary, paper)


_TABLE = (
    _variant(
        "vanilla",
        Sequential(),
        Temporal(),
        "one axis: visual tokens are numbered like text",
        "arXiv 2104.09864",
    ),
    _variant(
        "v2pe",
        SmallSteps(),
        Temporal(),
        "one axis, on which visual tokens take small steps (1/16)",
        "V2PE, arXiv 2412.09616",
    ),
    _variant(
        "rope-tie",
        Interval(),
        Interleave(),
        "a grid, and then an interval as long as vanilla's (the paper's modality interval)",
        "RoPE-Tie (Su, 2024); arXiv 2510.23095, table 4",
    ),
    _variant(
        "mrope",
        Grid(),
        Chunk(),
        "time, height and width in chunks of the spectrum, as the Qwen model is trained "
        "(Qwen2.5-VL: absolute time; the paper's baseline is absolute_time=false)",
        "Qwen2-VL, arXiv 2409.12191; Qwen2.5-VL, arXiv 2502.13923",
    ),
    _variant(
        "mrope-i",
        SpatialReset(),
        Interleave(),
        "axes interleaved over the spectrum, rows and columns count from zero",
        "arXiv 2510.23095",
    ),
    _variant(
        "mhrope",
        SpatialReset(),
        Heads(),
        "each axis has the whole spectrum on its own heads; rows and columns count from zero",
        "arXiv 2510.23095",
    ),
    _variant(
        "videorope",
        Diagonal(2.0),
        TimeLast(),
        "frames centred on the line of text; time has the lowest frequencies",
        "VideoRoPE, arXiv 2502.05173",
    ),
    _variant(
        "hope",
        Diagonal(),
        NoTime(),
        "as videorope, with time carried by no frequency at all",
        "HoPE, arXiv 2505.20444",
    ),
    _variant(
        "circlerope",
        Circle(),
        Chunk(),
        "images as rings around the line of text, all tokens equally far from it",
        "CircleRoPE, arXiv 2505.16416",
    ),
    _variant(
        "il-rope",
        SpatialReset(text="zero"),
        InterleaveTimeLow(),
        "interleaved with time lowest; text has no height and width",
        "Mogao, arXiv 2505.05472, as described in arXiv 2510.23095",
    ),
    _variant(
        "omni-rope",
        SpatialReset(text="zero"),
        Chunk(),
        "chunks, rows and columns from zero; text has no height and width",
        "OmniGen2, arXiv 2506.18871, as described in arXiv 2510.23095",
    ),
    _variant(
        "mmrope",
        ScaledGrid(),
        MetaGroups(),
        "a grid with a scale per axis; small groups of axes repeat down the spectrum",
        "Lumos-1, arXiv 2507.08801",
    ),
    _variant(
        "grape",
        Grid(absolute_time=False),
        Grape(),
        "canonical GRAPE: MRoPE's positions, chunked or interleaved",
        "GRAPE, arXiv 2512.07805",
    ),
    _variant(
        "tad-rope",
        Frames(),
        Temporal(),
        "one axis: all tokens of a frame stand at its number, text goes on after the last frame",
        "`tad_rope` of VideoRoPE's code (get_time_rope_index, Wiselnn570/VideoRoPE@309f5c8); TC-LLaVA's "
        "own TAD-RoPE, arXiv 2409.03206, numbers the tokens of a frame",
    ),
)

BUILTIN = RopeCatalog(
    positions={each.name: each for each in _POSITIONS},
    frequencies={each.name: each for each in _FREQUENCIES},
    scalings={each.name: each for each in _SCALINGS},
    variants={variant.name: variant for variant in _TABLE},
)
"""What evalkit itself brings; :func:`evalkit.rope.outside.rope_catalog` adds what there is from outside."""

VARIANTS: Mapping[str, RopeVariant] = BUILTIN.variants


def parse_variant(text: str) -> RopeVariant:
    """Read a variant's name, with parameters or without, or a composition of parts: evalkit's own, or of
    packages that are installed (entry points).

    ``str`` of the result reads back the same.

    Raises:
        UnknownVariant: no variant of that name.
        BadParameter: an unknown part or parameter, or a value that it can't take.
        BadRope: what an installed package brings can't be used.

    >>> str(parse_variant("mrope-i( temporal_stride = 1, spatial_reset = false )"))
    'mrope-i(spatial_reset=false)'
    >>> str(parse_variant("position=diagonal, frequency=interleave(24, 20, 20), scaling=yarn(8)"))
    'position=diagonal,frequency=interleave(24,20,20),scaling=yarn(8)'
    """
    from evalkit.rope.outside import rope_catalog

    return rope_catalog().parse(text)
