"""RoPE variants as values: the table of named compositions, and how they are written.

A variant is written ``name`` or ``name(parameter=value, ...)``: ``mrope-i``,
``mrope-i(spatial_reset=false)``, ``mrope-i(allocation=[32,16,16], temporal_stride=0.5)``. To add one,
add a file to ``positions/`` or ``frequencies/`` and a line to :data:`VARIANTS`; the fields of the two
parts are its parameters.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from evalkit.rope.frequencies import FrequencyAllocation
from evalkit.rope.frequencies.chunk import Chunk
from evalkit.rope.frequencies.heads import Heads
from evalkit.rope.frequencies.interleave import Interleave
from evalkit.rope.frequencies.temporal import Temporal
from evalkit.rope.parameters import Allocation, BadParameter
from evalkit.rope.positions import PositionDesign
from evalkit.rope.positions.grid import Grid
from evalkit.rope.positions.reset import SpatialReset
from evalkit.rope.positions.sequential import Sequential


class UnknownVariant(ValueError):
    """No variant of that name; ``known`` holds those that exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"there is no RoPE variant `{name}`; known variants: {', '.join(self.known)}")


@dataclass(frozen=True)
class Native:
    """The model's own spectrum, taken over bit for bit."""


@dataclass(frozen=True)
class RopeVariant:
    """A position design, a frequency allocation and a scaling of the spectrum.

    ``keeps_text_prior`` is a promise, checked on every model that the variant is installed into:
    text-only input is rotated exactly as the untouched model rotates it.
    """

    name: str
    position: PositionDesign
    frequency: FrequencyAllocation
    scaling: Native = field(default_factory=Native)
    keeps_text_prior: bool = True
    summary: str = field(default="", compare=False, repr=False)

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the parts, by name."""
        return {name: getattr(self._parts()[part], name) for name, part in self._owners().items()}

    def with_parameters(self, **values: Any) -> RopeVariant:
        """The same variant with other parameters.

        Raises:
            BadParameter: the variant has no such parameter, or it can't take the value.
        """
        owners, parts = self._owners(), self._parts()
        for name, value in values.items():
            if name not in owners:
                raise _no_such_parameter(self.name, name, owners)
            parts[owners[name]] = replace(parts[owners[name]], **{name: value})
        return replace(self, **parts)

    def with_defaults(self, **values: Any) -> RopeVariant:
        """Fill in what the model decides: parameters that this variant has and that are None."""
        open_ones = {name for name, value in self.parameters.items() if value is None}
        return self.with_parameters(**{name: value for name, value in values.items() if name in open_ones})

    def __str__(self) -> str:
        usual = VARIANTS[self.name].parameters
        changed = [f"{k}={_written(v)}" for k, v in self.parameters.items() if v != usual[k]]
        return f"{self.name}({','.join(changed)})" if changed else self.name

    def _parts(self) -> dict[str, Any]:
        return {"position": self.position, "frequency": self.frequency, "scaling": self.scaling}

    def _owners(self) -> dict[str, str]:
        return {each.name: part for part, value in self._parts().items() for each in fields(value)}


VARIANTS: Mapping[str, RopeVariant] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            RopeVariant(
                "vanilla", Sequential(), Temporal(), summary="one axis: visual tokens are numbered like text"
            ),
            RopeVariant(
                "mrope",
                Grid(absolute_time=True),
                Chunk(),
                summary="time, height and width in chunks of the spectrum, as Qwen2.5-VL is trained "
                "(absolute_time=false: as Qwen2-VL and the paper's baseline)",
            ),
            RopeVariant(
                "mrope-i",
                SpatialReset(),
                Interleave(),
                summary="axes interleaved over the spectrum, rows and columns count from zero",
            ),
            RopeVariant(
                "mhrope",
                SpatialReset(),
                Heads(),
                summary="each axis has the whole spectrum on its own heads; rows and columns count from zero",
            ),
        )
    }
)


def parse_variant(text: str) -> RopeVariant:
    """Read ``name`` or ``name(parameter=value, ...)``; ``str`` of the result reads back the same.

    Raises:
        UnknownVariant: no variant of that name.
        BadParameter: an unknown parameter, or a value that it can't take.

    >>> str(parse_variant("mrope-i( temporal_stride = 1, spatial_reset = false )"))
    'mrope-i(spatial_reset=false)'
    """
    name, bracket, inside = text.strip().partition("(")
    name = name.strip()
    if name not in VARIANTS:
        raise UnknownVariant(name, VARIANTS)
    if not bracket:
        return VARIANTS[name]
    if not inside.endswith(")"):
        raise BadParameter(f"`{text}` lacks its closing bracket")
    return VARIANTS[name].with_parameters(**dict(_read_parameters(VARIANTS[name], inside[:-1])))


def split_variants(text: str) -> list[str]:
    """Split a comma list; commas inside brackets don't separate.

    >>> split_variants("vanilla, mrope-i(allocation=[24,20,20],temporal_stride=2),mrope")
    ['vanilla', 'mrope-i(allocation=[24,20,20],temporal_stride=2)', 'mrope']
    """
    depth, items = 0, [""]
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items if item.strip()]


def _read_parameters(variant: RopeVariant, text: str) -> Iterable[tuple[str, Any]]:
    parts = (variant.position, variant.frequency, variant.scaling)
    hints = {key: hint for part in parts for key, hint in typing.get_type_hints(type(part)).items()}
    seen: set[str] = set()
    for item in split_variants(text):
        name, equals, value = (piece.strip() for piece in item.partition("="))
        if name not in hints:
            raise _no_such_parameter(variant.name, name, hints)
        if not equals or name in seen:
            raise BadParameter(f"`{name}` of `{variant.name}` needs exactly one value: `{name}=...`", name)
        seen.add(name)
        read, expected = _READERS[hints[name]]
        try:
            yield name, read(value)
        except (KeyError, ValueError):
            raise BadParameter(f"`{name}` is `{value}`, it must be {expected}", name) from None


def _no_such_parameter(variant: str, name: str, known: Iterable[str]) -> BadParameter:
    known = tuple(known)
    listed = f"its parameters: {', '.join(known)}" if known else "it has none"
    return BadParameter(f"`{variant}` has no parameter `{name}`; {listed}", name, known)


def _read_bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _read_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _read_allocation(text: str) -> Allocation:
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(text)
    t, h, w = (int(item) for item in text[1:-1].split(","))
    if min(t, h, w) < 0 or t + h + w == 0:
        raise ValueError(text)
    return t, h, w


_READERS: Mapping[Any, tuple[Callable[[str], Any], str]] = {
    bool: (_read_bool, "true or false"),
    float: (_read_number, "a number"),
    float | None: (_read_number, "a number"),
    Allocation | None: (_read_allocation, "three counts for time, height and width, like [24,20,20]"),
}


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(list(value)).replace(" ", "")
