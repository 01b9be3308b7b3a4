"""Progress on stderr: on a terminal a line for the whole run and bars of its active tasks, elsewhere a line a
minute.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TextIO

from evalkit.cli.tally import Tally, TaskTally, duration
from evalkit.core.console import inline, say, scrub, visible
from evalkit.core.errors import EvalkitError
from evalkit.runner.reporter import SilentReporter, TaskWork

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_SECONDS_BETWEEN_LINES = 60.0
_MOST_BARS = 12
_OTHER_ROWS = 4
"""Rows of a terminal that bars leave free: the run's line, what is loaded, what isn't shown, the prompt."""

_NARROWEST_BAR = 8
_NARROWEST_NAME = 8
_NUMBERS = 26
"""Columns for counts and rates, and the spaces between columns."""


@contextmanager
def slow_files_shown(quiet: bool) -> Iterator[None]:
    """Within the block, files whose hashing takes long are told on stderr."""
    log, shown = logging.getLogger("evalkit.data.file_hash"), _Stderr()
    before = log.level
    if not quiet:
        log.addHandler(shown)
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.setLevel(before)


class _Stderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), err=True)


def make_reporter(quiet: bool) -> ProblemsOnly:
    """The reporter for stderr, for a ``with`` block: bars on a terminal, else lines; only problems if
    ``quiet``.
    """
    if quiet:
        return ProblemsOnly()
    return Bars() if draws(sys.stderr, os.environ) else Lines(sys.stderr)


def draws(out: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether ``out`` is a terminal on which lines can be drawn anew.

    A notebook's ``!command`` is one by name only: what moves the cursor comes out as text. Its kernel sets
    ``JPY_PARENT_PID`` and, for commands, a pager that is none.
    """
    if not out.isatty() or environment.get("TERM") in (None, "", "dumb", "unknown"):
        return False
    notebook = environment.get("TERM") == "xterm-color" and environment.get("PAGER") == "cat"
    return not (notebook or "JPY_PARENT_PID" in environment)


class ProblemsOnly(SilentReporter):
    """Says nothing but what went wrong."""

    def __enter__(self) -> Self:
        """Begin; see :func:`make_reporter`."""
        return self

    def __exit__(self, *error: object) -> None:
        """End what was drawn."""

    def problem(self, error: EvalkitError) -> None:
        """Print the error; the run goes on with the next system."""
        say(f"evalkit: {error}", err=True)


class _Counting(ProblemsOnly):
    """Keeps a :class:`Tally` of the run; systems leave a line when they are done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tally = Tally(clock)
        self._began: dict[str, tuple[float, int, int]] = {}  # time, samples and failures of it before
        self._failures: dict[str, int] = {}
        self._phase: tuple[str, float] | None = None
        self._lock = threading.RLock()

    def phase(self, text: str) -> None:
        """Note what is going on."""
        with self._lock:
            self._phase = (text, self._clock())

    def planned(self, work: Sequence[TaskWork]) -> None:
        """Note the whole run."""
        with self._lock:
            self._tally.plan(work)

    def system_started(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Say how much there is to do."""
        stored = sum(done.values())
        with self._lock:
            self._tally.start(system, totals, done)
            self._began[system] = (self._clock(), sum(totals.values()), stored)
            self._failures[system] = 0
            self._phase = ("preparing the first samples", self._clock())

    def sample_answered(self, system: str, task: str, failed: bool) -> None:
        """Count it."""
        with self._lock:
            self._tally.answer(system, task, failed)
            self._failures[system] += failed
            self._phase = None

    def system_finished(self, system: str) -> None:
        """Say how long it took."""
        with self._lock:
            began, total, _ = self._began.pop(system)
            if not self._began:
                self._tally.pause()
        failed = f", {self._failures[system]} failed" if self._failures[system] else ""
        self.note(f"{system}: {total} samples, done in {duration(self._clock() - began)}{failed}")


class Lines(_Counting):
    """A line for each system and phase, and one a minute for the whole run, for logs."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._out = out
        self._last = clock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin to print a line a minute, also while nothing is answered."""
        threading.Thread(target=self._go_on, name="progress", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Print no more."""
        self._over.set()

    def phase(self, text: str) -> None:
        """Say what begins."""
        super().phase(text)
        self._say(text)

    def system_started(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Say how much there is to do."""
        super().system_started(system, totals, done)
        stored = sum(done.values())
        already = f", {stored} of them stored already" if stored else ""
        self._say(f"{system}: {sum(totals.values())} samples in {len(totals)} tasks{already}")

    def sample_answered(self, system: str, task: str, failed: bool) -> None:
        """Count it; print the run's line if the last one is a minute old."""
        super().sample_answered(system, task, failed)
        self.tick()

    def tick(self) -> None:
        """Print the run's line if the last one is a minute old."""
        with self._lock:
            now = self._clock()
            if now - self._last < _SECONDS_BETWEEN_LINES:
                return
            self._last = now
            line = f"run: {self._tally.line()}" if self._tally.samples[1] else "run: not planned yet"
            self._say(f"{line} ({self._phase[0]})" if self._phase else line)

    def note(self, text: str) -> None:
        """Print it on a line of its own."""
        self._say(text)

    def _say(self, line: str) -> None:
        with self._lock:
            self._out.write(visible(scrub(line)) + "\n")
            self._out.flush()

    def _go_on(self) -> None:
        while not self._over.wait(1.0):
            self.tick()


class Bars(_Counting):
    """A line for the whole run, and a bar for each task at work, as many as fit into the terminal."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
        *,
        live: bool = True,
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(clock)
        self._console = console or Console(stderr=True)
        self._live = Live(
            get_renderable=self.render,
            console=self._console,
            refresh_per_second=4,
            transient=True,
            auto_refresh=live,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove what was drawn."""
        self._live.stop()

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self._console.print(visible(scrub(text)), highlight=False, markup=False, soft_wrap=True)

    def problem(self, error: EvalkitError) -> None:
        """Print the error above the bars."""
        self.note(f"evalkit: {error}")

    def render(self) -> RenderableType:
        """What is drawn now."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            rows: list[RenderableType] = []
            if self._tally.samples[1]:
                rows.append(Text(self._tally.line(), style="bold", no_wrap=True, overflow="ellipsis"))
            if self._phase:
                text, since = self._phase
                words = f"{inline(scrub(text))} ({duration(self._clock() - since)})"
                rows.append(Text(words, no_wrap=True, overflow="ellipsis"))
            active = self._tally.active()
            room = max(1, min(self._console.height - _OTHER_ROWS, _MOST_BARS))
            if active:
                rows.append(self._bars(active[:room]))
            others = [(max(0, len(active) - room), "more at work"), (self._tally.idle, "waiting")]
            words = ", ".join(f"{count} {what}" for count, what in others if count)
            if words:
                rows.append(Text(f"tasks: {words}", style="dim", no_wrap=True))
            return Group(*rows)

    def _bars(self, names: Sequence[tuple[str, str]]) -> RenderableType:
        from rich.cells import cell_len
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = self._clock()
        # Rows in a fixed order: which tasks are shown changes, where one stands does not.
        order = list(self._tally.tasks)
        longest = max(cell_len(task) for _, task in names)
        room = max(_NARROWEST_NAME, self._console.width - longest - _NARROWEST_BAR - _NUMBERS)
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(no_wrap=True, max_width=room)
        table.add_column(ratio=1, min_width=_NARROWEST_BAR)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        for name in sorted(names, key=order.index):
            each, (system, task) = self._tally.tasks[name], name
            table.add_row(
                Text(inline(scrub(task))),
                Text(_end_of(inline(scrub(system)), room)),
                ProgressBar(total=each.samples, completed=each.done),
                f"{each.done}/{each.samples}",
                _rate_text(each, now),
            )
        return table


def _end_of(name: str, room: int) -> str:
    """A system's name, cut at its beginning if need be: its variant stands at the end."""
    from rich.cells import cell_len

    short = name
    while cell_len(short) > room:
        short = f"…{short[2:]}"
    return short


def _rate_text(each: TaskTally, now: float) -> str:
    rate = each.rate.at(now)
    return "" if rate is None else f"{rate:.1f}/s"
