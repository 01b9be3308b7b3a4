"""A catalog of variants: parts by name, named compositions of them, and how a text is read by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evalkit.rope.frequencies import FrequencyAllocation
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
)
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import PositionDesign
from evalkit.rope.scaling import Scaling
from evalkit.rope.variant import RopeVariant


class UnknownVariant(ValueError):
    """No variant of that name; ``known`` holds those that exist."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name, self.known = name, tuple(known)
        super().__init__(f"there is no RoPE variant `{name}`; known variants: {', '.join(self.known)}")


@dataclass(frozen=True)
class Origin:
    """Where a part or a variant from outside comes from: ``where`` in words, ``file`` the name of the file
    and, of a package, its version, and ``sha256`` of the file's content.
    """

    where: str
    file: str
    sha256: str


@dataclass(frozen=True)
class RopeCatalog:
    """Position designs, frequency allocations and scalings by name, and named variants.

    ``origins``: for every class and every name of a variant that is not evalkit's own.
    """

    positions: Mapping[str, type[PositionDesign]]
    frequencies: Mapping[str, type[FrequencyAllocation]]
    scalings: Mapping[str, type[Scaling]]
    variants: Mapping[str, RopeVariant]
    origins: Mapping[type | str, Origin] = field(default_factory=dict)

    def parse(self, text: str) -> RopeVariant:
        """See :func:`evalkit.rope.variants.parse_variant`."""
        if split_at(text, "=")[0] in PART_KEYS:
            return self._parse_composition(text)
        name, arguments = open_call(text)
        if name not in self.variants:
            raise UnknownVariant(name, self.variants)
        texts: dict[str, str] = {}
        for item in arguments:
            parameter, value = keyword(item, name, texts)
            texts[parameter] = value
        part_values = {key: self._read_part(key, texts.pop(key)) for key in PART_KEYS if key in texts}
        variant = self.variants[name].with_parameters(**part_values)
        types = parameter_types(type(variant.position)) | parameter_types(type(variant.frequency))
        for parameter in texts:
            if parameter not in types:
                raise no_such_parameter(name, parameter, [*types, *PART_KEYS])
        return variant.with_parameters(
            **{key: read_value(key, types[key], value) for key, value in texts.items()}
        )

    def sources(self, variant: RopeVariant) -> dict[str, str]:
        """The files from outside that decide on a variant's positions and spectrum: their hashes by name.
        Nothing for evalkit's own.
        """
        parts = (variant.position, variant.frequency, *variant.scaling)
        keys: list[type | str] = [*(type(part) for part in parts), variant.name]
        origins = dict.fromkeys(self.origins[key] for key in keys if key in self.origins)
        found: dict[str, list[str]] = {}
        for origin in origins:
            found.setdefault(origin.file, []).append(origin.sha256)
        return {file: " ".join(sorted(set(hashes))) for file, hashes in sorted(found.items())}

    def _parse_composition(self, text: str) -> RopeVariant:
        texts: dict[str, str] = {}
        for item in split_list(text):
            key, value = keyword(item, "a composition", texts)
            if key not in PART_KEYS:
                raise no_such_parameter("a composition", key, PART_KEYS)
            texts[key] = value
        for key, example in (("position", "reset"), ("frequency", "interleave")):
            if key not in texts:
                raise BadParameter(f"the composition `{text}` lacks its {key}: `{key}={example}`", key)
        return RopeVariant(**{key: self._read_part(key, value) for key, value in texts.items()})

    def _read_part(self, key: str, text: str) -> Any:
        if key == "position":
            return read_part(text, self.positions, "position design")
        if key == "frequency":
            return read_part(text, self.frequencies, "frequency allocation")
        if text == "native":
            return ()
        return tuple(read_part(each, self.scalings, "scaling") for each in split_at(text, "+"))
