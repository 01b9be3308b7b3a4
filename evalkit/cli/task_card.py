"""Everything that a benchmark declares: ``evalkit tasks show``, and the page ``docs/tasks.md``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from evalkit.cli.schema_card import schema_card
from evalkit.core.escapes import markdown
from evalkit.core.registry import CATEGORIES, DRAWN, GROUPS
from evalkit.core.task import Task
from evalkit.core.types import Locate, MediaRef, Part, Sample, Subtitled, Text
from evalkit.models.families.registry import FAMILIES

_SHOWN = 400
_HEAD = """\
# Benchmarks

Made by `evalkit tasks docs`; `evalkit tasks show NAME` prints the same for one of them. Revisions are
`main` unless one could be verified; `evalkit data pull` resolves them to a commit and records it.

Of each repository it says what it holds and where that was seen: its own card or files as the hub shows them,
the loaders of other harnesses, the authors' files. Nothing was downloaded while this was written; what was
seen nowhere is listed as unverified, and `evalkit data check` compares what you have with what is declared.
The table behind it is `evalkit/data/schemas.yaml`, apart from the benchmarks' own files.

`--tasks` takes these names, globs (`'refcoco*'`) and the groups {groups}. MMBench's two
languages are one row of the paper's tables, as their mean. Splits without public answers write a file for
their server instead of a score.
"""


def task_card(task: Task) -> dict[str, Any]:
    """Everything that is declared about a benchmark, by heading."""
    task.check_declaration()
    low, high = task.metric.range
    found = {
        "title": task.title,
        "category": task.category,
        "row in the paper": task.paper_row or "-",
        "data set": ", ".join(f"{key} {value}" for key, value in task.dataset.describe().items()),
        "samples": task.size if task.size is not None else "not declared",
        "ci subset": min(task.ci, task.size or task.ci),
        "metric": f"{task.metric.name}, from {low:g} to {high:g}" if task.submission is None else "none",
        "breakdown": ", ".join(task.groups) or "-",
        "new tokens at most": task.max_new_tokens,
        "licence": task.licence,
        "citation": task.citation or "-",
        "notes": task.notes or "-",
        "lmms-eval 0.7.2": task.lmms_eval_notes or "-",
    }
    if task.submission:
        found["answers go to"] = f"{task.submission.to}, as .{task.submission.suffix}"
    return found | schema_card(task) | _example(task)


def page(tasks: Sequence[Task]) -> str:
    """The page as Markdown: for each category a table of its benchmarks, then a section for each."""
    parts = [_HEAD.format(groups=", ".join(f"`{group}`" for group in GROUPS))]
    for task in tasks:
        task.check_declaration()
    for category in CATEGORIES:
        chosen = [task for task in tasks if task.category == category]
        parts += [f"## {category.capitalize()}\n", _table(chosen)]
        parts += [_section(task) for task in chosen if "mini" not in task.tags]
    return "\n".join(parts)


def _table(tasks: Sequence[Task]) -> str:
    lines = ["| name | benchmark | row in the paper | samples | metric |", "|---|---|---|---:|---|"]
    for task in tasks:
        metric = "submission" if task.submission else task.metric.name
        size = f"{task.size:,}" if task.size else "?"
        title, row = markdown(task.title), markdown(task.paper_row or "")
        lines.append(f"| `{task.name}` | {title} | {row} | {size} | {metric} |")
    return "\n".join([*lines, ""])


def _section(task: Task) -> str:
    lines = [f"### `{task.name}`", ""]
    for name, value in task_card(task).items():
        if value == "-" or name in ("category",):
            continue
        if isinstance(value, str) and ("\n" in value or "<" in value):  # Markdown reads `list<...>` as a tag
            lines += [f"- {name}:", "", *(f"      {line}".rstrip() for line in value.splitlines()), ""]
        else:
            lines.append(f"- {name}: {value}")
    return "\n".join([*lines, ""])


def _example(task: Task) -> dict[str, str]:
    """One sample: its prompt, also in other families' words, and its reference."""
    if task.example:
        sample = next(task.samples_of(task.example))
    elif not DRAWN.isdisjoint(task.tags):
        sample = next(task.samples(None))
    else:
        return {}
    usual = _prompt(sample, "", "")
    found = {"example": usual}
    others: dict[str, list[str]] = {}
    for name, family in FAMILIES.items():
        others.setdefault(_prompt(sample, name, family.wording), []).append(name)
    found |= {f"example ({', '.join(names)})": text for text, names in others.items() if text != usual}
    if task.submission is None:
        found["example's reference"] = json.dumps(sample.reference, ensure_ascii=False)
    return found


def _prompt(sample: Sample, family: str, shared: str) -> str:
    text = "".join(_written(part, family, shared) for part in sample.parts)
    return text if len(text) <= _SHOWN * 2 else f"{text[:_SHOWN]} ... {text[-_SHOWN:]}"


def _written(part: Part, family: str, shared: str) -> str:
    if isinstance(part, Text):
        return part.wording(family, shared)
    if isinstance(part, Locate):
        return f"(the family's request for the box of) {part.phrase}"
    if isinstance(part, Subtitled):
        return part.at(sorted(cue.start for cue in part.cues))
    return _medium(part)


def _medium(ref: MediaRef) -> str:
    clip = f" {ref.start:g}-{ref.end:g} s" if ref.start is not None and ref.end is not None else ""
    return f"<{ref.kind}{clip}>\n"
