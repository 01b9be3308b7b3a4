"""A label goes from the command line through the manifest into every table, and changes no answer."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from evalkit.cli import run_cli
from evalkit.store import RunDir

LABEL = "MRoPE-I (ours) & <b>_1"
RUN = (
    "run",
    "--tasks",
    "mini_docvqa",
    "--limit",
    "3",
    "--workers",
    "0",
    "-q",
    "--rate-limit",
    "unparsed=1,repeating=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "run"
    models = ("--model", f"{LABEL}=mrope-i=mock", "--model", "mrope=mock")
    assert run_cli([*RUN, *models, "--output", str(path)]) == 0
    return path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run_cli(list(words)) == 0
    return capsys.readouterr().out


def test_the_manifest_has_it_and_no_identity_has(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = RunDir.open(run).manifest()
    assert [each.label for each in before.arms] == [LABEL, ""]
    records = len(RunDir.open(run).records())
    words = [*RUN, "--model", "Other=mrope-i=mock", "--model", "mrope=mock", "--output", str(run)]
    assert "Other" in said(capsys, *words)
    after = RunDir.open(run).manifest()
    assert [each.label for each in after.arms] == ["Other", ""]
    assert [each.model_copy(update={"label": ""}) for each in after.arms] == [
        each.model_copy(update={"label": ""}) for each in before.arms
    ]
    assert after.evaluations == before.evaluations
    assert len(RunDir.open(run).records()) == records
    again = [*RUN, "--model", f"{LABEL}=mrope-i=mock", "--model", "mrope=mock", "--output", str(run)]
    assert run_cli(again) == 0
    without = [*RUN, "--model", "mrope-i=mock", "--model", "mrope=mock", "--output", str(run)]
    assert run_cli(without) == 0
    assert RunDir.open(run).manifest().arms[0].label == LABEL


def test_every_table_shows_it_escaped(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = {
        "terminal": LABEL,
        "markdown": r"MRoPE-I (ours) \& \<b>\_1",
        "latex": r"MRoPE-I (ours) \& \textless{}b\textgreater{}\_1",
        "html": "MRoPE-I (ours) &amp; &lt;b&gt;_1",
    }
    for form, text in shown.items():
        found = said(capsys, "compare", str(run), "--format", form, "--baseline", "mrope")
        assert text in found, form
        assert "mock@mrope-i" not in found, form
    lines = list(csv.DictReader(io.StringIO(said(capsys, "compare", str(run), "--format", "csv"))))
    assert {(line["arm"], line["system"]) for line in lines} >= {(LABEL, "mock@mrope-i")}
    arms = json.loads(said(capsys, "compare", str(run), "--json"))["arms"]
    assert [(arm["name"], arm["system"]) for arm in arms] == [
        (LABEL, "mock@mrope-i"),
        ("mock@mrope", "mock@mrope"),
    ]
    assert LABEL in said(capsys, "advise", str(run))
    board = tmp_path / "board.csv"
    said(capsys, "leaderboard", str(run), "--csv", str(board), "--html", str(tmp_path / "board.html"))
    assert LABEL in [line["label"] for line in csv.DictReader(io.StringIO(board.read_text()))]
    assert run_cli(["leaderboard", "check", str(board), str(run)]) == 0
    said(capsys, "report", str(run), "-o", str(tmp_path / "page.html"), "--media", "0")
    for name in ("board.html", "page.html"):
        page = (tmp_path / name).read_text()
        assert r"MRoPE-I (ours) \u0026 \u003cb\u003e_1" in page, name


@pytest.mark.parametrize("name", ["mock@mrope", "mrope"])
def test_compare_labels_what_goes_by_a_name(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = ("--label", f"{name}=Base = line")
    with_label = ("--label", f"{name}=Baseline")
    for words in (("compare", "--baseline", "Baseline"), ("advise",)):
        assert "Baseline" in said(capsys, words[0], str(run), *words[1:], *with_label)
    page = tmp_path / "page.html"
    said(capsys, "report", str(run), "-o", str(page), "--media", "0", *with_label)
    assert "Baseline" in page.read_text()
    board = tmp_path / "board.csv"
    said(capsys, "leaderboard", str(run), "--csv", str(board), *with_label)
    assert "Baseline" in board.read_text()
    assert run_cli(["compare", str(run), *option]) == 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("option", "why"),
    [
        (f"mrope={LABEL}", "is given to"),
        ("mrope=mrope-i", "is a name of"),
        ("mroope=x", "there is none"),
        ("mock=x", "several go by that name"),
    ],
)
def test_a_label_that_is_not_clear_is_refused(
    option: str, why: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["compare", str(run), "--label", option]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--standalone",),
        ("--format", "csv", "--digits", "2"),
        ("--json", "--layout", "paper"),
        ("--format", "csv", "--no-intervals"),
        ("--json", "--format", "latex", "--standalone"),
    ],
)
def test_a_layout_where_there_is_none_is_refused(
    words: tuple[str, ...], run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["compare", str(run), *words]) == 2
    assert "fix:" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "html", "csv"])
def test_a_breakdown_is_in_every_format(form: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for layout in ((), ("--layout", "paper")) if form != "csv" else ((),):
        found = said(capsys, "compare", str(run), "--format", form, "--breakdown", *layout)
        assert ("mini_docvqa,anls,shape," if form == "csv" else " by shape") in found


def test_an_older_leaderboard_is_read(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = tmp_path / "board.csv"
    said(capsys, "leaderboard", str(run), "--csv", str(board))
    rows = list(csv.DictReader(io.StringIO(board.read_text())))
    with board.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name != "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**row, "schema": "2"} for row in rows)
    said(capsys, "leaderboard", str(run), "--csv", str(board))
    assert [line["schema"] for line in csv.DictReader(io.StringIO(board.read_text()))] == ["3", "3"]
