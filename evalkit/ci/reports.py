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
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def markdown(verdicts: Sequence[TaskVerdict]) -> str:
    """A table of all verdicts, then reasons and changed answers."""
    lines = [
        f"## {overall(verdicts)}",
        "",
        "| arm | task | verdict | n | same answer | worse | better | score before | now |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for each in verdicts:
        cells = (
            md(each.arm),
            md(each.task),
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
            lines += ["", f"### {md(each.arm)} {md(each.task)}: {each.outcome}", ""]
            lines += [f"- {md(reason)}" for reason in each.reasons]
            lines += [f"- {_described(change, code, md)}" for change in _most_telling(each.changes)]
            if len(each.changes) > _SHOWN:
                lines.append(f"- and {len(each.changes) - _SHOWN} more")
    return scrub("\n".join([*lines, ""]))


def write_junit(path: Path, verdicts: Sequence[TaskVerdict]) -> None:
    """One test case for each arm and task; NO-GO is a failure, INCONCLUSIVE an error."""
    failures = sum(each.outcome == "NO-GO" for each in verdicts)
    errors = sum(each.outcome == "INCONCLUSIVE" for each in verdicts)
    counts = {"tests": str(len(verdicts)), "failures": str(failures), "errors": str(errors)}
    suite = ElementTree.Element("testsuite", {"name": "evalkit ci", **counts})
    for each in verdicts:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": _xml(each.arm), "name": _xml(each.task)}
        )
        if each.outcome != "GO":
            kind = "failure" if each.outcome == "NO-GO" else "error"
            problem = ElementTree.SubElement(case, kind, {"message": _xml("; ".join(each.reasons))})
            problem.text = _xml("\n".join(map(_described, _most_telling(each.changes))))
    write_atomic(path, ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


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
