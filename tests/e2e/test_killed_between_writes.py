"""A run that is killed before any of its writes leaves a folder that every command reads."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit import evaluate
from evalkit.api import advise, compare, leaderboard, report
from evalkit.core.errors import UsageError
from evalkit.scoring.finalize import rescore
from evalkit.store import RunDir
from evalkit.store.journal import JournalWriter

TASK = """
from evalkit.metrics.exact import ExactAnswer
from evalkit.task import Task, text


class Rows:
    def rows(self, data_root):
        return iter([{"id": str(number)} for number in range(2)])

    def describe(self):
        return {"repo": "letters", "split": "test"}


task = Task(
    name="letters",
    category="image",
    title="Letters",
    dataset=Rows(),
    prompt=lambda row: (text("Which letter comes first?"),),
    reference=lambda row: "A",
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    metric=ExactAnswer(),
    max_new_tokens=8,
)
"""

ORDER: dict[str, Any] = {
    "models": "mock:fixed=A",
    "ropes": ("mrope", "vanilla"),
    "tasks": "letters",
    "workers": 0,
    "rate_limits": {"unparsed": 1.0},
}


class Killed(BaseException):
    """What a kill is to the code: nothing handles it."""


@contextlib.contextmanager
def killed_before(write: int) -> Iterator[list[str]]:
    """Let so many writes happen (replacements of files, batches of the journal), and no more."""
    replace, append, done = os.replace, JournalWriter.append, []

    def counted(name: str) -> None:
        if len(done) == write:
            raise Killed
        done.append(name)

    def replaced(source: Any, target: Any) -> None:
        if "run" in Path(target).parts:
            counted(Path(target).name)
        replace(source, target)

    def appended(self: JournalWriter, records: Any) -> None:
        counted("journal")
        append(self, records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replaced)
        patch.setattr(JournalWriter, "append", appended)
        yield done


def read_by_all(run: Path, folder: Path) -> None:
    """Every command reads the run, or says in a sentence what is not there yet."""
    for command in (
        lambda: compare(run),
        lambda: compare(run, baseline="vanilla"),
        lambda: advise(run),
        lambda: report(run, output=folder / "report.html", media=0),
        lambda: leaderboard([run], folder / "board.csv"),
        lambda: rescore(RunDir.open(run)),
        lambda: compare(run),
    ):
        with contextlib.suppress(UsageError):
            command()


@pytest.mark.parametrize("earlier", [None, 1])
def test_every_command_reads_what_a_kill_leaves(tmp_path: Path, earlier: int | None) -> None:
    """``earlier``: an earlier command was finished, which this one extends."""
    run, write = tmp_path / "run", 0
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/letters.py").write_text(TASK)
    order = {**ORDER, "tasks_dirs": str(tmp_path / "tasks")}
    whole = evaluate(**order, limit=2, output=tmp_path / "whole")
    while True:
        shutil.rmtree(run, ignore_errors=True)
        if earlier:
            evaluate(**order, limit=earlier, output=run)
        with killed_before(write) as done, contextlib.suppress(Killed):
            evaluate(**order, limit=2, output=run)
        if run.exists():
            read_by_all(run, tmp_path)
        again = evaluate(**order, limit=2, output=run)
        assert [each.without_timings() for each in again.records] == [
            each.without_timings() for each in whole.records
        ], done
        assert [arm.arm for arm in RunDir.open(run).manifest().arms] == [
            "mock:fixed=A@mrope",
            "mock:fixed=A@vanilla",
        ]
        if len(done) < write:
            break
        write += 1
    assert write > 8
