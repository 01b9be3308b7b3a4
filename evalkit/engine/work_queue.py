"""The work queue: groups of requests are leased to several engines, and taken back from one that died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from evalkit.engine.planner import Consumer, RequestGroup

MIN_LEASED_SAMPLES = 4
"""Samples that an engine may always hold, however few are left."""

ISOLATE_AFTER_DEATHS = 2
"""Deaths of engines that held a group until its requests are leased one at a time."""

FAIL_AFTER_DEATHS = 3
"""Deaths of engines that held a request until it gets an error."""


@dataclass
class _Lease:
    """A group that an engine holds, and the consumers who have no answer yet."""

    group: RequestGroup
    deaths: int
    waiting: set[Consumer] = field(default_factory=set)

    @property
    def samples(self) -> int:
        return len(self.waiting)

    def unanswered(self) -> _Lease:
        """The same without the consumers that were answered, and the requests that then have none."""
        left = (
            replace(each, consumers=tuple(who for who in each.consumers if who in self.waiting))
            for each in self.group.members
        )
        members = tuple(each for each in left if each.consumers)
        return _new_lease(replace(self.group, members=members), self.deaths)

    def split(self) -> list[_Lease]:
        """Each of its requests as a group of its own."""
        return [_new_lease(replace(self.group, members=(each,)), self.deaths) for each in self.group.members]


class WorkQueue:
    """Groups in their order, each leased to the first engine that has room for it.

    An engine holds no more than its share of what is left, so that all end together. What an engine held
    when it died goes back to the front. Which of these groups killed it is not known: one that was held
    when several engines died is split into its requests, and these are leased one at a time; a request that
    kills an engine even then is given up.
    """

    def __init__(self, groups: Iterable[RequestGroup], engines: int) -> None:
        self._waiting = deque(_new_lease(group, 0) for group in groups)
        self._left = sum(lease.samples for lease in self._waiting)
        self._leases: list[list[_Lease]] = [[] for _ in range(engines)]
        self._incarnations = Counter[int]()

    def unleased(self) -> int:
        """Samples that no engine holds."""
        return self._left

    def take(self, engine: int, incarnation: int) -> tuple[RequestGroup | None, bool]:
        """Lease the next group to an engine in its ``incarnation`` (how often it died before).

        Returns:
            The group, or None if there is none for it now; and whether it may ask again.
        """
        if incarnation != self._incarnations[engine] or not self._waiting:
            return None, False
        held, first = self._leases[engine], self._waiting[0]
        if held:
            alone = max(lease.deaths for lease in (*held, first)) >= ISOLATE_AFTER_DEATHS
            share = max(MIN_LEASED_SAMPLES, self._left // len(self._leases))
            if alone or first.samples + sum(lease.samples for lease in held) > share:
                return None, True
        held.append(self._waiting.popleft())
        self._left -= first.samples
        return first.group, True

    def complete(self, engine: int, answered: Sequence[Consumer]) -> None:
        """Note that an engine's answers have arrived."""
        done = set(answered)
        for lease in self._leases[engine]:
            lease.waiting -= done
        self._leases[engine] = [lease for lease in self._leases[engine] if lease.waiting]

    def release(self, engine: int, *, count_death: bool = True) -> list[Consumer]:
        """Take back what a dead engine held, and return the consumers that are given up. ``count_death`` is
        false where none of its groups can have been the cause.
        """
        self._incarnations[engine] += 1
        rest = [lease.unanswered() for lease in self._leases[engine]]
        self._leases[engine] = []
        given_up: list[Consumer] = []
        again: list[_Lease] = []
        for lease in rest:
            lease.deaths += count_death
            if lease.deaths >= FAIL_AFTER_DEATHS:
                given_up += lease.waiting
            else:
                again += lease.split() if lease.deaths >= ISOLATE_AFTER_DEATHS else [lease]
        self._waiting.extendleft(reversed(again))
        self._left += sum(lease.samples for lease in again)
        return given_up


def _new_lease(group: RequestGroup, deaths: int) -> _Lease:
    return _Lease(group, deaths, {consumer for each in group.members for consumer in each.consumers})
