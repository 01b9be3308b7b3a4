"""Runs made by evalkit's own store, for measurements: right and wrong answers to made questions."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path

from evalkit.config.run_spec import RunSpec
from evalkit.core.registry import PAPER_ROWS, declared, load_task
from evalkit.core.task import Task
from evalkit.core.types import MediaInfo
from evalkit.report.results import metric_name
from evalkit.store import Evaluation, Invocation, Manifest, Protocol, Record, RunDir, SystemEntry, TaskEntry

TASKS = ("chartqa", "docvqa_val", "textvqa_val", "refcoco_val", "mvbench")
ROPES = ("mrope", "mrope-i")
TABLE_ROPES = ("vanilla", "v2pe", "rope-tie", "mrope", "mrope-i", "mhrope", "videorope", "hope", "circlerope",
               "il-rope", "omni-rope")  # fmt: skip
COMMAND = "made"
_WORDS = ("red", "green", "blue", "seven", "twelve", "a house", "a dog", "the left one", "none of them")
_LABELS = 8  # of each breakdown
_OPTIONS = {"A": "red", "B": "green", "C": "blue", "D": "none of them"}


def table_tasks() -> list[str]:
    """A task for each of the 25 rows of the paper's table."""
    first: dict[str, str] = {}
    for info in declared():
        if info.paper_row is not None:
            first.setdefault(info.paper_row, info.name)
    return [first[row] for rows in PAPER_ROWS.values() for row in rows]


def generate_run(
    path: Path, count: int, model: str, tasks: Sequence[str] = TASKS, ropes: Sequence[str] = ROPES
) -> RunDir:
    """A run of about ``count`` records by our own store: the same samples for every ``model``."""
    run = RunDir.create(path)
    systems = [SystemEntry(arm=f"{model}@{rope}", model=model, rope=rope, family="mock", fingerprint=model,
                     box_space="norm1000") for rope in ropes]  # fmt: skip
    samples = max(1, count // (len(ropes) * len(tasks)))
    evaluations = []
    with run.writer() as journal:
        for number, (system, task) in enumerate(product(systems, tasks)):
            part = list(generate_records(system, task, samples))
            journal.append(part)
            plan = run.write_plan([each.key for each in part])
            evaluations.append(
                Evaluation(id=number, invocation=COMMAND, arm=system.arm, task=_entry(task), samples=samples,
                           protocol=Protocol(limit=samples), plan=plan)
            )  # fmt: skip
    entry = Invocation(
        id=COMMAND, command="evalkit bench store", started="2026-01-01T00:00:00+00:00", status="complete",
        spec=RunSpec(models=model, tasks=tuple(tasks)), evaluations=tuple(each.id for each in evaluations),
    )  # fmt: skip

    made = Manifest(
        created=entry.started, arms=tuple(systems), invocations=(entry,), evaluations=tuple(evaluations)
    )
    run.update(lambda _: made, entry.started)
    return run


def generate_records(system: SystemEntry, task: str, samples: int) -> Iterator[Record]:
    """Answers of a system, about seven in ten of them right; the same in every process."""
    chance = random.Random(f"{system.arm} {task}")  # noqa: S311 - made data
    declaration = _task(task)
    for index in range(samples):
        sample = hashlib.sha256(f"{task} {index}".encode()).hexdigest()
        right, reference = _asked(declaration, sample)
        links = {"circular_group": f"{task}-{index // 4}"} if "circular" in declaration.metric.name else {}
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
            raw=right if chance.random() < 0.7 else _wrong(declaration, chance),
            finish_reason="stop" if chance.random() < 0.99 else "length",
            token_ids=tuple(chance.randrange(150_000) for _ in range(6)),
            prompt_tokens=300 + index % 50,
            visual_tokens=256 + index % 40,
            groups=_groups(declaration, sample),
            meta={"question": f"Question {sample}", "links": links, **_choices(declaration)},
            box_space=system.box_space,
            media=(_medium(declaration, sample),),
            seconds={"prepare": chance.random(), "generate": chance.random()},
            margin=chance.random(),
        )


def _groups(task: Task, sample: str) -> dict[str, str]:
    """A label of every breakdown that a task has."""
    return {
        name: f"{name} {int(sample[place : place + 4], 16) % _LABELS}"
        for place, name in enumerate(task.groups or ["kind"])
    }


def _medium(task: Task, sample: str) -> MediaInfo:
    if task.category != "video":
        return MediaInfo("image", sample, (640, 480), (644, 476), 256)
    seconds = 1.0 + int(sample[:4], 16) % 600
    frames = tuple(range(0, 64, 4))
    times = tuple(seconds * place / 64 for place in frames)
    return MediaInfo("video", sample, (640, 480), (644, 476), 256, frames, times)


def _choices(task: Task) -> Mapping[str, object]:
    return {"options": _OPTIONS} if _kind(task) == "letter" else {}


def _kind(task: Task) -> str:
    """What a task's answers are: ``letter``, ``span``, ``box``, or one text or several as ``word``."""
    name = type(task.metric).__name__
    kinds = {"BoxAccuracy": "box", "SpanIou": "span"}
    letters = ("MultipleChoice", "CircularAccuracy", "BlinkAccuracy", "MmmuAccuracy")
    return "letter" if name in letters else kinds.get(name, "word")


def _asked(task: Task, sample: str) -> tuple[str, object]:
    """The text of a right answer, and the reference."""
    number, kind = int(sample[:6], 16), _kind(task)
    if kind == "box":
        box = [number % 200, number % 150, 220 + number % 300, 180 + number % 200]
        wide = [box[0] / 0.64, box[1] / 0.48, box[2] / 0.64, box[3] / 0.48]
        return str([round(each) for each in wide]), box
    if kind == "letter":
        return "ABCD"[number % 4], "ABCD"[number % 4]
    if kind == "span":
        span = [float(number % 20), float(number % 20 + 6)]
        return f"from {span[0] + 1} to {span[1]} seconds", span
    word = _WORDS[number % len(_WORDS)]
    several = {"VqaAccuracy": [word] * 10, "Anls": [word], "OcrBenchAccuracy": [word]}
    return word, several.get(type(task.metric).__name__, word)


def _wrong(task: Task, chance: random.Random) -> str:
    if _kind(task) == "letter":
        return chance.choice("ABCD")
    fixed = {"box": "[1, 2, 30, 40]", "span": "from 40 to 41 seconds"}
    return fixed.get(_kind(task)) or chance.choice(_WORDS)


@cache
def _task(name: str) -> Task:
    return load_task(name)


@cache
def _entry(name: str) -> TaskEntry:
    task = _task(name)
    low, high = task.metric.range
    entry = TaskEntry(name=name, title=task.title, category=task.category, paper_row=task.paper_row,
                      metric=task.metric.name, range=(float(low), float(high)),
                      max_new_tokens=task.max_new_tokens)  # fmt: skip
    return entry.model_copy(update={"metric": metric_name(entry)})
