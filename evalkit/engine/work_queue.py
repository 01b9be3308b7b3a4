"""Hands groups of requests out to several engines, and takes back those of an engine that died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from evalkit.engine.planner import Consumer, RequestGroup

MIN_LEASED_SAMPLES = 4
"""Samples that an engine may hold at the end of a run, when what is left is shared out evenly."""

ISOLATE_AFTER_DEATHS = 2
FAIL_AFTER_DEATHS = 3
"""Deaths of engines that held a group, until it is handed out alone and until it gets an error."""


@dataclass
class _Lease:
    """A group that an engine holds, and who still waits for an answer to its requests."""

    group: RequestGroup
    deaths: int
    waiting: set[Consumer] = field(default_factory=set)

    @property
    def samples(self) -> int:
        return len(self.waiting)

    def rest(self) -> _Lease:
        """The same without the requests that nobody waits for any more."""
        consumers = {
            key: [each for each in own if each in self.waiting] for key, own in self.group.consumers.items()
        }
        left = {key: own for key, own in consumers.items() if own}
        requests = [each for each in self.group.requests if each.key in left]
        return _new_lease(replace(self.group, requests=requests, consumers=left), self.deaths)

    def split(self) -> list[_Lease]:
        """Each of its requests as a group of its own."""
        return [
            _new_lease(
                replace(self.group, requests=[each], consumers={each.key: self.group.consumers[each.key]}),
                self.deaths,
            )
            for each in self.group.requests
        ]


class WorkQueue:
    """Groups in their order, each handed to the engine that has room first.

    An engine holds no more than its share of what is left, so that all end together. What an engine held
    when it died goes back to the front. No one can tell which of these groups killed it: one that was
    there when several died is cut into its requests, and these are handed out alone; a request that kills
    an engine even then is given up.
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
        """The next group for an engine in its ``incarnation`` (how often it died before), or None; and whether it
        may ask again.
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
        """Take back what an engine held that died; returns what is given up. Without ``count_death``, none of
        that can have been the cause.
        """
        self._incarnations[engine] += 1
        rest = [lease.rest() for lease in self._leases[engine]]
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
    return _Lease(group, deaths, {consumer for own in group.consumers.values() for consumer in own})
