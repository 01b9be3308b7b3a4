"""The state of a run in numbers: what is done, how fast it goes at present, and how long it will take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from evalkit.runner.reporter import TaskWork

WINDOW = 60.0
"""Seconds that the present has: rates are of the last minute, and of less at the beginning."""

_LEAST = 2.0
"""Seconds after which there is a rate: one of the first answers alone would be far off."""


_ONE_BATCH = 0.5
"""Seconds within which what comes is of one batch: its answers are stored one after the other."""


@dataclass
class Rate:
    """How much came in the last :data:`WINDOW` seconds, or since the first that came: how long that took to
    come (a model warms up, workers start) says nothing of the present. Answers come in batches: until the
    next one is late, the time since the last doesn't count.
    """

    start: float | None = None
    events: deque[tuple[float, float]] = field(default_factory=deque)
    total: float = 0.0
    last: float = 0.0
    gap: float = 0.0

    def add(self, now: float, amount: float) -> None:
        """Note that ``amount`` came now."""
        if self.start is None:
            self.start = self.last = now
        if not self.events and now - self.start <= _ONE_BATCH:
            return
        self.gap = max(self.gap, now - self.last)
        self.last = now
        self.events.append((now, amount))
        self.total += amount

    def at(self, now: float) -> float | None:
        """Amount a second; None while it is too early to say."""
        if self.start is None or (not self.gap and now - self.start < WINDOW):
            return None
        end = self.last if now - self.last <= self.gap else now
        while self.events and self.events[0][0] <= end - WINDOW:
            self.total -= self.events.popleft()[1]
        passed = min(end - self.start, WINDOW)
        return None if passed < _LEAST else max(self.total, 0.0) / passed


@dataclass
class TaskTally:
    """One task of one system."""

    samples: int
    done: int
    tokens: float
    rate: Rate
    last: float | None = None

    @property
    def complete(self) -> bool:
        """Whether all its samples are answered."""
        return self.done >= self.samples


@dataclass
class Tally:
    """The whole run; ``clock`` gives seconds."""

    clock: Callable[[], float]
    tasks: dict[tuple[str, str], TaskTally] = field(default_factory=dict)
    waiting: dict[tuple[str, str], TaskWork] = field(default_factory=dict)
    failed: int = 0
    answering: Rate | None = None
    working: Rate | None = None

    def plan(self, work: Sequence[TaskWork]) -> None:
        """Note the work of the whole run."""
        self.waiting = {(each.system, each.task): each for each in work}

    def start(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """A system begins. It may have got another name than it was planned under."""
        if self.answering is None or self.working is None:
            self.answering, self.working = Rate(), Rate()
        planned = system
        if not any(name == system for name, _ in self.waiting):
            planned = system.rpartition("#")[0]
        for task, count in totals.items():
            known = self.waiting.pop((planned, task), None)
            tokens = known.tokens if known else 1.0
            self.tasks[system, task] = TaskTally(count, done[task], tokens, Rate())

    def pause(self) -> None:
        """Nothing is answered from now on, until the next system begins."""
        self.answering = self.working = None

    def answer(self, system: str, task: str, failed: bool) -> None:
        """A sample was answered."""
        now, each = self.clock(), self.tasks[system, task]
        each.done, each.last = each.done + 1, now
        each.rate.add(now, 1.0)
        self.failed += failed
        if self.answering and self.working:
            self.answering.add(now, 1.0)
            self.working.add(now, each.tokens)

    def active(self) -> list[tuple[str, str]]:
        """Tasks that are at work: some of their samples were answered, and not all. Those answered last come
        first.
        """
        found = [(each.last, name) for name, each in self.tasks.items() if each.last and not each.complete]
        return [name for _, name in sorted(found, reverse=True)]

    @property
    def idle(self) -> int:
        """How many tasks of systems at work have samples to answer, and none answered yet."""
        return sum(not each.complete and each.last is None for each in self.tasks.values())

    @property
    def samples(self) -> tuple[int, int]:
        """How many are done, and of how many."""
        every = self._every()
        return sum(each.done for each in every), sum(each.samples for each in every)

    @property
    def tokens(self) -> tuple[float, float]:
        """Estimated tokens that are done, and of how many."""
        every = self._every()
        total = sum(each.samples * each.tokens for each in every)
        return sum(each.done * each.tokens for each in every), total

    def _every(self) -> list[TaskTally | TaskWork]:
        return [*self.tasks.values(), *self.waiting.values()]

    def left(self) -> float | None:
        """Seconds that the rest takes at the present rate; None if that can't be said."""
        rate = self.working.at(self.clock()) if self.working else None
        done, total = self.tokens
        return (total - done) / rate if rate else None

    def line(self) -> str:
        """The whole run in one line."""
        done, total = self.samples
        tokens, every = self.tokens
        share = tokens / every if every else 1.0
        parts = [f"{done}/{total} samples", f"{_percent(share)} of the work"]
        left = self.left()
        parts += [] if left is None or done >= total else [f"{duration(left)} left"]
        rate = self.answering.at(self.clock()) if self.answering else None
        parts += [] if rate is None else [f"{rate:.1f} samples/s"]
        return ", ".join([*parts, f"{self.failed} failed"])


def _percent(share: float) -> str:
    """A share that is whole only when all is done.

    >>> _percent(0.9999), _percent(1.0)
    ('99%', '100%')
    """
    return f"{int(100 * share + 1e-9)}%"


def duration(seconds: float) -> str:
    """A time to wait, as exact as it can be known.

    >>> duration(8.2), duration(75), duration(4000), duration(400000)
    ('8 s', '1 min 15 s', '1 h 06 min', '4 d 15 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
