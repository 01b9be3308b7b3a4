"""A RoPE variant: a position design, a frequency allocation and changes to the spectrum."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from evalkit.rope.frequencies import AxisMap, FrequencyAllocation
from evalkit.rope.grammar import PART_KEYS, no_such_parameter, write_part, write_value
from evalkit.rope.parameters import Allocation, BadParameter
from evalkit.rope.positions import PositionDesign
from evalkit.rope.scaling import Scaling


@dataclass(frozen=True)
class RopeVariant:
    """A position design, a frequency allocation and changes to the spectrum (none: the model's own).

    ``name`` is that of the named variant which it is, perhaps with other parameters; a free composition has
    none. ``str`` of a variant is what :func:`~evalkit.rope.variants.parse_variant` reads.
    """

    position: PositionDesign
    frequency: FrequencyAllocation
    scaling: tuple[Scaling, ...] = ()
    name: str = ""
    summary: str = field(default="", compare=False, repr=False)
    paper: str = field(default="", compare=False, repr=False)
    original: RopeVariant | None = field(default=None, compare=False, repr=False)
    """The named variant that this one is with other parameters."""

    @property
    def keeps_text_prior(self) -> bool:
        """A promise, checked on every model that the variant is installed into: text-only input is
        rotated exactly as the untouched model rotates it.
        """
        counted = all(step == 1 for step in self.position.text_step)
        return counted and self.frequency.rotates_every_pair and not self.scaling

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the position design and the frequency allocation, by name."""
        return {name: getattr(self._parts()[part], name) for name, part in self._owners().items()}

    def axis_map(self, pairs: int, kv_heads: int, section: Allocation | None = None) -> AxisMap:
        """The allocation's map (:meth:`~evalkit.rope.frequencies.FrequencyAllocation.axis_map`) as indices
        into the axes of the position design, which may have others and in another order.

        Raises:
            BadParameter: the design lacks an axis, or the allocation can't be laid out on such heads.
        """
        found = self.frequency.axis_map(pairs, kv_heads, section)
        names, axes = self.frequency.axes, self.position.axes
        used = [names[axis] for axis in np.unique(found[found >= 0]).tolist()]
        if lacking := [name for name in used if name not in axes]:
            raise BadParameter(
                f"`{write_part(self.frequency)}` gives pairs to the axis `{lacking[0]}`, which "
                f"`{write_part(self.position)}` does not have (its axes: {', '.join(axes)})",
                "frequency",
            )
        # The last entry is for pairs that follow no axis (-1).
        indices = np.array([*(axes.index(name) if name in axes else -1 for name in names), -1])
        translated: AxisMap = indices[found]
        return translated

    def with_parameters(self, **values: Any) -> RopeVariant:
        """The same variant with other parameters.

        ``position``, ``frequency`` and ``scaling`` (a tuple) replace a whole part.

        Raises:
            BadParameter: the variant has no such parameter, or it can't take the value.
        """
        part_values = {name: values.pop(name) for name in PART_KEYS if name in values}
        variant = replace(self, **part_values, original=self._usual() if self.name else None)
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
        usual, written = self._usual(), self.written_parts()
        kept = {key for key, part in self._parts().items() if type(part) is type(usual._parts()[key])}
        parts = {key: written[key] for key in self._parts() if key not in kept}
        if self.scaling != usual.scaling:
            parts["scaling"] = written.get("scaling", "native")
        changed = {
            name: write_value(self.parameters[name])
            for name, part in self._owners().items()
            if part in kept and self.parameters[name] != usual.parameters[name]
        }
        changed |= parts
        return f"{self.name}({','.join(f'{k}={v}' for k, v in changed.items())})" if changed else self.name

    def written_parts(self) -> dict[str, str]:
        """The composition: ``position``, ``frequency`` and, if the spectrum is changed, ``scaling``."""
        parts = {key: write_part(part) for key, part in self._parts().items()}
        if self.scaling:
            parts["scaling"] = "+".join(write_part(each) for each in self.scaling)
        return parts

    def _usual(self) -> RopeVariant:
        return self.original or self

    def _parts(self) -> dict[str, Any]:
        return {"position": self.position, "frequency": self.frequency}

    def _owners(self) -> dict[str, str]:
        return {each.name: part for part, value in self._parts().items() for each in fields(value)}
