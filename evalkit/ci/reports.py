"""Verdicts as Markdown, and as JUnit XML for CI systems."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

from evalkit.ci.verdict import AnswerChange, TaskVerdict, overall
from evalkit.core.atomic_files import write_atomic
from evalkit.core.console import scrub
from evalkit.core.escapes import code
from evalkit.core.escapes import markdown as md

Form = Callable[[str], str]
_SHOWN = 20
_TEXT = 80
_JUNIT_COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown(verdicts: Sequence[TaskVerdict]) -> str:
    """A table of all verdicts, then reasons and changed answers."""
    lines = [f"## {overall(verdicts)}", ""]
    if advisory := sum(each.only_reported for each in verdicts):
        lines += [f"Beside it, not GO and only reported: {advisory} advisory.", ""]
    lines += [
        "| arm | task | tier | verdict | n | same answer | worse | better | score before | now |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in verdicts:
        cells = (
            md(each.arm),
            md(each.task),
            each.tier,
            each.outcome,
            str(each.n),
            f"{each.identical:.1%}",
            str(len(each.of("worse"))),
            str(len(each.of("better"))),
            f"{100 * each.before:.1f}",
            f"{100 * each.after:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    for each in verdicts:
        if each.reasons or each.changes:
            lines += ["", f"### {md(each.arm)} {md(each.task)}: {_headed(each)}", ""]
            lines += [f"- {md(reason)}" for reason in each.reasons]
            lines += [f"- {_described(change, code, md)}" for change in _most_telling(each.changes)]
            if len(each.changes) > _SHOWN:
                lines.append(f"- and {len(each.changes) - _SHOWN} more")
    return scrub("\n".join([*lines, ""]))


def write_junit(path: Path, verdicts: Sequence[TaskVerdict]) -> None:
    """One test case for each arm and task; NO-GO is a failure, INCONCLUSIVE an error; an advisory task that
    is either counts as skipped.
    """
    kinds = [_junit_kind(each) for each in verdicts]
    counts = {name: str(kinds.count(kind)) for name, kind in _JUNIT_COUNTS.items()}
    suite = ElementTree.Element("testsuite", {"name": "evalkit ci", "tests": str(len(verdicts)), **counts})
    for each, kind in zip(verdicts, kinds, strict=True):
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": _xml(each.arm), "name": _xml(each.task)}
        )
        if kind is not None:
            why = "; ".join(each.reasons)
            message = f"{_headed(each)}: {why}" if kind == "skipped" else why
            problem = ElementTree.SubElement(case, kind, {"message": _xml(message)})
            problem.text = _xml("\n".join(described(each)))
    write_atomic(path, ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def _junit_kind(verdict: TaskVerdict) -> str | None:
    if verdict.only_reported:
        return "skipped"
    return {"GO": None, "NO-GO": "failure", "INCONCLUSIVE": "error"}[verdict.outcome]


def described(verdict: TaskVerdict, count: int = _SHOWN) -> list[str]:
    """The changed answers in words, the most telling first."""
    return list(map(_described, _most_telling(verdict.changes)[:count]))


def _headed(verdict: TaskVerdict) -> str:
    return f"{verdict.outcome} (advisory, only reported)" if verdict.only_reported else verdict.outcome


def _most_telling(changes: Sequence[AnswerChange]) -> list[AnswerChange]:
    order = ("worse", "better", "changed")
    return sorted(changes, key=lambda change: (order.index(change.kind), change.sample))[:_SHOWN]


def _described(change: AnswerChange, name: Form = str, said: Form = str) -> str:
    before, after = (f"{_short(each.text)!r} ({each.score:g})" for each in (change.before, change.after))
    return f"{change.kind}: {name(change.sample)} {said(before)} -> {said(after)}"


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def _xml(text: str) -> str:
    """Without secrets, and without the characters that XML has no way to write."""
    return _NOT_XML.sub("\ufffd", scrub(text))
