"""Which requests are answered together, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.core.types import Prepared, Request
from evalkit.inference.base import PrefixGroup


def media_groups(requests: Iterable[Request]) -> list[list[Request]]:
    """Requests about the same media together, in the order of each group's first; those without
    media stand alone.
    """
    groups: dict[object, list[Request]] = {}
    for request in requests:
        groups.setdefault(request.media or request.key, []).append(request)
    return list(groups.values())


Consumer = tuple[int, str]
"""Number of a model, and the key under which it asks a request."""


@dataclass(frozen=True)
class RequestGroup:
    """Requests about the same media, under keys of the group's own; by these keys, who asks each; and the
    tokens of the longest, with and without new ones.
    """

    requests: list[Request]
    consumers: Mapping[str, Sequence[Consumer]]
    tokens: int = 0
    length: int = 0


def group_requests(
    requests: Sequence[Sequence[Request]], estimate: Callable[[Request], int], *, by_media: bool = True
) -> list[RequestGroup]:
    """The requests of several models in groups: those that differ in nothing but their key once, those about
    the same media together.

    Descending by the longest request of each, so that what won't fit into memory shows at once and
    neighbours are of like length; equal ones keep their order. ``estimate``: tokens of a prompt.
    """
    asked: dict[Request, list[Consumer]] = {}
    for number, own in enumerate(requests):
        for request in own:
            asked.setdefault(replace(request, key=""), []).append((number, request.key))
    named = [replace(request, key=str(number)) for number, request in enumerate(asked)]
    consumers = {each.key: who for each, who in zip(named, asked.values(), strict=True)}
    groups = []
    for members in media_groups(named) if by_media else [[each] for each in named]:
        tokens = {each.key: estimate(each) for each in members}
        length = max(tokens[each.key] + each.max_new_tokens for each in members)
        own_consumers = {key: consumers[key] for key in tokens}
        groups.append(RequestGroup(members, own_consumers, max(tokens.values()), length))
    return sorted(groups, key=lambda group: -group.length)


def prefix_groups_of(
    items: Sequence[Prepared], most: int | None, *, shared: bool = True
) -> Iterator[PrefixGroup]:
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
            yield PrefixGroup(tuple(members[begin : begin + step]), members[0].prefix)


@dataclass
class Budget:
    """How much is answered at a time: tokens with those to come, and samples; None is no limit.

    ``tokens`` only ever shrinks, when something didn't fit.
    """

    tokens: int | None
    samples: int | None = None

    def can_admit(self, tokens: int, samples: int, prefix_group: PrefixGroup) -> bool:
        """Whether a prefix_group may join ``samples`` that take up ``tokens``; the first one always may."""
        if samples == 0:
            return True
        if self.samples is not None and samples + len(prefix_group.items) > self.samples:
            return False
        return self.tokens is None or tokens + prefix_group.max_tokens <= self.tokens

    def lower(self, tokens: int) -> None:
        """Note that ``tokens`` didn't fit: from now on at most half as many are tried."""
        half = max(1, tokens // 2)
        self.tokens = half if self.tokens is None else min(self.tokens, half)
