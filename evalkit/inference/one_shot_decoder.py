"""A decoder for models that answer a batch in one go: what is added is answered at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evalkit.core.types import Generation, Prepared
from evalkit.inference.base import Finished, PrefixGroup


@dataclass(frozen=True)
class OneShotDecoder:
    """See :class:`evalkit.inference.base.Decoder`; ``generate`` answers a batch, or raises OutOfMemory."""

    generate: Callable[[Sequence[Prepared]], list[Generation]]
    running: tuple[Prepared, ...] = ()
    tokens: int = 0

    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        """See :class:`evalkit.inference.base.Decoder`."""
        items = [item for prefix_group in prefix_groups for item in prefix_group.items]
        return list(zip(items, self.generate(items), strict=True))

    def step(self) -> Finished:
        """Nothing is ever left to do."""
        return []

    def preempt(self, keep: int) -> list[Prepared]:
        """Nothing is ever left to forget."""
        return []
