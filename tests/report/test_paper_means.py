"""The published tables: every printed mean recomputed from its cells by the function that tables use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.core.registry import PAPER_ROWS, declared, load_task
from evalkit.report.aggregate import unweighted
from evalkit.report.reference import PublishedTable, load_reference, tables
from evalkit.rope.ablations import ABLATIONS
from evalkit.rope.variants import parse_variant

FOLDER = Path(__file__).resolve().parents[2] / "results/reference"
CONTENT = {
    found["source"]["table"]: found
    for found in (json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("table*.json")))
}
BY_NUMBER = {int(each.source.rpartition(" ")[2]): each for each in tables()}
Erratum = dict[str, Any]
# Printed means have two decimals, and so do the cells that they are recomputed from.
ROUNDING = 0.005 + 1e-9
IMAGE_STAR = "Image*"


def erratum(row: str, method: str, printed: float, recomputed: float) -> Erratum:
    """A printed figure that doesn't follow from the printed cells, as the tables' files list it."""
    return {"row": row, "method": method, "printed": printed, "recomputed": recomputed}


def mean(values: list[float]) -> float:
    found = unweighted(values)
    assert found is not None
    return found


def column(table: PublishedTable, row: str) -> dict[str, float]:
    """A row's figures by method."""
    (values,) = [each.values for each in table.figures if each.row == row]
    return {method.name: value for method, value in zip(table.methods, values, strict=True)}


def image_star() -> dict[str, float]:
    """The Image column of Tables 4, 5 and 8, from the cells of Table 2: eleven values too, but without
    BLINK, and with MMBench twice (English and Chinese).
    """
    cells = {each.row: column(BY_NUMBER[2], each.row) for each in BY_NUMBER[2].benchmarks("image")}
    chosen = [*(row for row in cells if row != "BLINK"), "MMBench_avg"]
    assert len(chosen) == 11
    return {method.name: mean([cells[row][method.name] for row in chosen]) for method in BY_NUMBER[2].methods}


def deviations(table: PublishedTable) -> list[Erratum]:
    """The printed means that don't follow from the printed cells."""
    found = []
    for figure in table.figures:
        if figure.mean == "rows":
            cells = [each for each in table.figures if each is not figure]
        else:
            cells = table.benchmarks(figure.mean) if figure.mean else []
        # Table 4 prints three of the image benchmarks beside means over all.
        if not figure.mean or not cells:
            continue
        # Cells of a mean of means are rounded themselves.
        tolerance = ROUNDING + (0.005 if figure.mean == "rows" else 0)
        for place, method in enumerate(table.methods):
            value = mean([each.values[place] for each in cells])
            if abs(value - figure.values[place]) > tolerance:
                found.append(erratum(figure.row, method.name, figure.values[place], round(value, 3)))
    return found


def test_there_are_the_papers_tables_with_their_source() -> None:
    assert list(BY_NUMBER) == list(range(2, 12))
    for number, table in BY_NUMBER.items():
        assert table.source == f"arXiv 2510.23095v3, Table {number}"
        assert CONTENT[number]["unit"] in ("out of 100", "percent")
        assert all(len(each.values) == len(table.methods) for each in table.figures)
        assert all(0 <= value <= 100 for each in table.figures for value in each.values)


@pytest.mark.parametrize("number", [2, 5, 8, 9, 10, 11])
def test_printed_means_follow_from_the_cells_but_for_those_named(number: int) -> None:
    table = BY_NUMBER[number]
    assert sum(1 for each in table.figures if each.mean) == (3 if number not in (9,) else 1)
    named = [each for each in CONTENT[number]["errata"] if each["row"] != IMAGE_STAR]
    assert deviations(table) == named


def test_the_one_mean_of_table_2_that_is_off() -> None:
    """CircleRoPE, Video: the mean of its cells is 51.083, printed is 51.09."""
    assert CONTENT[2]["errata"] == [erratum("Video", "CircleRoPE", 51.09, 51.083)]
    assert [number for number, content in CONTENT.items() if content["errata"]] == [2, 5]


def test_the_image_column_of_tables_4_5_and_8() -> None:
    """It leaves BLINK out; Table 5's Multi-Head does not follow from Table 2, and is named."""
    ours = image_star()
    four, five, eight = (column(BY_NUMBER[number], IMAGE_STAR) for number in (4, 5, 8))
    assert four["vanilla RoPE"] == pytest.approx(ours["Vanilla RoPE"], abs=0.011)
    assert four["+ 3D + spatial-reset"] == five["Interleave"] == eight["24:20:20"]
    assert five["Interleave"] == pytest.approx(ours["MRoPE-I"], abs=0.011)
    (found,) = CONTENT[5]["errata"]
    assert found == erratum(IMAGE_STAR, "Multi-Head", five["Multi-Head"], round(ours["MHRoPE"], 2))
    assert abs(found["printed"] - found["recomputed"]) > 0.5


def test_tables_repeat_each_other_where_they_should() -> None:
    two, three, four = BY_NUMBER[2], BY_NUMBER[3], BY_NUMBER[4]
    for size, number in (("4B", 10), ("8B", 11)):
        for category in ("Image", "Video", "Grounding"):
            repeated = column(three, f"Qwen3-VL-{size} {category}")
            assert repeated == column(BY_NUMBER[number], category)
    for name, other in (("vanilla RoPE", "Vanilla RoPE"), ("+ 3D + spatial-reset", "MRoPE-I")):
        for row in ("Video", "Grounding", "DocVQA", "InfoVQA", "ChartQA"):
            assert column(four, row)[name] == column(two, row)[other]
    for row in ("DocVQA", "InfoVQA", "ChartQA"):
        assert column(four, row)["+ diagonal layout"] == column(two, row)["VideoRoPE"]
    for row in ("MVBench", "STAR", "VideoMME", "LVBench", "MLVU", "Charades-STA", "Video"):
        assert column(BY_NUMBER[9], row)["1"] == column(two, row)["MRoPE-I"]


def test_rows_and_measures_are_those_of_the_tasks() -> None:
    wide = [BY_NUMBER[number] for number in (2, 10, 11)]
    for table in wide:
        for category, rows in PAPER_ROWS.items():
            assert {each.row for each in table.benchmarks(category)} == set(rows)
    for info in declared():
        if info.paper_row:
            (figure,) = [each for each in wide[0].benchmarks() if each.row == info.paper_row]
            assert figure.metric == load_task(info.name).metric.name
            assert figure.category == info.category


def test_variants_are_those_of_the_ablations() -> None:
    for number, rows in ((4, "table4"), (5, "table5"), (6, "table6"), (8, "table8"), (9, "table9")):
        methods = BY_NUMBER[number].methods
        assert [method.rope for method in methods] == list(ABLATIONS[rows].values())
    for table in tables():
        for method in table.methods:
            assert table.name is None or parse_variant(method.rope or "")


def test_the_cells_are_those_of_the_transcription(shared: Path) -> None:
    """An independent copy of seven tables."""
    copy: dict[str, Any] = json.loads((shared / "specs" / "paper_tables.json").read_text())
    for number, key in ((2, "table2_qwen2.5vl_7b"), (10, "table10_qwen3vl_4b"), (11, "table11_qwen3vl_8b")):
        table = BY_NUMBER[number]
        for category in PAPER_ROWS:
            cells = {each.row: list(each.values) for each in table.benchmarks(category)}
            assert cells == copy[key][category]
            assert list(column(table, category.capitalize()).values()) == copy[key]["reported"][category]
    for number, key in ((5, "table5_freq_alloc"), (8, "table8_ratio"), (9, "table9_stride")):
        *rows, overall = BY_NUMBER[number].figures
        assert [list(each) for each in zip(*(row.values for row in rows), strict=True)] == list(
            copy[key]["rows"].values()
        )
        assert list(overall.values) == copy[key]["reported_overall"]


def test_every_name_loads_its_table() -> None:
    names = [each.name for each in tables() if each.name]
    assert len(names) == len(set(names)) == 8
    assert [load_reference(name).name for name in names] == names


def test_a_mean_over_fewer_rows_is_no_mean() -> None:
    assert unweighted([50.0, None]) is None
    assert unweighted([50.0, float("nan")]) is None
    assert unweighted([]) is None
