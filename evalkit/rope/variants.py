"""RoPE variants as values: the parts that there are, the named compositions of them, how to get one.

A variant is written ``name`` or ``name(parameter=value, ...)``, or composed freely:
``mrope-i``, ``mrope-i(spatial_reset=false)``, ``mrope-i(allocation=[32,16,16],scaling=yarn(8))``,
``position=diagonal,frequency=interleave(24,20,20),scaling=yarn(8)``. To add one, add a file to
``positions/`` or ``frequencies/`` and a line to the tables below; the fields of its parts are its
parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from evalkit.rope.frequencies import FrequencyAllocation
from evalkit.rope.frequencies.chunk import Chunk
from evalkit.rope.frequencies.grape import Grape
from evalkit.rope.frequencies.heads import Heads
from evalkit.rope.frequencies.interleave import Interleave, InterleaveTimeLow
from evalkit.rope.frequencies.meta import MetaGroups
from evalkit.rope.frequencies.temporal import Temporal
from evalkit.rope.frequencies.time_last import NoTime, TimeLast
from evalkit.rope.grammar import (
    PART_KEYS,
    keyword,
    no_such_parameter,
    open_call,
    parameter_types,
    read_part,
    read_value,
    split_at,
    split_list,
    split_variants,
    write_part,
    write_value,
)
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import ALL_AXES, PositionDesign
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

__all__ = ["VARIANTS", "RopeVariant", "UnknownVariant", "parse_variant", "split_variants"]

POSITIONS: Mapping[str, type[PositionDesign]] = MappingProxyType(
    {
        "sequential": Sequential,
        "v2pe": SmallSteps,
        "grid": Grid,
        "reset": SpatialReset,
        "diagonal": Diagonal,
        "circle": Circle,
        "interval": Interval,
        "scaled": ScaledGrid,
        "lumos": Lumos,
        "frames": Frames,
    }
)
FREQUENCIES: Mapping[str, type[FrequencyAllocation]] = MappingProxyType(
    {
        "temporal": Temporal,
        "chunk": Chunk,
        "interleave": Interleave,
        "heads": Heads,
        "videorope": TimeLast,
        "hope": NoTime,
        "ilrope": InterleaveTimeLow,
        "meta": MetaGroups,
        "grape": Grape,
    }
)
SCALINGS: Mapping[str, type[Scaling]] = MappingProxyType(
    {
        "linear": Linear,
        "ntk": NtkAware,
        "yarn": Yarn,
        "base": SpatialBase,
        "per_axis": PerAxis,
        "power": Power,
    }
)


class UnknownVariant(ValueError):
    """No variant of that name; ``known`` holds those that exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"there is no RoPE variant `{name}`; known variants: {', '.join(self.known)}")


@dataclass(frozen=True)
class RopeVariant:
    """A position design, a frequency allocation and changes to the spectrum (none: the model's own).

    ``name`` is that of the table's row it was made from; a free composition has none.
    """

    position: PositionDesign
    frequency: FrequencyAllocation
    scaling: tuple[Scaling, ...] = ()
    name: str = ""
    summary: str = field(default="", compare=False, repr=False)
    paper: str = field(default="", compare=False, repr=False)

    @property
    def keeps_text_prior(self) -> bool:
        """A promise, checked on every model that the variant is installed into: text-only input is
        rotated exactly as the untouched model rotates it.
        """
        text_as_before = self.position.text_step == ALL_AXES
        return text_as_before and self.frequency.rotates_every_pair and not self.scaling

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the position design and the frequency allocation, by name."""
        return {name: getattr(self._parts()[part], name) for name, part in self._owners().items()}

    def with_parameters(self, **values: Any) -> RopeVariant:
        """The same variant with other parameters.

        ``position``, ``frequency`` and ``scaling`` (a tuple) replace a whole part.

        Raises:
            BadParameter: the variant has no such parameter, or it can't take the value.
        """
        part_values = {name: values.pop(name) for name in PART_KEYS if name in values}
        variant = replace(self, **part_values)
        owners, parts = variant._owners(), variant._parts()
        for name, value in values.items():
            if name not in owners:
                raise no_such_parameter(self.name or "a composition", name, [*owners, *PART_KEYS])
            parts[owners[name]] = replace(parts[owners[name]], **{name: value})
        return replace(variant, **parts)

    def with_defaults(self, **values: Any) -> RopeVariant:
        """Fill in what the model decides: parameters that this variant has and that are None."""
        open_ones = {name for name, value in self.parameters.items() if value is None}
        return self.with_parameters(**{name: value for name, value in values.items() if name in open_ones})

    def __str__(self) -> str:
        if not self.name:
            return ",".join(f"{name}={text}" for name, text in self.written_parts().items())
        usual = VARIANTS[self.name]
        parts = {
            name: text
            for name, text in self.written_parts().items()
            if name == "scaling" or type(getattr(self, name)) is not type(getattr(usual, name))
        }
        changed = {
            name: write_value(self.parameters[name])
            for name, part in self._owners().items()
            if part not in parts and self.parameters[name] != usual.parameters[name]
        }
        changed |= parts
        return f"{self.name}({','.join(f'{k}={v}' for k, v in changed.items())})" if changed else self.name

    def written_parts(self) -> dict[str, str]:
        """The composition: ``position``, ``frequency`` and, if the spectrum is changed, ``scaling``."""
        parts = {
            "position": write_part(self.position, POSITIONS),
            "frequency": write_part(self.frequency, FREQUENCIES),
        }
        if self.scaling:
            parts["scaling"] = "+".join(write_part(each, SCALINGS) for each in self.scaling)
        return parts

    def _parts(self) -> dict[str, Any]:
        return {"position": self.position, "frequency": self.frequency}

    def _owners(self) -> dict[str, str]:
        return {each.name: part for part, value in self._parts().items() for each in fields(value)}


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
)

VARIANTS: Mapping[str, RopeVariant] = MappingProxyType({variant.name: variant for variant in _TABLE})


def parse_variant(text: str) -> RopeVariant:
    """Read a variant's name, with parameters or without, or a composition of parts.

    ``str`` of the result reads back the same.

    Raises:
        UnknownVariant: no variant of that name.
        BadParameter: an unknown part or parameter, or a value that it can't take.

    >>> str(parse_variant("mrope-i( temporal_stride = 1, spatial_reset = false )"))
    'mrope-i(spatial_reset=false)'
    >>> str(parse_variant("position=diagonal, frequency=interleave(24, 20, 20), scaling=yarn(8)"))
    'position=diagonal,frequency=interleave(24,20,20),scaling=yarn(8)'
    """
    if split_at(text, "=")[0] in PART_KEYS:
        return _parse_composition(text)
    name, arguments = open_call(text)
    if name not in VARIANTS:
        raise UnknownVariant(name, VARIANTS)
    texts: dict[str, str] = {}
    for item in arguments:
        parameter, value = keyword(item, name, texts)
        texts[parameter] = value
    variant = VARIANTS[name]
    part_values = {key: _read_part(key, texts.pop(key)) for key in PART_KEYS if key in texts}
    variant = variant.with_parameters(**part_values)
    types = parameter_types(type(variant.position)) | parameter_types(type(variant.frequency))
    for parameter in texts:
        if parameter not in types:
            raise no_such_parameter(name, parameter, [*types, *PART_KEYS])
    return variant.with_parameters(
        **{key: read_value(key, types[key], value) for key, value in texts.items()}
    )


def _parse_composition(text: str) -> RopeVariant:
    texts: dict[str, str] = {}
    for item in split_list(text):
        key, value = keyword(item, "a composition", texts)
        if key not in PART_KEYS:
            raise no_such_parameter("a composition", key, PART_KEYS)
        texts[key] = value
    for key, example in (("position", "reset"), ("frequency", "interleave")):
        if key not in texts:
            raise BadParameter(f"the composition `{text}` lacks its {key}: `{key}={example}`", key)
    return RopeVariant(**{key: _read_part(key, value) for key, value in texts.items()})


def _read_part(key: str, text: str) -> Any:
    if key == "position":
        return read_part(text, POSITIONS, "position design")
    if key == "frequency":
        return read_part(text, FREQUENCIES, "frequency allocation")
    if text == "native":
        return ()
    return tuple(read_part(each, SCALINGS, "scaling") for each in split_at(text, "+"))
