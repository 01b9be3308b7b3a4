"""Which model families there are: the folders beside this file, and what other packages bring.

A family is a package whose ``__init__`` holds ``FAMILY``, a :class:`~evalkit.models.families.family.Family`,
and is imported without torch. Packages from outside name theirs in the entry-point group ``evalkit.families``
(``my_family = "my_package.my_family"``). See docs/add-a-family.md.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from evalkit.core.errors import EnvironmentProblem
from evalkit.models import families
from evalkit.models.families.family import Family

if TYPE_CHECKING:
    from evalkit.models.families.adapter import FamilyAdapter
    from evalkit.rope.hf.layouts import TokenLayout

ENTRY_POINTS = "evalkit.families"


class Families(Mapping[str, Family]):
    """All families by name, built-in ones first; found when first asked for."""

    @cached_property
    def _families(self) -> dict[str, Family]:
        built_in = [
            _read(f"{families.__name__}.{each.name}", "evalkit")
            for each in pkgutil.iter_modules(families.__path__)
            if each.ispkg and not each.name.startswith("_")
        ]
        found = {family.name: family for family in sorted(built_in, key=lambda each: each.module)}
        for point in entry_points(group=ENTRY_POINTS):
            family = _read(point.value, f"entry point `{point.name}`")
            if family.name in found:
                raise EnvironmentProblem(
                    f"two model families are called `{family.name}`",
                    f"`{found[family.name].module}` and `{family.module}`, which {ENTRY_POINTS} names",
                    "uninstall the package that brings the second",
                )
            found[family.name] = family
        return found

    def __getitem__(self, name: str) -> Family:
        return self._families[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)


FAMILIES = Families()


def adapter_of(name: str) -> FamilyAdapter:
    """The adapter of a family whose checkpoints transformers loads; imports torch.

    Raises:
        KeyError: no such family.
    """
    adapter: FamilyAdapter = importlib.import_module(FAMILIES[name].module).FAMILY_ADAPTER
    return adapter


def layout_names() -> list[str]:
    """Model types that :func:`layout_of` knows; :mod:`evalkit.rope.hf.layouts` asks."""
    return [name for name in FAMILIES if name != "mock"]


def layout_of(model_type: str) -> TokenLayout:
    """How a family lays out visual tokens; :mod:`evalkit.rope.hf.layouts` asks."""
    return adapter_of(model_type).layout


def _read(package: str, source: str) -> Family:
    """The family that a package declares.

    Raises:
        EnvironmentProblem: it can't be imported, or declares none.
    """
    try:
        family = importlib.import_module(package).FAMILY
    except (ImportError, AttributeError) as error:
        raise EnvironmentProblem(
            f"the model family `{package}` ({source}) can't be read",
            str(error),
            "its package needs `FAMILY = Family(...)` (docs/add-a-family.md), or uninstall it",
        ) from None
    if not isinstance(family, Family):
        raise EnvironmentProblem(
            f"the model family `{package}` ({source}) can't be read",
            f"its `FAMILY` is a `{type(family).__name__}`",
            "make it an `evalkit.models.families.family.Family` (docs/add-a-family.md)",
        )
    return family
