"""Hands groups of requests out to several engines, and takes back those of an engine that died."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from evalkit.engine.planner import Asker, Group

LEAST_HELD = 4
"""Samples that an engine may hold at the end of a run, when what is left is shared out evenly."""

ALONE_AFTER = 2
GIVEN_UP_AFTER = 3
"""Deaths of engines that held a group, until it is handed out alone and until it gets an error."""


@dataclass
class _Lease:
    """A group that an engine holds, and who still waits for an answer to its requests."""

    group: Group
    deaths: int
    waiting: set[Asker] = field(default_factory=set)

    @property
    def samples(self) -> int:
        return len(self.waiting)

    def rest(self) -> _Lease:
        """The same without the requests that nobody waits for any more."""
        askers = {
            key: [each for each in own if each in self.waiting] for key, own in self.group.askers.items()
        }
        left = {key: own for key, own in askers.items() if own}
        requests = [each for each in self.group.requests if each.key in left]
        return _lease(replace(self.group, requests=requests, askers=left), self.deaths)

    def singles(self) -> list[_Lease]:
        """Each of its requests as a group of its own."""
        return [
            _lease(
                replace(self.group, requests=[each], askers={each.key: self.group.askers[each.key]}),
                self.deaths,
            )
            for each in self.group.requests
        ]


class Dealer:
    """Groups in their order, each handed to the engine that has room first.

    An engine holds no more than its share of what is left, so that all end together. What an engine held
    when it died goes back to the front. No one can tell which of these groups killed it: one that was
    there when several died is cut into its requests, and these are handed out alone; a request that kills
    an engine even then is given up.
    """

    def __init__(self, groups: Iterable[Group], engines: int) -> None:
        self._waiting = deque(_lease(group, 0) for group in groups)
        self._left = sum(lease.samples for lease in self._waiting)
        self._held: list[list[_Lease]] = [[] for _ in range(engines)]
        self._lives = Counter[int]()

    def waiting(self) -> int:
        """Samples that no engine holds."""
        return self._left

    def take(self, engine: int, life: int) -> tuple[Group | None, bool]:
        """The next group for an engine in its ``life`` (how often it died before), or None; and whether it
        may ask again.
        """
        if life != self._lives[engine] or not self._waiting:
            return None, False
        held, first = self._held[engine], self._waiting[0]
        if held:
            alone = max(lease.deaths for lease in (*held, first)) >= ALONE_AFTER
            share = max(LEAST_HELD, self._left // len(self._held))
            if alone or first.samples + sum(lease.samples for lease in held) > share:
                return None, True
        held.append(self._waiting.popleft())
        self._left -= first.samples
        return first.group, True

    def delivered(self, engine: int, answered: Sequence[Asker]) -> None:
        """Note that an engine's answers have arrived."""
        done = set(answered)
        for lease in self._held[engine]:
            lease.waiting -= done
        self._held[engine] = [lease for lease in self._held[engine] if lease.waiting]

    def lost(self, engine: int, *, blame: bool = True) -> list[Asker]:
        """Take back what an engine held that died; returns what is given up. Without ``blame``, none of
        that can have been the cause.
        """
        self._lives[engine] += 1
        rest = [lease.rest() for lease in self._held[engine]]
        self._held[engine] = []
        given_up: list[Asker] = []
        again: list[_Lease] = []
        for lease in rest:
            lease.deaths += blame
            if lease.deaths >= GIVEN_UP_AFTER:
                given_up += lease.waiting
            else:
                again += lease.singles() if lease.deaths >= ALONE_AFTER else [lease]
        self._waiting.extendleft(reversed(again))
        self._left += sum(lease.samples for lease in again)
        return given_up


def _lease(group: Group, deaths: int) -> _Lease:
    return _Lease(group, deaths, {asker for own in group.askers.values() for asker in own})
