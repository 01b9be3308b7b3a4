"""Which requests are answered together, and in what order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.models.base import Unit
from evalkit.types import Prepared, Request


def media_groups(requests: Iterable[Request]) -> list[list[Request]]:
    """Requests about the same media together, in the order of each group's first; those without
    media stand alone.
    """
    groups: dict[object, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.media or request.key, []).append(request)
    return list(groups.values())


def shared_requests(
    requests: Sequence[Sequence[Request]],
) -> tuple[list[Request], dict[str, list[tuple[int, str]]]]:
    """The requests of several models, those that differ in nothing but their key once, under new keys; and
    for each of these who asks it: number of the model, and own key.
    """
    asked: dict[Request, list[tuple[int, str]]] = {}
    for number, own in enumerate(requests):
        for request in own:
            asked.setdefault(replace(request, key=""), []).append((number, request.key))
    named = {str(number): request for number, request in enumerate(asked)}
    return (
        [replace(request, key=name) for name, request in named.items()],
        {name: asked[request] for name, request in named.items()},
    )


def longest_first(groups: Sequence[list[Request]], tokens: Mapping[str, int]) -> list[list[Request]]:
    """Groups by descending cost of their largest request, so that what won't fit into memory shows at
    once and neighbours are of like length. ``tokens`` of each request by key; equal costs keep their order.
    """
    return sorted(groups, key=lambda group: -max(tokens[each.key] + each.max_new_tokens for each in group))


def units_of(items: Sequence[Prepared], most: int | None, *, shared: bool = True) -> Iterator[Unit]:
    """Units of prompts about the same media, of at most ``most`` prompts each: together where all tokens up
    to the last visual one are the same, and ``shared``.
    """
    alike: dict[object, list[Prepared]] = {}
    for item in items:
        same = item.input_ids[: item.prefix].tobytes() if shared and item.prefix else id(item)
        alike.setdefault(same, []).append(item)
    for members in alike.values():
        step = most or len(members)
        for begin in range(0, len(members), step):
            yield Unit(tuple(members[begin : begin + step]), members[0].prefix)


@dataclass
class Budget:
    """How much is answered at a time: tokens with those to come, and samples; None is no limit.

    ``tokens`` only ever shrinks, when something didn't fit.
    """

    tokens: int | None
    samples: int | None = None

    def admits(self, tokens: int, samples: int, unit: Unit) -> bool:
        """Whether a unit may join ``samples`` that take up ``tokens``; the first one always may."""
        if samples == 0:
            return True
        if self.samples is not None and samples + len(unit.items) > self.samples:
            return False
        return self.tokens is None or tokens + unit.size <= self.tokens

    def lower(self, tokens: int) -> None:
        """Note that ``tokens`` didn't fit: from now on at most half as many are tried."""
        half = max(1, tokens // 2)
        self.tokens = half if self.tokens is None else min(self.tokens, half)
