"""Progress: a line for the run and bars that fit a terminal; a line a minute, without escapes, elsewhere."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from evalkit.cli.progress import Bars, Lines, draws
from evalkit.cli.tally import Rate, Tally
from evalkit.core.errors import EnvironmentProblem
from evalkit.runner.reporter import TaskWork

SYSTEMS = [f"checkpoint-5000@{rope}" for rope in ("mrope", "mrope-i", "mhrope", "vanilla")]
TASKS = [f"benchmark_{number:02d}_with_a_name" for number in range(25)]
WORK = [TaskWork(system, task, 200, 0, 100.0) for system in SYSTEMS for task in TASKS]


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def started(reporter: Bars | Lines) -> None:
    reporter.planned(WORK)
    for system in SYSTEMS:
        reporter.system_started(system, dict.fromkeys(TASKS, 200), dict.fromkeys(TASKS, 0))


def drawn(bars: Bars, width: int, height: int) -> list[str]:
    """The rows of what is drawn, as a terminal has them."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as found:
        console.print(bars.render())
    return found.get().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50), (50, 8)])
def test_a_hundred_tasks_fit_the_terminal(width: int, height: int) -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    bars = Bars(clock, console, live=False)
    started(bars)
    bars.phase("loading another one")
    assert drawn(bars, width, height)[1:] == ["loading another one (0 s)", "tasks: 100 waiting"]
    for step in range(50):
        clock.now += 0.1
        for task in TASKS[3:5]:
            bars.sample_answered(SYSTEMS[2], task, failed=step == 7)
    rows = drawn(bars, width, height)
    assert len(rows) <= height - 1
    assert max(map(len, rows)) <= width
    assert rows[0].startswith("100/20000 samples, 0% of the work")
    assert sum(" 50/200" in row for row in rows[1:]) == 2
    assert all(any(task in row and "@mhrope" in row for row in rows) for task in TASKS[3:5])
    assert rows[-1] == "tasks: 98 waiting"
    for task in TASKS:
        for system in SYSTEMS:
            clock.now += 0.1
            bars.sample_answered(system, task, failed=False)
    bars.phase("loading another one")
    rows = drawn(bars, width, height)
    assert len(rows) <= height - 1
    assert max(map(len, rows)) <= width
    assert rows[1] == "loading another one (0 s)"
    # Of a hundred tasks at work, those are there that were answered last; what differs isn't cut off.
    room = min(height - 4, 12)
    assert sum("/200" in row for row in rows[2:]) == room
    assert all(any(TASKS[-1] in row and system[-6:] in row for row in rows) for system in SYSTEMS)
    assert rows[-1] == f"tasks: {100 - room} more at work"
    if width >= 80:
        assert "2 failed" in rows[0]


def test_rates_are_of_the_present() -> None:
    clock = Clock()
    tally = Tally(clock)
    tally.plan([TaskWork("a", "t", 10_000, 1000, 10.0), TaskWork("b", "t", 1000, 0, 30.0)])
    assert tally.line() == "1000/11000 samples, 7% of the work, 0 failed"
    tally.start("a", {"t": 10_000}, {"t": 1000})
    clock.now += 100  # what comes before the first answers is no rate
    for _ in range(100):
        tally.answer("a", "t", False)
    assert "samples/s" not in tally.line()
    for step in range(600):
        clock.now += 1.0 if step % 10 == 0 else 0.0
        tally.answer("a", "t", False)
    assert ", 10.0 samples/s" in tally.line()
    for _ in range(240):
        clock.now += 0.5
        tally.answer("a", "t", False)
    assert "2.0 samples/s" in tally.line()
    done, total = tally.tokens
    assert (done, total) == (19_400.0, 130_000.0)
    assert tally.left() == pytest.approx((total - done) / 20, rel=0.02)
    clock.now += 5
    assert "1.8 samples/s" in tally.line()  # nothing comes any more
    clock.now += 200
    assert "0.0 samples/s" in tally.line()
    assert tally.left() is None


def test_batches_make_no_saw() -> None:
    clock = Clock()
    rate = Rate()
    for _ in range(4):
        clock.now += 10
        for _ in range(80):
            rate.add(clock.now, 1.0)
            clock.now += 0.0001  # stored one after the other
    assert rate.at(clock.now) == rate.at(clock.now + 9) == pytest.approx(8.0, rel=0.01)
    assert rate.at(clock.now + 30) == pytest.approx(4.0, rel=0.01)
    assert rate.at(clock.now + 90) == 0.0


def test_a_system_that_was_renamed_counts_once() -> None:
    tally = Tally(Clock())
    tally.plan([TaskWork("a@mrope", "t", 10, 0, 1.0), TaskWork("b@mrope", "t", 10, 10, 1.0)])
    tally.start("a@mrope#1a2b3c", {"t": 10}, {"t": 0})
    tally.answer("a@mrope#1a2b3c", "t", True)
    assert tally.samples == (11, 20)
    assert tally.line() == "11/20 samples, 55% of the work, 1 failed"


def test_a_log_has_a_line_a_minute() -> None:
    clock, out = Clock(), io.StringIO()
    lines = Lines(out, clock)
    lines.phase("loading \x1b[31mx")
    clock.now += 61
    lines.tick()
    started(lines)
    for step in range(1810):
        clock.now += 0.1
        if step < 200:
            lines.sample_answered(SYSTEMS[0], TASKS[0], failed=False)
        lines.tick()
    lines.problem(EnvironmentProblem("x", "y", "z"))
    lines.system_finished(SYSTEMS[0])
    found = out.getvalue().splitlines()
    assert found[0] == r"loading \x1b[31mx"
    assert found[1] == r"run: not planned yet (loading \x1b[31mx)"
    assert sum(line.startswith("run: 200/20000 samples, 1% of the work") for line in found) == 3
    assert found[-1] == f"{SYSTEMS[0]}: 5000 samples, done in 3 min 01 s"
    assert "\x1b" not in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_notebook_is_no_terminal() -> None:
    # What a `!command` gets: a pseudo-terminal, and these (ipykernel/zmqshell.py, init_environment).
    notebook = {
        "TERM": "xterm-color",
        "CLICOLOR": "1",
        "FORCE_COLOR": "1",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
    }
    assert not draws(Terminal(), notebook)
    assert not draws(Terminal(), {"TERM": "xterm", "JPY_PARENT_PID": "12"})
    assert not draws(Terminal(), {"TERM": "dumb"})
    assert not draws(io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"})
    assert draws(Terminal(), {"TERM": "xterm-256color"})


def on_terminal(folder: Path, **environment: str) -> str:
    """What a run writes to a pseudo-terminal as stderr."""
    own, other = pty.openpty()
    words = ["run", "--model", "mock:slow=0.3", "--tasks", "mini_docvqa", "--limit", "3", "--workers", "0",
             "--batch-size", "1", "--output", str(folder / "run"), "--rate-limit", "unparsed=1"]  # fmt: skip
    kept = {name: each for name, each in os.environ.items() if name not in ("PAGER", "JPY_PARENT_PID")}
    with subprocess.Popen(
        [sys.executable, "-m", "evalkit", *words],
        stdout=subprocess.DEVNULL,
        stderr=other,
        env={**kept, "COLUMNS": "80", "LINES": "24", **environment},
    ) as process:
        os.close(other)
        found = b""
        while True:
            try:
                part = os.read(own, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            found += part
    os.close(own)
    assert process.returncode == 0, found
    return found.decode()


def test_a_real_run_on_a_terminal_and_in_a_notebook(tmp_path: Path) -> None:
    shown = on_terminal(tmp_path, TERM="xterm-256color")
    assert "/3 samples, " in shown
    assert "of the work" in shown
    assert "mini_docvqa" in shown
    assert "3 samples, done in" in shown
    plain = on_terminal(tmp_path / "other", TERM="xterm-color", PAGER="cat", FORCE_COLOR="1")
    assert "3 samples in 1 tasks" in plain
    assert "\x1b" not in plain
