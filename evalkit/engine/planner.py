"""Which requests are answered together, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from evalkit.types import Prepared, Request


def longest_first(requests: Sequence[Request], estimate: Callable[[Request], int]) -> list[Request]:
    """Requests by descending cost: neighbours are of like length, so batches have little padding,
    and what won't fit into memory shows at once. Equal costs keep their order.
    """
    return sorted(requests, key=lambda request: -(estimate(request) + request.max_new_tokens))


def media_groups(requests: Iterable[Request]) -> list[list[Request]]:
    """Requests about the same media together, in the order of each group's first; those without
    media stand alone.
    """
    groups: dict[object, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.media or request.key, []).append(request)
    return list(groups.values())


@dataclass
class Budget:
    """How much goes into one batch: tokens with padding and new tokens, and samples.

    ``tokens`` only ever shrinks, when a batch didn't fit.
    """

    tokens: int
    samples: int | None = None

    def admits(self, batch: Sequence[Prepared], item: Prepared) -> bool:
        """Whether ``item`` may join ``batch``; the first one always may."""
        if not batch:
            return True
        if self.samples is not None and len(batch) >= self.samples:
            return False
        return padded_tokens([*batch, item]) <= self.tokens

    def lower(self, batch: Sequence[Prepared]) -> None:
        """Note that ``batch`` didn't fit: later ones are at most half as large."""
        self.tokens = min(self.tokens, max(1, padded_tokens(batch) // 2))


def padded_tokens(batch: Sequence[Prepared]) -> int:
    """Tokens that a batch takes up at its end: every row as long as the longest."""
    return len(batch) * max(item.length + item.max_new_tokens for item in batch)


def batches(items: Iterable[Prepared], budget: Budget) -> Iterator[list[Prepared]]:
    """Group items in the order in which they come; the budget is read anew for every item."""
    batch: list[Prepared] = []
    for item in items:
        if not budget.admits(batch, item):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
