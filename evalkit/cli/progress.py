"""Progress on stderr: bars with rate and time left on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from evalkit.core.console import inline, say, scrub, visible
from evalkit.core.errors import EvalkitError
from evalkit.runner.reporter import Reporter, SilentReporter

_SECONDS_BETWEEN_LINES = 15.0
# The first batch includes starting the workers: a rate taken from it would be far off.
_ANSWERS_BEFORE_A_RATE = 16


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


def make_reporter(quiet: bool) -> Reporter:
    """The reporter for stderr: bars on a terminal, else lines; only problems if ``quiet``."""
    if quiet:
        return ProblemsOnly()
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr)


class ProblemsOnly(SilentReporter):
    """Says nothing but what went wrong."""

    def problem(self, error: EvalkitError) -> None:
        """Print the error; the run goes on with the next system."""
        say(f"evalkit: {error}", err=True)


@dataclass
class _Count:
    """Progress of one system."""

    total: int
    stored: int
    new: int = 0
    failed: int = 0
    start: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)


class Lines(ProblemsOnly):
    """One line per system, and one every few seconds in between, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._counts: dict[str, _Count] = {}

    def system_started(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Say how much there is to do."""
        stored = sum(done.values())
        self._counts[system] = _Count(sum(totals.values()), stored)
        already = f", {stored} of them stored already" if stored else ""
        self._say(f"{system}: {sum(totals.values())} samples in {len(totals)} tasks{already}")

    def sample_answered(self, system: str, task: str, failed: bool) -> None:
        """Count it; print a line if the last one is old."""
        count = self._counts[system]
        count.new += 1
        count.failed += failed
        now = time.monotonic()
        if now - count.last >= _SECONDS_BETWEEN_LINES and count.new >= _ANSWERS_BEFORE_A_RATE:
            count.last = now
            rate = count.new / (now - count.start)
            done = count.stored + count.new
            left = (count.total - done) / rate
            self._say(f"{system}: {done}/{count.total} ({rate:.1f} samples/s, {left:.0f} s left)")

    def system_finished(self, system: str) -> None:
        """Say how long it took."""
        count = self._counts[system]
        seconds = time.monotonic() - count.start
        failed = f", {count.failed} failed" if count.failed else ""
        self._say(f"{system}: done in {seconds:.1f} s{failed}")

    def note(self, text: str) -> None:
        """Print it on a line of its own."""
        self._say(text)

    def _say(self, line: str) -> None:
        self._out.write(visible(scrub(line)) + "\n")
        self._out.flush()


class Bars(ProblemsOnly):
    """One bar per task of the systems at work, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bars: dict[tuple[str, str], tuple[int, int]] = {}
        self._starts: dict[str, float] = {}

    def system_started(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Show a bar for every task."""
        for task, total in totals.items():
            bar = self._progress.add_task(
                inline(scrub(f"{system} {task}")), total=total, completed=done[task], rate=""
            )
            self._bars[system, task] = (bar, 0)
        self._starts[system] = time.monotonic()
        self._progress.start()

    def sample_answered(self, system: str, task: str, failed: bool) -> None:
        """Advance the task's bar."""
        from rich.progress import TaskID

        bar, count = self._bars[system, task]
        self._bars[system, task] = (bar, count + 1)
        rate = (count + 1) / max(time.monotonic() - self._starts[system], 1e-9)
        self._progress.update(TaskID(bar), advance=1, rate=f"{rate:.1f}/s")

    def system_finished(self, system: str) -> None:
        """Leave one line where the bars were."""
        from rich.progress import TaskID

        own = [key for key in self._bars if key[0] == system]
        counts = {key: self._bars.pop(key) for key in own}
        for bar, _ in counts.values():
            self._progress.remove_task(TaskID(bar))
        if not self._bars:
            self._progress.stop()
        seconds = time.monotonic() - self._starts[system]
        total = sum(count for _, count in counts.values())
        self.note(f"{system}: {total} samples in {seconds:.1f} s")

    def note(self, text: str) -> None:
        """Print it above the bars."""
        self._console.print(visible(scrub(text)), highlight=False, markup=False)

    def problem(self, error: EvalkitError) -> None:
        """Print the error below the bars."""
        self._progress.stop()
        super().problem(error)
