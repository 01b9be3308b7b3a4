"""``evalkit bench store``: time and memory to write, resume, score and compare stored runs.

Ratios are to reading the same bytes. How each stage grows from the smallest to the largest runs comes after
them, and last a table of the size of a paper's.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from evalkit import api
from evalkit.core.console import say
from evalkit.core.errors import EnvironmentProblem
from evalkit.core.provenance import hardware, versions
from evalkit.scoring.finalize import rescore, stored_result
from evalkit.store import RunDir
from tools.bench.made_runs import COMMAND, ROPES, TABLE_ROPES, generate_run, table_tasks

MIB = 2**20
_BATCH = 32
_READ_ALL = "read all"
_OF_ALL_RUNS = ("compare", "compare, no baseline", "advise", "leaderboard", "report")


@dataclass(frozen=True)
class StoreBench:
    """What is measured; see ``evalkit bench store --help``."""

    records: tuple[int, ...] = (10_000, 100_000)
    runs: int = 4
    table: int = 200
    folder: str | None = None


@dataclass(frozen=True)
class Cost:
    """Cost of a stage in a process of its own: seconds, those of a processor, and memory before and at
    most, in bytes.
    """

    seconds: float
    processor: float
    before: int
    peak: int


def bench_store(options: StoreBench) -> int:
    """Generate runs, measure every stage, and print it against reading the same bytes."""
    say(f"{versions()}\n{hardware()}")
    known: dict[int, Mapping[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(options.folder or temporary)
        for count in options.records:
            runs = _made(top / str(count), count, options.runs)
            say(f"{options.runs} runs of {count:,} records, {_size(runs) / MIB:,.0f} MiB of answers")
            known[count] = _measured(top / str(count), runs, STAGES)
            _show(known[count], count, runs)
        if len(known) > 1:
            _show_growth(known)
        if options.table:
            _bench_table(top / "table", options.table)
    return 0


def _made(folder: Path, count: int, number: int) -> list[Path]:
    runs = [folder / f"run{place}" for place in range(number)]
    for place, run in enumerate(runs):
        if not run.is_dir():
            generate_run(run, count, f"made{place}")
    for run in runs[1:]:  # the first is scored as a stage
        rescore(RunDir.open(run))
    return runs


def _measured(folder: Path, runs: Sequence[Path], stages: Iterable[str]) -> dict[str, Cost]:
    """The cost of each stage, and of reading the records that it reads: of all runs, or of the first."""
    known = {name: stage_cost(name, _runs_of(name, runs), folder) for name in stages}
    return {**known, _READ_ALL: stage_cost("read", runs, folder)}


def _show(known: Mapping[str, Cost], count: int, runs: Sequence[Path]) -> None:
    for name, cost in known.items():
        among = _runs_of(name, runs)
        read = known[_READ_ALL if len(among) > 1 else "read"]
        ratio = cost.seconds / max(read.seconds, 1e-9)
        say(
            f"  {name:<20} {ratio:>9.1f} x reading {count * len(among) / cost.seconds:>11,.0f} records/s "
            f"{cost.processor:>7.1f} s CPU {cost.peak / MIB:>7,.0f} MiB ({cost.before / MIB:,.0f} before)"
        )
    if "resume" in known:
        ratio = known["resume"].seconds / known["score"].seconds
        say(f"  resume of a finished run: {ratio:.2f} x scoring it")


def _show_growth(known: Mapping[int, Mapping[str, Cost]]) -> None:
    """How much more the largest runs take than the smallest."""
    few, many = min(known), max(known)
    say(f"{many / few:.1f} times the records take")
    for name, cost in known[many].items():
        before = known[few][name]
        more = (cost.peak - cost.before) / max(before.peak - before.before, 1)
        ratio = cost.processor / max(before.processor, 1e-9)
        say(f"  {name:<20} {ratio:>9.1f} times the CPU time {more:>9.1f} times the added memory")


def _bench_table(folder: Path, samples: int) -> None:
    """One run of the size of a paper's table."""
    tasks = table_tasks()
    run = folder / "run0"
    count = len(TABLE_ROPES) * len(tasks) * samples
    if not run.is_dir():
        generate_run(run, count, "made0", tasks, TABLE_ROPES)
    say(f"a table of {len(TABLE_ROPES)} systems, {len(tasks)} benchmarks, {samples} samples of each")
    _show(_measured(folder, [run], ("score", "read", *_OF_ALL_RUNS)), count, [run])


def stage_cost(stage: str, runs: Sequence[Path], folder: Path) -> Cost:
    """The cost of a stage in a process of its own.

    Raises:
        EnvironmentProblem: the process ended without an answer.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(stage, list(runs), folder, theirs))
    process.start()
    theirs.close()
    try:
        found: Cost = ours.recv()
    except EOFError:
        raise EnvironmentProblem(
            f"`bench store` at `{stage}`", "its process ended without an answer", "see what it said above"
        ) from None
    finally:
        process.join()
        ours.close()
    return found


def _runs_of(stage: str, runs: Sequence[Path]) -> Sequence[Path]:
    """The runs that a stage reads: all of them, or the first."""
    return runs if stage in (*_OF_ALL_RUNS, _READ_ALL) else runs[:1]


def _size(runs: Sequence[Path]) -> int:
    return sum(path.stat().st_size for run in runs for path in (run / "journal").glob("*.jsonl"))


def _child(stage: str, runs: Sequence[Path], folder: Path, answer: Connection) -> None:
    work = STAGES[stage](runs, folder)
    before, began, busy = _memory("VmRSS"), time.perf_counter(), time.process_time()
    work()
    seconds, processor = time.perf_counter() - began, time.process_time() - busy
    answer.send(Cost(seconds, processor, before, _memory("VmHWM")))
    answer.close()


def _memory(what: str) -> int:
    """This process's memory now (``VmRSS``) or at most so far (``VmHWM``); 0 where the system doesn't say.
    What `resource` says is at least what the process that started this one had.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def _reading(runs: Sequence[Path], folder: Path) -> Callable[[], object]:
    def work() -> None:
        for run in runs:
            with open(run / "records.jsonl", "rb") as file:
                while file.read(MIB):
                    pass

    return work


def _appending(size: int | None) -> Callable[[Sequence[Path], Path], Callable[[], object]]:
    """Append a run's records anew, in batches of a size, each on disk before the next."""

    def prepared(runs: Sequence[Path], folder: Path) -> Callable[[], object]:
        records = list(RunDir.open(runs[0]).journal().records.values())

        def work() -> None:
            with tempfile.TemporaryDirectory(dir=folder) as target, RunDir(Path(target)).writer() as journal:
                step = size or len(records)
                for begin in range(0, len(records), step):
                    journal.append(records[begin : begin + step])

        return work

    return prepared


STAGES: Mapping[str, Callable[[Sequence[Path], Path], Callable[[], object]]] = {
    "score": lambda runs, folder: lambda: rescore(RunDir.open(runs[0])),
    "read": _reading,
    "append, each synced": _appending(_BATCH),
    "append, synced once": _appending(None),
    "read the journal": lambda runs, folder: lambda: RunDir.open(runs[0]).journal(),
    "resume": lambda runs, folder: lambda: _resumed(RunDir.open(runs[0])),
    "compare": lambda runs, folder: lambda: api.compare(*runs, baseline=f"made0@{ROPES[0]}"),
    "compare, no baseline": lambda runs, folder: lambda: api.compare(*runs),
    "advise": lambda runs, folder: lambda: api.advise(*runs),
    "leaderboard": lambda runs, folder: lambda: api.leaderboard(runs, folder / "leaderboard.csv"),
    "report": lambda runs, folder: lambda: api.report(*runs, output=folder / "report.html", media=0),
}
"""The stages: each prepares itself, and returns the function to time."""


def _resumed(run: RunDir) -> object:
    """What a finished command reads and shows when it is given again."""
    result = stored_result(run, run.manifest().invocation(COMMAND))
    return result.missing, result.failed, result.comparison
