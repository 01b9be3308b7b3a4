"""``make soak``: thousands of samples under random faults, which must lose nothing and change nothing.

A run of the built-in model is started again and again until it is finished. While it works, its workers and
engines are killed, it is killed itself, its disk fills up, its clock jumps. In the end its records must be
those of a run that nobody disturbed, each there once, and no process may have grown with what was answered
before it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from evalkit.core.console import say
from evalkit.core.registry import declared

TASKS = ("mini_docvqa", "mini_chartqa", "mini_refcoco", "mini_video")
ROPES = ("vanilla", "mrope")
LIMIT_SECONDS = 300.0
"""A command that is neither done nor killed by then hangs."""

HUNG = -1000
"""Its exit code here."""

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass
class Life:
    """One process of the run, from its start to its end."""

    faults: list[str]
    exit_code: int
    records: int
    peak_bytes: int
    seconds: float
    said: str


@dataclass
class Soak:
    """A run that is disturbed: its folder, its command, and what has happened so far.

    Attributes:
        folder: holds the tasks, the run, and the undisturbed run beside it.
        disk: where the run is stored: a file system of its own where that can be mounted, to be filled.
    """

    folder: Path
    disk: Path
    size: int
    random: random.Random
    lives: list[Life] = field(default_factory=list)

    @property
    def run(self) -> Path:
        """The run's directory."""
        return self.disk / "run"

    def command(self, output: Path, *more: str) -> list[str]:
        """``evalkit run`` of all tasks into ``output``."""
        words = ["run", "--model", "tiny", "--rope", ",".join(ROPES), "--tasks", "soak_*"]
        words += ["--tasks-dir", str(self.folder / "tasks"), "--output", str(output), "-q", *more]
        return [sys.executable, "-m", "evalkit", *words]

    def start(self, *more: str, clock: Path | None = None) -> subprocess.Popen[str]:
        """Start the run in a session of its own; ``clock`` is a file that says how far its clock is off."""
        faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
        # What waits goes by the monotonic clock, which doesn't jump on a real machine.
        faked |= {"DONT_FAKE_MONOTONIC": "1"}
        return subprocess.Popen(  # noqa: S603
            self.command(self.run, *more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | (faked if clock else {}),
        )


def journalled(run: Path) -> Counter[str]:
    """How often every key stands in the journals, by key; lines that were cut short don't count."""
    found: Counter[str] = Counter()
    for path in sorted((run / "journal").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, KeyError, TypeError):
                found[json.loads(line)["key"]] += 1
    return found


def descendants(process: psutil.Process, of: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """All processes that it started, and they in turn, which are of a kind."""
    found = []
    with suppress(psutil.Error):
        for each in process.children(recursive=True):
            with suppress(psutil.Error):
                if of(each):
                    found.append(each)
    return found


def is_worker(process: psutil.Process) -> bool:
    """Whether it is one of multiprocessing's, but not the one that cleans up after the others."""
    words = " ".join(process.cmdline())
    return "multiprocessing" in words and "resource_tracker" not in words


def is_engine(process: psutil.Process) -> bool:
    """Whether it is an engine, an actor of Ray."""
    return " ".join(process.cmdline()).startswith("ray::Worker")


def memory_of(process: psutil.Process) -> int:
    """Resident bytes of the largest of a process and its descendants."""
    sizes = [0]
    for each in [process, *descendants(process, lambda _: True)]:
        with suppress(psutil.Error):
            sizes.append(each.memory_info().rss)
    return max(sizes)


def live(soak: Soak, fault: str) -> Life:
    """Start the run and, from the first answers on, do ``fault`` to it now and then; after some seconds it is
    killed. ``none`` leaves it to its end.
    """
    clock = soak.folder / "clock" if fault == "clock jumps" else None
    if clock:
        clock.write_text("+0")
    more = ["--devices", "cpu,cpu"] if fault == "engine killed" else ["--workers", "2"]
    began, written = time.monotonic(), _journal_bytes(soak.run)
    child = soak.start(*more, clock=clock)
    process, peak, done = psutil.Process(child.pid), 0, []
    ballast, act_at, end_at = soak.disk / "ballast", float("inf"), float("inf")
    try:
        while child.poll() is None and time.monotonic() - began < LIMIT_SECONDS:
            peak, now = max(peak, memory_of(process)), time.monotonic()
            if act_at == float("inf") and fault != "none" and _journal_bytes(soak.run) > written:
                act_at, end_at = now + soak.random.uniform(0, 3), now + soak.random.uniform(4, 9)
            if now >= end_at:
                process.kill()
                done.append("driver killed")
                break
            if now >= act_at and (happened := _act(soak, fault, process, ballast, clock)):
                done.append(happened)
                act_at = now + soak.random.uniform(0.5, 2)
            time.sleep(0.1)
        if hung := child.poll() is None and "driver killed" not in done:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    finally:
        ballast.unlink(missing_ok=True)
    said = _end_session(child)
    return Life(
        faults=done,
        exit_code=HUNG if hung else child.returncode,
        records=len(journalled(soak.run)),
        peak_bytes=peak,
        seconds=time.monotonic() - began,
        said=said,
    )


def _end_session(child: subprocess.Popen[str]) -> str:
    """What was printed; whatever a killed driver left behind ends by itself, but not at once."""
    for each in psutil.process_iter(["pid"]):
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(each.pid) == child.pid:
                each.kill()
    return child.communicate()[0]


def _journal_bytes(run: Path) -> int:
    return sum(path.stat().st_size for path in (run / "journal").glob("*.jsonl"))


def _act(soak: Soak, fault: str, process: psutil.Process, ballast: Path, clock: Path | None) -> str | None:
    """Do something to a run; what was done, or None if it is too early for it."""
    if fault in ("driver killed", "none"):
        return None  # that comes at its time, whatever else is done
    if fault in ("worker killed", "engine killed"):
        targets = descendants(process, is_worker if fault == "worker killed" else is_engine)
        if not targets:
            return None
        with suppress(psutil.Error):
            soak.random.choice(targets).kill()
        return fault
    if fault == "disk full":
        if ballast.exists():
            return None
        return fault if fill(ballast) else None
    if clock:
        clock.write_text(soak.random.choice(["+400d", "-400d", "+1h", "-1h", "+0"]))
        return fault
    return None


def fill(ballast: Path) -> bool:
    """Write a file until the disk is full; False on the machine's own disk, which is left alone."""
    if not os.path.ismount(ballast.parent):
        return False
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    return True


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own in memory, where this may be mounted; else a folder."""
    place = folder / "disk"
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0  # noqa: S603
    try:
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)  # noqa: S603, S607


def differences(run: Path, undisturbed: Path) -> list[str]:
    """How the records of two runs differ, but for the times of answering and the checksum over them."""
    kept: list[dict[str, Any]] = [{}, {}]
    for found, each in zip(kept, (run, undisturbed), strict=True):
        for line in (each / "records.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            found[record["key"]] = {
                key: value for key, value in record.items() if key not in ("seconds", "crc32")
            }
    mine, theirs = kept
    problems = [f"{len(set(theirs) - set(mine))} records are lost"] if set(theirs) - set(mine) else []
    problems += [f"{len(set(mine) - set(theirs))} records are invented"] if set(mine) - set(theirs) else []
    changed = [
        {name for name in mine[key] if not _same(name, mine[key][name], theirs[key].get(name))}
        for key in mine.keys() & theirs
    ]
    fields = ", ".join(sorted(set().union(*changed)))
    return problems + ([f"{sum(map(bool, changed))} records differ in {fields}"] if fields else [])


def _same(name: str, mine: Any, theirs: Any) -> bool:
    """Engines with other numbers of threads add up in another order: margins differ in their last digits."""
    if name == "margin" and None not in (mine, theirs):
        return math.isclose(mine, theirs, abs_tol=1e-4)
    return bool(mine == theirs)


def soak(folder: Path, samples: int, lives: int, seed: int) -> int:
    """Run it all and print a line for each life; 0 if nothing was lost, changed, repeated, or grew."""
    shutil.rmtree(folder, ignore_errors=True)
    size = max(1, samples // (len(TASKS) * len(ROPES)))
    (folder / "tasks").mkdir(parents=True)
    for each in declared():
        if each.name in TASKS:
            text = each.path.read_text().replace(f'name="{each.name}"', f'name="soak_{each.name}"')
            (folder / "tasks" / f"soak_{each.name}.py").write_text(text.replace("n=240", f"n={size}"))
    with small_disk(folder, 64 + samples // 50) as disk:
        state = Soak(folder, disk, size, random.Random(seed))  # noqa: S311 - it draws faults, not secrets
        kinds = ["driver killed", "worker killed", "engine killed"]
        kinds += ["disk full"] if os.path.ismount(disk) else []
        kinds += ["clock jumps"] if FAKETIME.exists() else []
        say(f"{size * len(TASKS) * len(ROPES):,} samples; faults: {', '.join(kinds)}")
        for number in range(lives):
            fault = kinds[number % len(kinds)]
            state.lives.append(live(state, fault))
            _print(number, state.lives[-1])
            if state.lives[-1].exit_code == 0:
                break
        state.lives.append(live(state, "none"))
        _print(len(state.lives) - 1, state.lives[-1])
        return _verdict(state)


def _print(number: int, life: Life) -> None:
    happened = ", ".join(f"{count} x {name}" for name, count in Counter(life.faults).items()) or "nothing"
    last = life.said.strip().splitlines()[-1:] or [""]
    say(
        f"{number:3}  {happened:24} exit {life.exit_code:4}  {life.records:7,} records  "
        f"largest process {life.peak_bytes / 2**20:5.0f} MiB  {life.seconds:5.1f} s  {last[0][:90]}"
    )


def _verdict(state: Soak) -> int:
    done = subprocess.run(  # noqa: S603
        state.command(state.folder / "undisturbed"), capture_output=True, text=True, check=False
    )
    problems = [] if done.returncode == 0 else [f"the undisturbed run ended with {done.returncode}"]
    problems += [
        f"{count} keys twice" for count in [sum(n > 1 for n in journalled(state.run).values())] if count
    ]
    problems += ["the last life did not finish it"] if state.lives[-1].exit_code != 0 else []
    problems += ["a life hung"] if any(each.exit_code == HUNG for each in state.lives) else []
    problems += ["a traceback was printed"] if any("Traceback" in each.said for each in state.lives) else []
    problems += differences(state.run, state.folder / "undisturbed") if not problems else []
    faults = Counter(name for each in state.lives for name in each.faults)
    peaks = [each.peak_bytes for each in state.lives if each.peak_bytes]
    say(f"\nfaults: {', '.join(f'{count} x {name}' for name, count in faults.items())}")
    first, largest = (each / 2**20 for each in (peaks[0], max(peaks)))
    say(f"largest process: {first:.0f} MiB in the first life, {largest:.0f} MiB in all")
    say(
        "nothing lost, nothing twice, nothing changed" if not problems else f"PROBLEMS: {'; '.join(problems)}"
    )
    return 1 if problems else 0


def main() -> int:
    """Parse the command line, and soak."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--lives", type=int, default=60, help="processes that are disturbed, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("results/soak"))
    options = parser.parse_args()
    return soak(options.folder.absolute(), options.samples, options.lives, options.seed)


if __name__ == "__main__":
    sys.exit(main())
