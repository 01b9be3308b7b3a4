"""A decoder for models that answer a batch in one go: what is added is answered at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evalkit.models.base import Finished, Unit
from evalkit.types import Generation, Prepared


@dataclass(frozen=True)
class WholeBatches:
    """See :class:`evalkit.models.base.Decoder`; ``generate`` answers a batch, or raises OutOfMemory."""

    generate: Callable[[Sequence[Prepared]], list[Generation]]
    live: tuple[Prepared, ...] = ()
    tokens: int = 0

    def add(self, units: Sequence[Unit]) -> Finished:
        """See :class:`evalkit.models.base.Decoder`."""
        items = [item for unit in units for item in unit.items]
        return list(zip(items, self.generate(items), strict=True))

    def step(self) -> Finished:
        """Nothing is ever left to do."""
        return []

    def drop(self, keep: int) -> list[Prepared]:
        """Nothing is ever left to forget."""
        return []
