"""What went wrong in generating: loops, truncation, empty answers, and drift of language or format."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from evalkit.diagnose.formats import change_of_script, format_of, script_of
from evalkit.metrics.flags import Loop, find_loop
from evalkit.report.gather import run_names
from evalkit.report.results import Results, open_run
from evalkit.store import Record, RunDir

KINDS = ("loop", "truncated", "empty", "language", "format", "error")
"""What an answer can have; the numbers of :class:`Cell` in this order."""

USUAL = 0.05
"""A format or script is usual for a task if this share or more of the answers of at least half of its systems
has it; an answer of another one has drifted.
"""

LONGER = 3
"""An answer has drifted, too, if it is longer than this many times what 99% of a system's answers don't
exceed (of the systems, the lower median): it goes on after its end.
"""

FEWEST = 20
"""Answers of a system on a task from which on what is usual can be told."""

RULES: Mapping[str, str] = MappingProxyType(
    {
        "loop": "the answer ends in one character 32 times, or in a piece at least 4 times over at least 60 "
        "characters (as the flag `repeating`), or the engine stopped it in one phrase of tokens 16 times",
        "truncated": "it was cut off at the task's limit of tokens, or while reasoning",
        "empty": "there is nothing but white space",
        "language": "the first and the second half of its letters are of two scripts (8 letters each, 80%"
        " of one script); or its script is one that fewer than 5% of the answers have in most"
        " systems",
        "format": "its format (number, letter, structure, words, sentence, long, signs) is one that "
        "fewer than 5% of the answers have in most systems, or it is over 3 times as long as "
        "99% of them; answers that loop or were cut off are not judged",
        "error": "the sample could not be loaded or run",
    }
)


@dataclass(frozen=True)
class Finding:
    """One answer and what it has, by kind and in words; ``loop`` where there is one that its text shows."""

    run: str
    arm: str
    task: str
    sample_id: str
    kinds: tuple[str, ...]
    what: tuple[str, ...]
    text: str
    loop: Loop | None = None
    link: str = ""


@dataclass(frozen=True)
class Cell:
    """How many answers of a system on a task have what, in the order of :data:`KINDS`."""

    run: str
    arm: str
    task: str
    answers: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Usual:
    """What the answers to a task look like, and the ``length`` in characters that 99% of them don't exceed;
    nothing where there are too few to tell.
    """

    formats: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    length: int = 0


@dataclass(frozen=True)
class GenerationDiagnosis:
    """All systems and tasks of some runs."""

    cells: tuple[Cell, ...]
    findings: tuple[Finding, ...]
    usual: Mapping[str, Usual]

    def linked(self, page: str) -> GenerationDiagnosis:
        """The same, each finding with a link into the sample browser of a report page."""
        return replace(
            self, findings=tuple(replace(each, link=sample_link(page, each)) for each in self.findings)
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        cells = [
            {"run": each.run, "arm": each.arm, "task": each.task, "answers": each.answers}
            | dict(zip(KINDS, each.counts, strict=True))
            for each in self.cells
        ]
        return {
            "kind": "generation",
            "rules": dict(RULES),
            "usual": {task: asdict(each) for task, each in self.usual.items()},
            "cells": cells,
            "findings": [asdict(each) for each in self.findings],
        }


def sample_link(page: str, finding: Finding) -> str:
    """Where a report page shows an answer: its sample browser reads what is after the ``#``."""
    return f"{page}#{urlencode({'task': finding.task, 'q': finding.sample_id})}"


def diagnose_generation(paths: Sequence[Path]) -> GenerationDiagnosis:
    """Look through the answers of finished runs.

    Raises:
        UsageError: a run is missing, unscored or damaged.
    """
    runs = list({path.resolve(): path for path in paths}.values())
    opened = [(name, open_run(RunDir.open(path))) for name, path in zip(run_names(runs), runs, strict=True)]
    answers = {
        (run, arm, task): records for run, results in opened for arm, task, records in _answers(results)
    }
    usual = {task: _usual(answers, task) for task in dict.fromkeys(task for _, _, task in answers)}
    cells, findings = [], []
    for (run, arm, task), records in answers.items():
        found = [each for record in records if (each := finding(run, record, usual[task]))]
        counted = Counter(kind for each in found for kind in each.kinds)
        cells.append(Cell(run, arm, task, len(records), tuple(counted[kind] for kind in KINDS)))
        findings += [replace(each, arm=arm) for each in found]
    return GenerationDiagnosis(tuple(cells), tuple(findings), usual)


def _answers(results: Results) -> Iterator[tuple[str, str, list[Record]]]:
    for evaluation in results.evaluations:
        yield evaluation.arm, evaluation.task.name, list(results.records[evaluation.id])


def _usual(answers: Mapping[tuple[str, str, str], Sequence[Record]], task: str) -> Usual:
    sides = [
        [text for record in records if (text := _plain(record))]
        for (_, _, name), records in answers.items()
        if name == task
    ]
    sides = [texts for texts in sides if len(texts) >= FEWEST]
    if not sides:
        return Usual()
    formats = _common([Counter(map(format_of, texts)) for texts in sides])
    scripts = [Counter(filter(None, map(_script, texts))) for texts in sides]
    lengths = sorted(sorted(map(len, texts))[math.ceil(0.99 * len(texts)) - 1] for texts in sides)
    usual_scripts = _common([each for each in scripts if each.total() >= FEWEST])
    return Usual(formats, usual_scripts, lengths[(len(lengths) - 1) // 2])


def _script(text: str) -> str:
    return script_of(text, enough=2)


def _also(usual: Usual) -> tuple[str, ...]:
    return ("Han",) if "Japanese" in usual.scripts else ()


def _common(sides: Sequence[Counter[str]]) -> tuple[str, ...]:
    held = Counter(name for each in sides for name, count in each.items() if count >= USUAL * each.total())
    return tuple(sorted(name for name, count in held.items() if 2 * count >= len(sides)))


def _plain(record: Record) -> str:
    """The final answer, of those that came to their end."""
    return (
        "" if {"error", "truncated", "repeating"} & set(record.flags) else record.answer().prediction.strip()
    )


def finding(run: str, record: Record, usual: Usual) -> Finding | None:
    """What an answer has, if it has anything."""
    what: dict[str, str] = {}
    loop = None
    if record.failed:
        what["error"] = record.error or "no answer"
    else:
        if "repeating" in record.flags:
            loop = find_loop(record.raw) or find_loop(record.answer().prediction)
            what["loop"] = _loop_text(loop, len(record.raw))
        if "truncated" in record.flags:
            what["truncated"] = f"cut off after {len(record.token_ids):,} tokens"
        if "empty" in record.flags:
            what["empty"] = "nothing but white space"
        what |= _drift(record, usual)
    if not what:
        return None
    kinds = tuple(kind for kind in KINDS if kind in what)
    words = tuple(what[kind] for kind in kinds)
    return Finding(run, record.arm, record.task, record.sample_id, kinds, words, record.raw, loop)


def _loop_text(loop: Loop | None, length: int) -> str:
    if loop is None:
        return "one phrase of tokens over and over, which its text does not show"
    share = loop.start / max(1, length)
    where = f"from character {loop.start:,} on ({share:.0%} of the answer)"
    return f"`{loop.piece[:60]}` {loop.times:,.0f} times {where}"


def _drift(record: Record, usual: Usual) -> dict[str, str]:
    text = record.answer().prediction
    found = {}
    if change := change_of_script(text):
        found["language"] = f"{change[0]}, then {change[1]}"
    elif usual.scripts and (script := _script(text)) and script not in (*usual.scripts, *_also(usual)):
        found["language"] = f"{script}, where answers are {', '.join(usual.scripts)}"
    plain = _plain(record)
    if plain and usual.formats and (own := format_of(plain)) not in usual.formats:
        found["format"] = f"{own}, where answers are {', '.join(usual.formats)}"
    elif usual.length and len(plain) > LONGER * usual.length:
        found["format"] = f"{len(plain):,} characters, where 99% of the answers have at most {usual.length:,}"
    return found
