"""Verdicts as annotations of GitHub Actions: in a pull request they stand beside the baseline's files.

The form is that of https://docs.github.com/actions/reference/workflow-commands-for-github-actions, escaped as
``@actions/core`` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.ci.baseline import answers_file, line_of
from evalkit.ci.policy import TIERS
from evalkit.ci.reports import described
from evalkit.ci.verdict import TaskVerdict
from evalkit.core.console import scrub

_NAMED = 5  # changed answers in an annotation


def in_github_actions(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this is a job of GitHub Actions, whose log is read for annotations."""
    return environment.get("GITHUB_ACTIONS") == "true"


def workflow_commands(found: Sequence[tuple[Path, TaskVerdict]], workspace: Path | None = None) -> list[str]:
    """A workflow command for each verdict that is not GO: an error, or of an advisory task a warning.

    ``found`` has each verdict with its baseline's folder. The critical ones are first, since GitHub shows ten
    errors and ten warnings of a step. Files are named from ``workspace``, the checkout.
    """
    wrong = [(folder, each) for folder, each in found if each.outcome != "GO"]
    wrong.sort(key=lambda pair: (TIERS.index(pair[1].tier), pair[1].outcome != "NO-GO"))
    return [_command(folder, each, workspace) for folder, each in wrong]


def _command(folder: Path, verdict: TaskVerdict, workspace: Path | None) -> str:
    level = "warning" if verdict.only_reported else "error"
    path = answers_file(folder, verdict.arm, verdict.task)
    worse = verdict.of("worse") or verdict.changes
    line = line_of(path, worse[0].sample) if worse else None
    title = f"{verdict.outcome}: {verdict.arm} on {verdict.task} ({verdict.tier})"
    where = {"file": _within(path, workspace), **({"line": str(line)} if line else {}), "title": title}
    properties = ",".join(f"{name}={_property(value)}" for name, value in where.items())
    return f"::{level} {properties}::{_data(chr(10).join([*verdict.reasons, *described(verdict, _NAMED)]))}"


def _within(path: Path, workspace: Path | None) -> str:
    """The path as the checkout names it; one outside of it stays as it is."""
    if workspace is not None and path.resolve().is_relative_to(workspace.resolve()):
        return path.resolve().relative_to(workspace.resolve()).as_posix()
    return path.as_posix()


def _data(text: str) -> str:
    return scrub(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
