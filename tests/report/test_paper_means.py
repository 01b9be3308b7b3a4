"""The published means, recomputed from the published cells by the function that the tables use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.report.aggregate import unweighted

TABLES = ("table2_qwen2.5vl_7b", "table10_qwen3vl_4b", "table11_qwen3vl_8b")
CATEGORIES = {"image": 11, "video": 6, "grounding": 8}
# Printed means have two decimals, and so do the cells that they are recomputed from.
ROUNDING = 0.005 + 1e-9
# CircleRoPE, Video: the mean of its cells is 51.083, printed is 51.09.
EXCEPTION = ("table2_qwen2.5vl_7b", "video", "CircleRoPE")
# The Image column of Tables 4, 5 and 8 for the variants that stand in Table 2 as well.
IMAGE_STAR = {"Vanilla RoPE": 65.69, "MRoPE": 65.18, "VideoRoPE": 60.65, "MRoPE-I": 66.65}


@pytest.fixture(scope="module")
def tables(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "specs" / "paper_tables.json").read_text())
    return found


def mean(values: list[float]) -> float:
    found = unweighted(values)
    assert found is not None
    return found


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("table", TABLES)
def test_category_means(tables: dict[str, Any], table: str, category: str) -> None:
    rows = tables[table][category]
    assert len(rows) == CATEGORIES[category]
    for place, method in enumerate(tables["methods"]):
        found = mean([row[place] for row in rows.values()])
        printed = tables[table]["reported"][category][place]
        if (table, category, method) == EXCEPTION:
            assert (round(found, 3), printed) == (51.083, 51.09)
        else:
            assert abs(found - printed) <= ROUNDING, (method, found, printed)


@pytest.mark.parametrize("table", ["table5_freq_alloc", "table8_ratio", "table9_stride"])
def test_overall_is_the_mean_of_means(tables: dict[str, Any], table: str) -> None:
    rows = list(tables[table]["rows"].values())
    for row, printed in zip(rows, tables[table]["reported_overall"], strict=True):
        assert abs(mean(row) - printed) <= ROUNDING + 0.005  # the cells are means rounded themselves


def test_the_image_column_of_tables_4_5_and_8(tables: dict[str, Any]) -> None:
    """Eleven values too, but without BLINK, and with MMBench twice (English and Chinese)."""
    rows = tables["table2_qwen2.5vl_7b"]["image"]
    chosen = [*(cells for name, cells in rows.items() if name != "BLINK"), rows["MMBench_avg"]]
    assert len(chosen) == 11
    for method, printed in IMAGE_STAR.items():
        place = tables["methods"].index(method)
        assert mean([cells[place] for cells in chosen]) == pytest.approx(printed, abs=0.011)
    interleave = tables["table5_freq_alloc"]["rows"]["Interleave"][0]
    assert interleave == tables["table8_ratio"]["rows"]["24:20:20"][0] == IMAGE_STAR["MRoPE-I"]


def test_a_mean_over_fewer_rows_is_no_mean() -> None:
    assert unweighted([50.0, None]) is None
    assert unweighted([50.0, float("nan")]) is None
    assert unweighted([]) is None
