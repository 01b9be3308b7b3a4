"""A decoder for models that generate the whole answers of a batch in one call."""

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
        """Nothing to do: added prompts are finished at once."""
        return []

    def preempt(self, keep: int) -> list[Prepared]:
        """Nothing to preempt."""
        return []
