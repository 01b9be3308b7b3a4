"""The paper's layout, LaTeX that compiles, failure rates in one table, and n where sample sets differ."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from seed_data import made_runs
from test_comparison import cell, column, comparison, record

from evalkit.metrics.anls import Anls
from evalkit.report import tables
from evalkit.report.aggregate import BenchmarkColumn, Cell, make_cell
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.grid import UNRELIABLE, table_rows
from evalkit.report.latex import latex
from evalkit.report.layout import Layout, arranged, planned_rows
from evalkit.report.leaderboard.page import leaderboard_page
from evalkit.report.leaderboard.table import LeaderboardSource, leaderboard_rows, write
from evalkit.report.notes import caption, legend, rates_table
from evalkit.report.page import report_page
from evalkit.report.reference import load_reference

PAPER = Layout.of("paper")
ROPES = ("mrope-i", "mrope-i(temporal_stride=2)", "vanilla", "mrope", "mine")
TABLE = load_reference("paper-qwen2.5-vl-7b")


def paper_columns() -> list[BenchmarkColumn]:
    """A benchmark for every row of Table 2, backwards, two for MMBench, and one that the paper lacks."""
    rows = [figure for figure in reversed(TABLE.benchmarks()) for _ in range(figure.of)]
    made = [
        BenchmarkColumn(f"task{n}", figure.category or "image", f"Title {n}", "acc", (0, 1), figure.row)
        for n, figure in enumerate(rows)
    ]
    return [BenchmarkColumn("other", "image", "Another one", "acc", (0, 1)), *made]


def paper_comparison(ropes: tuple[str, ...] = ROPES, labels: tuple[str, ...] = ()) -> Comparison:
    columns = paper_columns()
    arms = [
        Arm(labels[n] if n < len(labels) else f"ck{n}@{rope}", "m", rope, "qwen2_5_vl", str(n), "run",
            label=labels[n] if n < len(labels) else "")
        for n, rope in enumerate(ropes)
    ]  # fmt: skip
    cells = {}
    for n, arm in enumerate(arms):
        first = make_cell(arm.name, columns[0], [record(k, float(k <= n)) for k in range(8)], 8, Anls())
        cells[arm.name] = {each.task: replace(first, task=each.task) for each in columns}
    return Comparison(arms, columns, cells)


def test_the_paper_s_layout_has_the_rows_and_columns_of_table_2() -> None:
    table = paper_comparison()
    rows = table_rows(arranged(table, PAPER), PAPER)
    order = [figure.row for figure in TABLE.benchmarks()]
    images = order[:11]
    assert [row.label for row in rows] == [*images, "Another one", *order[11:], "Image", "Video", "Grounding"]
    assert [row.category for row in rows[-3:]] == ["overall"] * 3
    heads = [arm.name for arm in arranged(table, PAPER).arms]
    assert heads == ["Vanilla RoPE", "MRoPE", "MRoPE-I", "MRoPE-I (temporal_stride=2)", "ck4@mine"]
    assert rows[0].entries[0].score == "37.50"
    assert rows[0].entries[0].interval == ""


def test_labels_come_before_the_paper_s_names() -> None:
    table = paper_comparison(("mrope-i", "vanilla"), ("MRoPE-I (ours)",))
    assert [arm.name for arm in arranged(table, PAPER).arms] == ["Vanilla RoPE", "MRoPE-I (ours)"]
    twice = paper_comparison(("mrope-i", "mrope-i"))
    assert [arm.name for arm in arranged(twice, PAPER).arms] == ["ck0@mrope-i", "ck1@mrope-i"]


def test_one_language_of_mmbench_is_not_called_the_paper_s_mean() -> None:
    table = paper_comparison()
    columns = [each for each in table.columns if each.row != "MMBench_avg"]
    one = next(each for each in table.columns if each.row == "MMBench_avg")
    labels = [plan.label for plan in planned_rows(replace(table, columns=[*columns, one]), PAPER)]
    assert one.title in labels
    assert "MMBench_avg" not in labels


@pytest.mark.parametrize("digits", [0, 1, 3])
def test_digits_and_intervals_are_as_asked(digits: int) -> None:
    table = comparison(**{"a@mrope": {"doc": cell([1.0, 0.0, 1.0])}})
    number = f"{200 / 3:.{digits}f}"
    for name in ("default", "paper"):
        layout = Layout.of(name, digits, True)
        for text in (
            tables.markdown(table, layout=layout),
            latex(table, layout),
            tables.html(table, layout=layout),
        ):
            assert number in text
            assert re.search(rf"\d\.\d{{{digits + 1}}}", text.replace("0.05", "")) is None
        assert f"{100 * table.cells['a@mrope']['doc'].estimate.low:.{digits}f}" in tables.markdown(
            table, layout=layout
        )
    bare = tables.markdown(table, layout=Layout.of("default", intervals=False))
    assert re.search(r"\d–\d", bare) is None
    assert "intervals" not in bare


def test_a_caption_says_what_every_mark_means() -> None:
    table = paper_comparison(("mrope", "mrope-i"))
    partial = dict(table.cells["ck0@mrope"])
    partial["other"] = replace(partial["other"], expected=9)
    bad = dict(table.cells["ck1@mrope-i"])
    bad["task0"] = replace(bad["task0"], unreliable=("50.0% truncated (limit 20.0%)",))
    table = replace(table, cells={"ck0@mrope": partial, "ck1@mrope-i": bad}, baseline="ck0@mrope")
    shown = arranged(table, PAPER)
    text = caption(shown, table_rows(shown, PAPER))
    for said in ("bold", "underlined", "unweighted", "Differences are to MRoPE", "p < 0.05"):
        assert said in text, text
    assert "* behind a score: some of its samples have none" in text
    assert f"{UNRELIABLE}: too many answers failed" in text
    assert "one checkpoint can't separate RoPE from seed" in text
    plain = paper_comparison(("mrope",))
    short = caption(plain, table_rows(plain, PAPER))
    assert "UNRELIABLE" not in short
    assert "p < 0.05" not in short
    assert "seed" not in short


def flagged(arms: int, tasks: int) -> Comparison:
    """Every cell has answers that were cut off; one has too many of them."""
    columns = [column(f"task{n}") for n in range(tasks)]
    names = [f"a{n}@mrope" for n in range(arms)]
    cells: dict[str, dict[str, Cell]] = {}
    for place, name in enumerate(names):
        cells[name] = {}
        for each in columns:
            many = place == 1 and each.task == "task2"
            records = [
                record(n, float(n % 2), flags=("truncated",) if n < (7 if many else 1) else ())
                for n in range(20)
            ]
            cells[name][each.task] = make_cell(name, each, records, 20, Anls(), limits={"truncated": 0.2})
    return Comparison([Arm(name, "m", "mrope", "f", name, "run") for name in names], columns, cells)


def test_rates_of_a_large_table_are_one_small_table() -> None:
    table = flagged(11, 25)
    heads, rows = rates_table(table)
    assert heads == ["share of answers", "truncated or empty"]
    assert len(rows) == 11
    assert rows[0] == ["a0@mrope", "5.0% (task0 5.0%)"]
    assert rows[1] == ["a1@mrope", "6.2% (task2 35.0%)"]
    assert len(legend(table)) < 8
    assert len([line for line in tables.markdown(table).splitlines() if "truncated" in line]) == 2


def test_a_rate_is_never_rounded_to_none() -> None:
    records = [record(n, 1.0, flags=("truncated",) if n == 0 else ()) for n in range(5000)]
    one = make_cell("a@mrope", column(), records, 5000, Anls())
    assert rates_table(comparison(**{"a@mrope": {"doc": one}}))[1] == [["a@mrope", "<0.1%"]]


def texts_of(table: Comparison) -> dict[str, str]:
    console = Console(width=300, file=io.StringIO())
    with console.capture() as captured:
        console.print(tables.terminal(table, 300))
    return {
        "terminal": captured.get(),
        "markdown": tables.markdown(table),
        "latex": latex(table).rpartition("% ")[2],
        "html": tables.html(table),
    }


@pytest.mark.parametrize("layout", ["default", "paper"])
def test_an_unreliable_score_and_its_means_are_marked_in_every_format(layout: str, tmp_path: Path) -> None:
    table = flagged(2, 3)
    arm = "a1@mrope"
    assert table.unreliable_means(arm) == ["image", "overall"]
    rows = table_rows(table, Layout.of(layout))
    marked = {
        (row.label, n) for row in rows for n, each in enumerate(row.entries) if UNRELIABLE in each.marks
    }
    bad = {row.label for row in rows if row.mean or row.label in ("task2", "TASK2")}
    assert marked == {(label, 1) for label in bad}
    assert [row.entries[1].rank for row in rows if row.label in bad] == [0] * len(bad)
    for name, text in texts_of(table).items():
        assert len(re.findall(r"50\.0\D[^&|\n]*UNRELIABLE", text)) >= 2, name
    found = table.to_json()["arms"][1]
    assert found["tasks"]["task2"]["unreliable"] == ["35.0% truncated (limit 20.0%)"]
    assert found["unreliable_means"] == ["image", "overall"]
    lines = list(csv.DictReader(io.StringIO(tables.csv(table))))
    assert {line["task"] for line in lines if line["unreliable"]} == {"task2"}
    records = {each.name: {} for each in table.arms}
    page = report_page(table, records, {}, "page")
    board = tmp_path / "board.csv"
    write(board, leaderboard_rows(LeaderboardSource(table, "full", "0.1.0", "2026-11-27", {})))
    for text in (page, leaderboard_page(board)):
        data = json.loads(re.findall(r"<script[^>]*json[^>]*>(.*?)</script>", text, re.S)[0])
        scores = [entry["score"] for line in data["lines"] for entry in line["entries"]]
        assert sum("UNRELIABLE" in score for score in scores) >= 2


def test_a_row_says_n_where_its_cells_are_over_other_samples() -> None:
    scores = {"a@mrope": {"docs": [1.0, 0.0, 1.0]}, "b@vanilla": {"docs": [1.0, None, 1.0]}}
    table = made_runs(scores).comparison
    for name, text in texts_of(table).items():
        assert "(n = 3)" in text, name
        assert "(n = 2)" in text, name
    same = made_runs({"a@mrope": scores["a@mrope"], "b@vanilla": {"docs": [1.0, 0.0, 0.0]}}).comparison
    assert all("n = 3" not in text for text in texts_of(same).values())
    (row, *_) = table_rows(table)
    assert [entry.marks for entry in row.entries] == [("(n = 3)",), ("(n = 2)",)]
    parts = tables.markdown(table, breakdown=True)
    assert "form (n = 3)** | " in parts or re.search(r"form \(n = 3\) \|.*\(n = 2\)", parts)


def test_a_leaderboard_s_column_says_n_where_protocols_differ(tmp_path: Path) -> None:
    board = tmp_path / "board.csv"
    for protocol, count in (("full", 6), ("limit-3", 3)):
        table = comparison(**{"a@mrope": {"doc": cell([1.0] * count)}})
        table = replace(table, columns=table.columns[:1])
        write(board, leaderboard_rows(LeaderboardSource(table, protocol, "0.1.0", "2026-11-27", {})))
    page = leaderboard_page(board)
    assert "(n = 6)" in page
    assert "(n = 3)" in page


def test_a_missing_score_has_neither_interval_nor_difference() -> None:
    table = comparison(**{"a@mrope": {"doc": replace(cell([1.0, 0.0]), estimate=cell([None]).estimate)}})
    entry = table_rows(table)[0].entries[0]
    assert (entry.score, entry.interval, entry.difference, entry.value) == ("–", "", "", None)


def compiled(text: str, folder: Path) -> str:
    """The text on the pages that LaTeX makes; skips without LaTeX."""
    if shutil.which("pdflatex") is None:
        pytest.skip("no LaTeX here: apt-get install texlive-latex-base texlive-latex-recommended")
    (folder / "page.tex").write_text(text)
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Overfull" not in done.stdout
    if shutil.which("pdftotext") is None:
        return ""
    read = subprocess.run(
        ["pdftotext", "-layout", "page.pdf", "-"], cwd=folder, capture_output=True, text=True
    )
    return read.stdout


@pytest.mark.parametrize("layout", ["default", "paper"])
def test_standalone_latex_compiles_and_needs_booktabs_alone(layout: str, tmp_path: Path) -> None:
    table = paper_comparison(labels=("A & B_1 {50%} #1 ~^\\ <x>", "MRoPE-I (é, ours)"))
    first = table.arms[0].name
    bad = {**table.cells[first], "other": replace(table.cells[first]["other"], expected=9, unreliable=("x",))}
    table = replace(table, cells={**table.cells, first: bad}, notes=["a note % \\end{document}"])
    text = latex(table, Layout.of(layout, intervals=True), breakdown=True, standalone=True)
    assert re.findall(r"\\usepackage(?:\[.*?\])?\{(.*?)\}", text) == ["booktabs"]
    shown = compiled(text, tmp_path)
    for word in ("A & B", "MRoPE-I", "UNRELIABLE", "form (n = 8)") if shown else ():
        assert word in shown


def test_latex_to_paste_is_a_table_with_its_caption_in_the_paper_s_layout() -> None:
    text = latex(paper_comparison(), PAPER, breakdown=True)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\caption{") > 1
    assert r"\label{tab:evalkit-results}" in text
    assert r"\documentclass" not in text
    plain = latex(paper_comparison(), breakdown=True)
    assert r"\begin{table}" not in plain
    assert plain.count(r"\begin{tabular}") == 1 + len(paper_columns())
