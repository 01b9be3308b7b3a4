"""Names, labels, answers, paths and messages that hold what acts on a terminal are shown as escapes."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

from evalkit.cli import run_cli

# Colour, title of the window (OSC), C1 CSI, bell, backspace, direction, zero widths, BOM, line separators.
HOSTILE = "\x1b[31m\x1b]0;owned\x07\x9b2J\x08\x7f\u202e\u2066\u200b\u200d\ufeff\u2028\x85\U000e0041\r[red]x"
TASK = """\
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Rows, Task, text

task = Task(
    name={name!r},
    category="image",
    title={title!r},
    dataset=Rows("rows.jsonl"),
    prompt=lambda row: (text(row["question"]),),
    reference=lambda row: row["answer"],
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    groups={{{title!r}: lambda row: row["kind"]}},
    meta=lambda row: {{"question": row["question"], "options": {{"A": "red", "B": {title!r}}}}},
    metric=MultipleChoice(letters.mmstar),
    max_new_tokens=8,
)
"""
# Names of tasks and models may be patterns.
PLAIN = HOSTILE.replace("[", "")
NAME = f"t{PLAIN}"


def acts(text: str) -> list[str]:
    """Characters that act on a terminal, or have no shape: by Unicode's categories, not by our own table."""
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return [f"{each!r} in {text[max(at - 60, 0) : at + 20]!r}" for at, each in enumerate(text)
            if unicodedata.category(each) in kinds and each not in "\n\t"]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a task, its rows, predictions, and answers of a model."""
    folder = tmp_path_factory.mktemp("hostile") / f"home {HOSTILE}"
    tasks = folder / f"tasks{HOSTILE}"
    tasks.mkdir(parents=True)
    (tasks / f"{NAME}.py").write_text(TASK.format(name=NAME, title=f"Title {HOSTILE}"), newline="")
    rows = [
        {"id": f"{number}{HOSTILE}", "question": f"Which? {HOSTILE}", "answer": "A", "kind": f"k{HOSTILE}"}
        for number in range(6)
    ]
    (tasks / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = {f"{NAME}/{row['id']}": f"A {HOSTILE}" for row in rows}
    (folder / "answers.json").write_text(json.dumps(answers))
    lines = [
        {"doc_id": number, "target": "A", "filtered_resps": [f"A {HOSTILE}"], "resps": [[f"A {HOSTILE}"]]}
        for number in range(6)
    ]
    (folder / f"m{HOSTILE}_samples_{HOSTILE}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    cases = [{"task": "mini_docvqa", "id": HOSTILE, "prediction": HOSTILE, "reference": HOSTILE}]
    (folder / f"cases{HOSTILE}.jsonl").write_text(json.dumps(cases[0]) + "\n")
    return folder


RUN = f"run{HOSTILE}"
LMMS = f"m{HOSTILE}_samples_{HOSTILE}.jsonl"
OWN = ("--tasks-dir", f"tasks{HOSTILE}")
MODEL = ("--model", "mock:answers=answers.json", "--model", f"mock:fixed=B {PLAIN}", "--workers", "0")
FIRST = ("run", *MODEL, "--tasks", NAME, *OWN, "--output", RUN)
COMMANDS: tuple[tuple[str, ...], ...] = (
    FIRST,
    (*FIRST, "--json"),
    (*FIRST, "--rope", HOSTILE),
    (*FIRST, "--dry-run"),
    ("run", "--model", HOSTILE, "--tasks", NAME, *OWN),
    ("run", "--config", f"{HOSTILE}.yaml"),
    ("run", f"--{HOSTILE}"),
    ("run", *MODEL, "--tasks", HOSTILE),
    (HOSTILE,),
    *(("compare", RUN, "--breakdown", "--format", form) for form in ("terminal", "markdown", "latex", "csv")),
    ("compare", RUN, "--format", "html", "--baseline", f"mock:fixed=B {PLAIN}@mrope"),
    ("compare", RUN, "--json"),
    ("compare", RUN, "--baseline", HOSTILE),
    ("compare", RUN, "--reference", HOSTILE),
    ("compare", HOSTILE),
    ("report", RUN, "-o", f"{HOSTILE}.html"),
    ("advise", RUN),
    ("advise", RUN, "--weight", HOSTILE),
    ("score", RUN, *OWN),
    ("score", f"cases{HOSTILE}.jsonl"),
    ("score", f"cases{HOSTILE}.jsonl", "--task", HOSTILE),
    ("import", LMMS, "--task", NAME, "--model", HOSTILE, "--output", "in", *OWN, "--references", "file"),
    ("import", LMMS, "--task", "mini_docvqa", "--model", HOSTILE, "--output", "in", "--references", "file"),
    ("compare", "in"),
    ("export", RUN, "--to", "inspect", "-o", HOSTILE),
    ("leaderboard", RUN, "--csv", f"{HOSTILE}.csv", "--html", f"{HOSTILE}.html"),
    ("leaderboard", "check", f"{HOSTILE}.csv", RUN),
    ("leaderboard", "check", "answers.json", RUN),
    ("ci", "update", f"base{HOSTILE}", *MODEL[:2], "--tasks", NAME, "--limit", "3", *OWN),
    ("ci", "check", f"base{HOSTILE}", *OWN),
    ("ci", "check", HOSTILE),
    ("tasks", *OWN),
    ("tasks", "show", NAME, *OWN),
    ("tasks", "show", HOSTILE),
    ("tasks", "docs", *OWN),
    ("data", "check", NAME, *OWN),
    ("data", "pull", NAME, *OWN, "--data-root", HOSTILE),
    ("ropes", "show", HOSTILE),
    ("ropes", "check", HOSTILE),
    ("models", "show", HOSTILE),
    ("models", "check", HOSTILE),
    ("models", "check", f"tasks{HOSTILE}"),
    ("bench", "engine", "--model", HOSTILE),
    ("bench", "engine", "--techniques", HOSTILE),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_no_command_says_what_acts_on_a_terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    codes: dict[int, int] = {}
    for words in COMMANDS:
        code = run_cli(list(words))
        out, err = capsys.readouterr()
        codes[code] = codes.get(code, 0) + 1
        assert not acts(out + err), words
        assert out + err, words
        assert "Traceback" not in err, words
        # No line of a message is one that a name brought along.
        assert not re.search("^owned", out + err, re.M), words
    assert codes[0] >= 20, codes


def test_a_baseline_s_summary_is_markdown_without_what_acts(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(home)
    base = str(tmp_path / "base")
    model = ("--model", "mock:answers=answers.json")
    assert run_cli(["ci", "update", base, *model, "--tasks", NAME, "--limit", "3", *OWN]) == 0
    found = next(Path(base).glob("*/*.tsv"))
    found.write_bytes(found.read_bytes().replace(b"A ", b"B "))
    summary = tmp_path / "summary.md"
    assert run_cli(["ci", "check", base, *OWN, "--summary", str(summary)]) == 1
    text = summary.read_bytes().decode()
    assert not acts(text)
    assert "NO-GO" in text
