"""How a published table is drawn beside one's own."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from rich.console import Console
from test_reference import beside, column, comparison

from evalkit.report import grid, tables
from evalkit.report.aggregate import Estimate
from evalkit.report.notes import footnotes


def test_a_published_row_stands_once_below_all_of_its_arms() -> None:
    found = beside(comparison({"a": "mhrope", "b": "mrope-i", "c": "mhrope"}, [column("MMStar")]))
    assert [row.name for row in found.shown()] == ["a", "b", "paper MRoPE-I", "c", "paper MHRoPE"]


def test_a_row_that_is_the_mean_of_two_tasks_stands_below_their_mean() -> None:
    columns = [column("MMBench_avg", "mmbench_en_dev"), column("MMBench_avg", "mmbench_cn_dev")]
    made = comparison({"a": "mhrope"}, columns)
    shown = {line.label: [entry.score for entry in line.entries] for line in grid.table_rows(beside(made))}
    assert shown["mmbench_en_dev"][1] == shown["mmbench_cn_dev"][1] == "–"
    assert shown["MMBench_avg"][1] == "75.04†"
    assert not any("one of 2" in text for text in footnotes(beside(made)))


def test_every_form_shows_it() -> None:
    columns = [column("DocVQA"), column("LVBench")]
    found = beside(comparison({"a": "mrope", "b": "mrope-i"}, columns))
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(tables.terminal(found, 200))
    assert "paper MRoPE-I" in captured.get()
    assert "83.72†" in captured.get()
    lines = tables.markdown(found).splitlines()
    assert lines[0] == "| benchmark | a | paper MRoPE | b | paper MRoPE-I |"
    assert [cell.strip() for cell in lines[2].split("|")[3:6:2]] == ["81.49†", "83.72†"]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    rows = list(csv.DictReader(io.StringIO(tables.csv(found))))
    (cell,) = [row for row in rows if row["arm"] == "paper MRoPE-I" and row["task"] == "LVBench"]
    assert (cell["value"], cell["n"], cell["metric"]) == ("0.4054", "", "as published")


def test_the_best_score_is_never_a_published_one() -> None:
    made = comparison({"a": "mrope-i"}, [column("MMStar")])
    assert "**50.0**" in tables.markdown(beside(made))
    low = replace(made.cells["a"]["mmstar"], estimate=Estimate(0.1, 0.0, 0.2, 100))
    worse = replace(made, cells={"a": {"mmstar": low}})
    assert "**10.0**" in tables.markdown(beside(worse))
