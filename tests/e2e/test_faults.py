"""Whatever the machine refuses, at whichever call: one message, exit code 4, and the same command goes on."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_killed_between_writes import TASK

from evalkit.cli import run_cli
from evalkit.core.atomic_files import is_temporary
from evalkit.store import JournalWriter, RunDir

NUMBERS = (
    errno.ENOSPC,
    errno.EROFS,
    errno.EACCES,
    errno.EIO,
    errno.EMFILE,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
)
RUN = (
    "run",
    "--model",
    "mock:fixed=A",
    "--rope",
    "mrope",
    "--tasks",
    "letters",
    "--workers",
    "0",
    "-q",
)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Tasks, and what other commands read."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/letters.py").write_text(TASK)
    lines = [{"task": "letters", "id": str(n), "prediction": "A", "reference": "A"} for n in range(2)]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = ("index\tquestion\tanswer\tprediction", "0\tWhich?\tA\tA", "1\tAnd?\tA\tA")
    (tmp_path / "answers.tsv").write_text("\n".join([*rows, ""]))
    return tmp_path


def commands(place: Path, name: str) -> list[tuple[str, ...]]:
    """Commands in their order, the last of which is the one that is looked at."""
    run, tasks = str(place / "run"), ("--tasks-dir", str(place / "tasks"))
    made = (*RUN, *tasks, "--output", run)
    base = ("ci", "update", str(place / "base"), *RUN[1:7], *tasks)
    check = ("ci", "check", str(place / "base"), *tasks, "--junit", str(place / "junit.xml"))
    board = ("leaderboard", run, "--csv", str(place / "board.csv"), "--html", str(place / "board.html"))
    page = ("report", run, "--output", str(place / "out/report.html"), "--media", "0")
    into = ("--task", "mini_docvqa", "--model", "m", "--references", "file", "--output")
    known: dict[str, list[tuple[str, ...]]] = {
        "run": [made],
        "run again": [made, made],
        "dry run": [(*made, "--dry-run")],
        "score": [made, ("score", run)],
        "score file": [("score", str(place / "predictions.jsonl"), *tasks)],
        "compare": [made, ("compare", run)],
        "advise": [made, ("advise", run)],
        "report": [made, page],
        "leaderboard": [made, board],
        "leaderboard again": [made, board, board],
        "leaderboard check": [made, board, ("leaderboard", "check", str(place / "board.csv"), run)],
        "ci update": [base],
        "ci update again": [base, base],
        "ci check": [base, check],
        "import": [("import", str(place / "answers.tsv"), *into, str(place / "imported"))],
        "export": [made, ("export", run, "--to", "inspect", "--output", str(place / "logs"))],
        "plot": [("ropes", "plot", "mrope", "--output", str(place / "ropes.svg"))],
    }
    return known[name]


NAMES = (
    "run", "run again", "dry run", "score", "score file", "compare", "advise", "report", "leaderboard",
    "leaderboard again", "leaderboard check", "ci update", "ci update again", "ci check", "import", "export",
    "plot",
)  # fmt: skip


MADE = (
    "run",
    "base",
    "board.csv",
    "board.html",
    "imported",
    "out",
    "logs",
    "ropes.svg",
    "junit.xml",
    "cache",
)


@contextmanager
def refusing(place: Path, point: int, number: int) -> Iterator[list[str]]:
    """Refuse one call about a file below ``place``, and all after it that write, as a full disk does."""
    done: list[str] = []

    def counted(name: str, call: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
        def counting(*words: Any, **options: Any) -> Any:
            about = words[0] if words else options.get("file", options.get("path"))
            if not isinstance(about, int) and not str(about).startswith(str(place)):
                return call(*words, **options)
            done.append(name)
            if len(done) - 1 == point or (len(done) - 1 > point and writes(*words, **options)):
                raise OSError(number, os.strerror(number), *([] if isinstance(about, int) else [str(about)]))
            return call(*words, **options)

        return counting

    def opens(file: Any, mode: str = "r", *words: Any, **options: Any) -> bool:
        return not mode.startswith("r")

    always: Callable[..., bool] = lambda *words, **options: True  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        for module in (builtins, io):
            patch.setattr(module, "open", counted("open", open, opens))
        patch.setattr(
            os, "open", counted("os.open", os.open, lambda path, flags, *_: bool(flags & os.O_CREAT))
        )
        for name in ("replace", "mkdir", "fsync", "write"):
            patch.setattr(os, name, counted(name, getattr(os, name), always))
        patch.setattr(os, "scandir", counted("scandir", os.scandir, lambda *_: False))
        yield done


def said(capsys: pytest.CaptureFixture[str], words: Sequence[str]) -> tuple[int, str, str]:
    code = run_cli(list(words))
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *((name, 7) for name in NAMES),
        *(pytest.param(name, 1, marks=pytest.mark.every_point) for name in NAMES),
    ],
)
def test_each_refusal_is_one_message_and_the_same_command_goes_on(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    step: int,
) -> None:
    if name == "export":
        pytest.importorskip("inspect_ai")
    monkeypatch.setenv("EVALKIT_CACHE", str(place / "cache"))
    *before, command = commands(place, name)
    point, told = 0, 0
    while True:
        for made in set(MADE) & set(os.listdir(place)):
            shutil.move(place / made, tmp_path_factory.mktemp("old") / made)
        for words in before:
            assert said(capsys, words)[0] == 0
        with refusing(place, point, NUMBERS[point % len(NUMBERS)]) as done:
            code, out, err = said(capsys, command)
        where = (point, done[point:])
        assert "Traceback" not in err + out, where
        assert code in (0, 4), (where, err)
        if code == 4:
            told += 1
            assert err.count("evalkit: ") == 1, (where, err)
            assert "why: " in err, (where, err)
            assert "fix: " in err, (where, err)
            assert not is_temporary(Path(err.split("`")[1]).name if "`" in err else ""), (where, err)
        again, out, err = said(capsys, command)
        assert again == 0, (where, err)
        if len(done) <= point:
            break
        point += step
    assert told > 0
    if name == "run":
        assert [each.raw for each in RunDir.open(place / "run").records()] == ["A"] * 2
    left = [path for path in place.rglob("*") if is_temporary(path.name)]
    assert not left


@pytest.mark.parametrize("words", [("ropes",), ("tasks", "--json"), ("--help",)])
def test_a_full_disk_behind_a_redirection_is_told(words: tuple[str, ...]) -> None:
    if not Path("/dev/full").is_char_device():
        pytest.skip("this machine has no /dev/full")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "evalkit", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4
    assert done.stderr.count("evalkit: ") == 1
    assert os.strerror(errno.ENOSPC) in done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENAMETOOLONG])
@pytest.mark.parametrize("name", ["predictions.jsonl", "answers.tsv", "run.yaml", "board.csv"])
def test_a_file_that_is_refused_is_no_wrong_name(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    run = str(place / "run")
    if name == "board.csv":
        assert run_cli(list(commands(place, "run")[0])) == 0

    def words(file: Path) -> list[str]:
        return {
            "predictions.jsonl": ["score", str(file)],
            "answers.tsv": ["score", str(file), "--task", "mini_docvqa", "--references", "file"],
            "run.yaml": ["run", "--config", str(file)],
            "board.csv": ["leaderboard", "check", str(file), run],
        }[name]

    assert said(capsys, words(place / "none" / name))[0] == 2
    (place / name).touch()
    opened = io.open

    def refused(file: Any, *more: Any, **options: Any) -> Any:
        if str(file) == str(place / name):
            raise OSError(number, os.strerror(number), str(file))
        return opened(file, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refused)
        patch.setattr(io, "open", refused)
        code, _, err = said(capsys, words(place / name))
    assert code == 4, err
    assert name in err
    assert os.strerror(number) in err


def test_a_file_that_may_not_grow_is_one_message(place: Path) -> None:
    """A real limit of the machine, at which a write ends half-way."""
    (words,) = commands(place, "run")
    script = (
        "import resource, sys; from evalkit.cli import run_cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "sys.exit(run_cli(sys.argv[2:]))"
    )
    for limit in (300, 3000):
        command = [sys.executable, "-c", script, str(limit), *words]
        # Python itself would leave compiled modules behind that are cut short.
        environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        assert os.strerror(errno.EFBIG) in done.stderr
        assert "Traceback" not in done.stderr
    assert run_cli(list(words)) == 0
    assert [each.raw for each in RunDir.open(place / "run").records()] == ["A"] * 2


@pytest.mark.parametrize("owner", [RunDir, JournalWriter])
def test_memory_that_is_used_up_is_one_message(
    owner: type, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*RUN, "--tasks-dir", str(place / "tasks"), "--output", str(place / "out")]
    with monkeypatch.context() as patched:

        def fail(*anything: object) -> None:
            raise MemoryError

        patched.setattr(owner, {RunDir: "write_records", JournalWriter: "append"}[owner], fail)
        assert run_cli(words) == 4
    said = capsys.readouterr().err
    assert "the memory is used up" in said
    assert "Traceback" not in said
    assert run_cli(words) == 0
    records = RunDir.open(place / "out").records()
    assert records
    assert len({record.key for record in records}) == len(records)


@pytest.mark.parametrize("arms", ["mrope", "mrope,vanilla"])
@pytest.mark.parametrize("renamed", [True, False])
def test_a_run_whose_folder_goes_stops_at_once_and_goes_on_with_what_was_saved(
    place: Path, capsys: pytest.CaptureFixture[str], renamed: bool, arms: str
) -> None:
    (words,) = commands(place, "run")
    words = tuple(arms if each == "mrope" else each for each in words)
    words = (*words, "--without", "lockstep")  # then each arm answers in a batch of its own
    append, batches = JournalWriter.append, []

    def appended(self: JournalWriter, records: Any) -> None:
        batches.append(records)
        if len(batches) == 1:
            (place / "run").rename(place / "moved")
            if not renamed:
                shutil.rmtree(place / "moved")
        append(self, records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalWriter, "append", appended)
        code, _, err = said(capsys, words)
    assert code == 4
    assert err.count("evalkit: ") == 1
    assert ("was renamed while it ran" if renamed else "was removed while it ran") in err
    assert len(batches) == 1
    assert not (place / "run").exists()
    if renamed:
        shutil.move(place / "moved", place / "run")
    else:
        subprocess.run(err.partition("fix: ")[2].partition(";")[0], shell=True, check=True)

    def counted(self: JournalWriter, records: Any) -> None:
        batches.append(records)
        append(self, records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalWriter, "append", counted)
        assert said(capsys, words)[0] == 0
    assert len(batches) == len(arms.split(","))
    assert [each.raw for each in RunDir.open(place / "run").records()] == ["A"] * 2 * len(arms.split(","))


@pytest.mark.parametrize("way", ["flipped", "deep", "torn", "no record", "no line break"])
def test_a_damaged_line_is_named_by_score_and_run_and_its_sample_is_run_again(
    place: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    (words,) = commands(place, "run")
    assert said(capsys, words)[0] == 0
    before = [each.without_timings() for each in RunDir.open(place / "run").records()]
    path = place / "run/journal/worker-000.jsonl"
    first, last = path.read_bytes().splitlines(keepends=True)
    damaged = {
        "flipped": last.replace(b'"raw": "A"', b'"raw": "B"'),
        "deep": b"[" * 100_000 + b"\n",
        "torn": last[: len(last) // 2],
        "no record": b'{"key": 3}\n',
        "no line break": last[:-1],
    }[way]
    path.write_bytes(first + damaged)
    code, _, err = said(capsys, ["score", str(place / "run")])
    whole = way == "no line break"
    assert code == (0 if whole else 3), err
    assert ("journal/worker-000.jsonl line 2: " in err) != whole
    code, _, err = said(capsys, words)
    assert code == 0, err
    assert ("journal/worker-000.jsonl line 2: " in err) == (way not in ("torn", "no line break"))
    assert [each.without_timings() for each in RunDir.open(place / "run").records()] == before
    assert len(path.read_bytes().splitlines()) == (2 if way in ("torn", "no line break") else 3)
