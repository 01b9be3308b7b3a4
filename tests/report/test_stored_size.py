"""Stored runs of many samples, and of long answers: what is read, and what is shown."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein
from report_page import unpack_json

from evalkit.api import compare, report
from evalkit.cli import run_cli
from evalkit.cli.waiting import steps_shown
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Answer
from evalkit.report.steps import counted
from evalkit.scoring.finalize import rescore
from evalkit.store import RunDir
from tools.bench.made_runs import generate_run

NOT_FOR_READING = (
    "torch", "transformers", "datasets", "scipy", "pandas", "huggingface_hub",
    "evalkit.runner.run", "evalkit.engine.scheduler", "evalkit.inference", "evalkit.report.page",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems of which each has eight answers in each of five benchmarks."""
    made = generate_run(tmp_path_factory.mktemp("made") / "run", 80, "made")
    rescore(made)
    return made.path


def test_comparing_loads_neither_models_nor_statistics(run: Path) -> None:
    code = (
        "import sys; from evalkit.cli import run_cli; code = run_cli(['compare', sys.argv[1]]);"
        f"print(code, [name for name in {NOT_FOR_READING!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_tables_and_pages_decode_no_whole_record(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evalkit.store.records.Record.from_json", None)
    monkeypatch.setattr("evalkit.store.rundir.parse_line", None)
    assert len(compare(run, baseline="made@mrope").arms) == 2
    report(run, output=run.parent / "page.html", media=0)


def test_more_samples_are_read_no_more_often(run: Path, tmp_path: Path) -> None:
    longer = generate_run(tmp_path / "longer", 800, "made")
    rescore(longer)
    reads: list[int] = []
    for path in (run, longer.path):
        table = RunDir.open(path).table()
        before = table._file

        class Counting:
            calls = 0

            def __getattr__(self, name: str, file: Any = before) -> Any:
                Counting.calls += name == "read"
                return getattr(file, name)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "_file", Counting())
            patch.setattr(RunDir, "table", lambda self, known=table: known)
            compare(path, baseline="made@mrope")
        reads.append(Counting.calls)
    assert reads[0] == reads[1] <= 8


def test_an_answer_of_ten_megabytes_is_scored_compared_and_shown_cut(tmp_path: Path) -> None:
    made = generate_run(tmp_path / "run", 20, "made", ["docvqa_val"], ["mrope"])
    first, *others = made.journal().records.values()
    size = 10 * 2**20
    for path in (made.path / "journal").iterdir():
        path.unlink()
    with made.writer() as journal:
        journal.append([replace(first, raw="a b " * (size // 4)), *others])
    found = rescore(made)
    assert (found.missing, found.failed) == (0, 0)
    page = report(made.path, output=tmp_path / "page.html", media=0)
    assert page.stat().st_size < 2**20
    content = page.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', content, re.DOTALL)
    assert data is not None
    samples = unpack_json(json.loads(data[1])["tasks"][0]["pieces"][0])["samples"]
    shown = next(each for each in samples if each["id"] == first.sample_id)["answers"][0][0]
    assert shown.endswith(f" ... ({size - 4000} more characters)")
    assert len(shown) < 4100
    assert run_cli(["compare", str(made.path)]) == 0


TEXTS = st.text(st.sampled_from("ab ßﬁ"), max_size=30)


@given(
    text=TEXTS, accepted=st.lists(TEXTS, min_size=1, max_size=3), threshold=st.sampled_from([0, 0.3, 0.5, 1])
)
def test_anls_is_what_the_whole_distance_says(text: str, accepted: list[str], threshold: float) -> None:
    def share(known: str) -> float:
        plain = [" ".join(each.lower().split()) for each in (known, text)]
        length = max(len(known.upper()), len(text.upper()))
        return Levenshtein.distance(*plain) / length if length else 0.0

    similarity = 1 - min(map(share, accepted))
    expected = similarity if similarity >= threshold else 0.0
    assert Anls(threshold=threshold).score(Answer(text, accepted)).value == expected


def test_anls_needs_no_distance_to_an_answer_much_longer_than_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounds: list[float] = []
    distance = Levenshtein.distance

    def bounded(one: str, two: str, *, score_cutoff: int) -> float:
        bounds.append(score_cutoff / max(len(one), len(two)))
        return distance(one, two, score_cutoff=score_cutoff)

    monkeypatch.setattr(Levenshtein, "distance", bounded)
    assert Anls().score(Answer("word " * 200_000, ["word " * 50_000])).value == 0.0
    assert math.isclose(bounds[0], 0.5, rel_tol=1e-4)  # the lengths differ by three quarters


@pytest.mark.parametrize("terminal", [True, False])
def test_who_waits_is_told_what_for(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("evalkit.cli.waiting.time.monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    with steps_shown():
        for _ in counted(range(5), "reading run"):
            now[0] += 0.6 if terminal else 9.0
    said = capsys.readouterr().err
    with steps_shown():
        list(counted(range(5), "reading run"))
    assert capsys.readouterr().err == ""
    if terminal:
        assert [each.strip() for each in said.split("\r") if each.strip()] == [
            f"reading run {number} of 5" for number in (3, 4, 5)
        ]
        assert said.endswith("\r")  # nothing is left on the line
    else:
        assert said == "reading run 3 of 5\nreading run 5 of 5\n"
