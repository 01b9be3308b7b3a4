"""``evalkit bench store``: time and memory to write, resume, score and compare stored runs."""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path

from evalkit import api
from evalkit.config.run_spec import RunSpec
from evalkit.core.console import say
from evalkit.core.errors import EnvironmentProblem
from evalkit.core.provenance import hardware, versions
from evalkit.core.registry import load_task
from evalkit.core.types import MediaInfo
from evalkit.report.results import metric_name
from evalkit.scoring.finalize import rescore, stored_result
from evalkit.store import Evaluation, Invocation, Manifest, Protocol, Record, RunDir, SystemEntry, TaskEntry

TASKS = ("chartqa", "docvqa_val", "textvqa_val", "refcoco_val", "mvbench")
ROPES = ("mrope", "mrope-i")
MIB = 2**20
_BATCH = 32
_OF_ALL_RUNS = ("compare", "compare, no baseline", "advise", "leaderboard", "report")
_COMMAND = "made"
_WORDS = ("red", "green", "blue", "seven", "twelve", "a house", "a dog", "the left one", "none of them")


@dataclass(frozen=True)
class StoreBench:
    """What is measured; see ``evalkit bench store --help``."""

    records: tuple[int, ...] = (10_000, 100_000)
    runs: int = 4
    folder: str | None = None


@dataclass(frozen=True)
class Cost:
    """Cost of a stage in a process of its own: seconds, and memory before and at most, in bytes."""

    seconds: float
    before: int
    peak: int


def bench_store(options: StoreBench) -> int:
    """Generate runs, measure every stage, and print it against reading the same bytes."""
    say(f"{versions()}\n{hardware()}")
    with tempfile.TemporaryDirectory() as temporary:
        for count in options.records:
            folder = Path(options.folder or temporary) / str(count)
            for line in _measured(folder, count, options):
                say(line)
    return 0


def _measured(folder: Path, count: int, options: StoreBench) -> Iterator[str]:
    runs = [folder / f"run{number}" for number in range(options.runs)]
    for number, run in enumerate(runs):
        if not run.is_dir():
            generate_run(run, count, f"made{number}")
    scored = stage_cost("score", runs[:1], folder)
    for run in runs[1:]:
        rescore(RunDir.open(run))
    yield f"{options.runs} runs of {count:,} records, {_size(runs) / MIB:,.0f} MiB of answers"
    read = {len(part): stage_cost("read", part, folder) for part in (runs[:1], runs)}
    known = {"score": scored}
    for name in STAGES:
        if name in ("read", "score"):
            continue
        known[name] = stage_cost(name, _runs_of(name, runs), folder)
    for name, cost in known.items():
        among = _runs_of(name, runs)
        ratio = cost.seconds / max(read[len(among)].seconds, 1e-9)
        rate = count * len(among) / cost.seconds
        yield (
            f"  {name:<20} {ratio:>9.1f} x reading {rate:>11,.0f} records/s "
            f"{cost.peak / MIB:>7,.0f} MiB ({cost.before / MIB:,.0f} before)"
        )
    yield f"  resume of a finished run: {known['resume'].seconds / scored.seconds:.2f} x scoring it"


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


def generate_run(path: Path, count: int, model: str) -> RunDir:
    """A run of about ``count`` records by our own store: the same samples for every ``model``."""
    run = RunDir.create(path)
    systems = [SystemEntry(arm=f"{model}@{rope}", model=model, rope=rope, family="mock", fingerprint=model,
                     box_space="norm1000") for rope in ROPES]  # fmt: skip
    samples = max(1, count // (len(ROPES) * len(TASKS)))
    records = {
        (system.arm, task): list(generate_records(system, task, samples))
        for system, task in product(systems, TASKS)
    }
    with run.writer() as journal:
        for part in records.values():
            journal.append(part)
    evaluations = [
        Evaluation(
            id=number, invocation=_COMMAND, arm=arm, task=_entry(task), protocol=Protocol(limit=samples),
            samples=samples, plan=run.write_plan([each.key for each in part]),
        )
        for number, ((arm, task), part) in enumerate(records.items())
    ]  # fmt: skip
    entry = Invocation(
        id=_COMMAND, command="evalkit bench store", started="2026-01-01T00:00:00+00:00", status="complete",
        spec=RunSpec(models=model, tasks=TASKS), evaluations=tuple(each.id for each in evaluations),
    )  # fmt: skip

    made = Manifest(
        created=entry.started, arms=tuple(systems), invocations=(entry,), evaluations=tuple(evaluations)
    )
    run.update(lambda _: made, entry.started)
    return run


def generate_records(system: SystemEntry, task: str, samples: int) -> Iterator[Record]:
    """Answers of a system, about seven in ten of them right; the same in every process."""
    chance = random.Random(f"{system.arm} {task}")  # noqa: S311 - made data
    for index in range(samples):
        sample = hashlib.sha256(f"{task} {index}".encode()).hexdigest()
        right, reference = _asked(task, sample)
        wrong = chance.choice(_WORDS) if task != "refcoco_val" else "[1, 2, 30, 40]"
        yield Record(
            arm=system.arm,
            model=system.model,
            rope=system.rope,
            task=task,
            sample_id=f"{task}-{index}",
            index=index,
            key=hashlib.sha256(f"{system.arm} {sample}".encode()).hexdigest(),
            cluster_id=sample[:16] if index % 3 else f"{task}-{index // 30}",
            prompt=f"<|image|>Question {sample}: what is shown here, and how many of them are there?",
            reference=reference,
            raw=right if chance.random() < 0.7 else wrong,
            finish_reason="stop" if chance.random() < 0.99 else "length",
            token_ids=tuple(chance.randrange(150_000) for _ in range(6)),
            prompt_tokens=300 + index % 50,
            visual_tokens=256 + index % 40,
            groups={"kind": _WORDS[int(sample[0], 16) % 5]},
            meta={"question": f"Question {sample}", **_OPTIONS.get(task, {})},
            box_space=system.box_space,
            media=(MediaInfo("image", sample, (640, 480), (644, 476), 256),),
            seconds={"prepare": chance.random(), "generate": chance.random()},
            margin=chance.random(),
        )


_OPTIONS: Mapping[str, Mapping[str, object]] = {
    "mvbench": {"options": {"A": "red", "B": "green", "C": "blue", "D": "none of them"}}
}


def _asked(task: str, sample: str) -> tuple[str, object]:
    """The text of a right answer, and the reference."""
    number = int(sample[:6], 16)
    if task == "refcoco_val":
        box = [number % 200, number % 150, 220 + number % 300, 180 + number % 200]
        wide = [box[0] / 0.64, box[1] / 0.48, box[2] / 0.64, box[3] / 0.48]
        return str([round(each) for each in wide]), box
    if task == "mvbench":
        return "ABCD"[number % 4], "ABCD"[number % 4]
    word = _WORDS[number % len(_WORDS)]
    return word, word if task == "chartqa" else [word] * 10 if task == "textvqa_val" else [word]


def _entry(name: str) -> TaskEntry:
    task = load_task(name)
    low, high = task.metric.range
    entry = TaskEntry(name=name, title=task.title, category=task.category, paper_row=task.paper_row,
                      metric=task.metric.name, range=(float(low), float(high)),
                      max_new_tokens=task.max_new_tokens)  # fmt: skip
    return entry.model_copy(update={"metric": metric_name(entry)})


def _runs_of(stage: str, runs: Sequence[Path]) -> Sequence[Path]:
    """The runs that a stage reads: all of them, or the first."""
    return runs if stage in _OF_ALL_RUNS else runs[:1]


def _size(runs: Sequence[Path]) -> int:
    return sum(path.stat().st_size for run in runs for path in (run / "journal").glob("*.jsonl"))


def _child(stage: str, runs: Sequence[Path], folder: Path, answer: Connection) -> None:
    work = STAGES[stage](runs, folder)
    before, began = _memory("VmRSS"), time.perf_counter()
    work()
    answer.send(Cost(time.perf_counter() - began, before, _memory("VmHWM")))
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
    "read": _reading,
    "append, each synced": _appending(_BATCH),
    "append, synced once": _appending(None),
    "score": lambda runs, folder: lambda: rescore(RunDir.open(runs[0])),
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
    result = stored_result(run, run.manifest().invocation(_COMMAND))
    return result.missing, result.failed, result.comparison
