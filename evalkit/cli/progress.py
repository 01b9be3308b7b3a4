"""Progress on stderr: bars with rate and time left on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

import click

from evalkit.errors import EvalkitError
from evalkit.execute import Reporter

_SECONDS_BETWEEN_LINES = 15.0
# The first batch includes starting the workers: a rate taken from it would be far off.
_ANSWERS_BEFORE_A_RATE = 16


def make_reporter(quiet: bool) -> Reporter:
    """The form that suits stderr: bars, lines, or only problems."""
    if quiet:
        return ProblemsOnly()
    return Bars() if sys.stderr.isatty() else Lines(sys.stderr)


class ProblemsOnly:
    """Says nothing but what went wrong."""

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Nothing to say."""

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """Nothing to say."""

    def arm_finished(self, arm: str) -> None:
        """Nothing to say."""

    def problem(self, error: EvalkitError) -> None:
        """Print the error; the run goes on with the next arm."""
        click.echo(f"evalkit: {error}", err=True)


class Lines(ProblemsOnly):
    """One line per arm, and one every few seconds in between, for logs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._total = self._done = self._failed = self._begun_at = 0
        self._start = self._last = 0.0

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Say how much there is to do."""
        self._total, self._done, self._failed = sum(totals.values()), sum(done.values()), 0
        self._begun_at, self._start = self._done, time.monotonic()
        self._last = self._start
        stored = f", {self._done} of them stored already" if self._done else ""
        self._say(f"{arm}: {self._total} samples in {len(totals)} tasks{stored}")

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """Count it; print a line if the last one is old."""
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        new = self._done - self._begun_at
        if now - self._last >= _SECONDS_BETWEEN_LINES and new >= _ANSWERS_BEFORE_A_RATE:
            self._last = now
            rate = new / (now - self._start)
            left = (self._total - self._done) / rate
            self._say(f"{arm}: {self._done}/{self._total} ({rate:.1f} samples/s, {left:.0f} s left)")

    def arm_finished(self, arm: str) -> None:
        """Say how long it took."""
        seconds = time.monotonic() - self._start
        failed = f", {self._failed} failed" if self._failed else ""
        self._say(f"{arm}: done in {seconds:.1f} s{failed}")

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class Bars(ProblemsOnly):
    """One bar per task of the arm at work, with rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._bars: dict[str, tuple[int, int]] = {}
        self._start = 0.0

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Show a bar for every task."""
        from rich.progress import TaskID

        for bar, _ in self._bars.values():
            self._progress.remove_task(TaskID(bar))
        self._bars = {
            task: (self._progress.add_task(f"{arm} {task}", total=total, completed=done[task], rate=""), 0)
            for task, total in totals.items()
        }
        self._start = time.monotonic()
        self._progress.start()

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """Advance the task's bar."""
        from rich.progress import TaskID

        bar, count = self._bars[task]
        self._bars[task] = (bar, count + 1)
        rate = (count + 1) / max(time.monotonic() - self._start, 1e-9)
        self._progress.update(TaskID(bar), advance=1, rate=f"{rate:.1f}/s")

    def arm_finished(self, arm: str) -> None:
        """Leave one line where the bars were."""
        self._progress.stop()
        count = sum(count for _, count in self._bars.values())
        seconds = time.monotonic() - self._start
        self._console.print(f"{arm}: {count} samples in {seconds:.1f} s", highlight=False)

    def problem(self, error: EvalkitError) -> None:
        """Print the error below the bars."""
        self._progress.stop()
        super().problem(error)
