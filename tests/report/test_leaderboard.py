"""The leaderboard CSV: stable, idempotent, lossless."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from evalkit.core.errors import UsageError
from evalkit.core.types import Category
from evalkit.report.aggregate import BenchmarkColumn, Cell, Estimate
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.leaderboard.check import unsupported
from evalkit.report.leaderboard.page import leaderboard_page
from evalkit.report.leaderboard.table import FIXED, LeaderboardSource, leaderboard_rows, read, write

CATEGORY: dict[str, Category] = {"doc": "image", "chart": "image", "clip": "video", "ref": "grounding"}


def facts(
    scores: dict[str, float], rope: str = "mrope", protocol: str = "full", n: int = 4, model: str = "tiny"
) -> LeaderboardSource:
    """A run of one arm; a score of -1 means that the task was not run."""
    name = f"{model}@{rope}"
    columns = [BenchmarkColumn(task, CATEGORY[task], task, "acc", (0.0, 1.0)) for task in scores]
    cells = {
        task: Cell(name, task, Estimate(value, 0.0, 1.0, n), expected=4)
        for task, value in scores.items()
        if value >= 0
    }
    arm = Arm(name, model, rope, "qwen2_5_vl", "abc", "run")
    comparison = Comparison([arm], columns, {name: cells})
    return LeaderboardSource(comparison, protocol, "0.1.0", "2026-11-23", dict.fromkeys(scores, "main"))


def board(path: Path, *runs: LeaderboardSource) -> pd.DataFrame:
    for run in runs:
        write(path, leaderboard_rows(run))
    return read(path)


def test_columns_are_in_the_documented_order_and_scores_exact(tmp_path: Path) -> None:
    path = tmp_path / "new" / "board.csv"
    table = board(path, facts({"doc": 1 / 3, "clip": 0.1 + 0.2, "chart": 2 / 3}))
    assert list(table.columns) == [*FIXED, "chart", "clip", "doc"]
    row = table.iloc[0]
    assert (row["doc"], row["clip"], row["chart"]) == (1 / 3, 0.1 + 0.2, 2 / 3)
    assert (row["image"], row["video"], row["overall"]) == (0.5, 0.1 + 0.2, (0.5 + (0.1 + 0.2)) / 2)
    assert pd.isna(row["grounding"])
    assert row["n"] == 12
    assert json.loads(row["revisions"]) == {"doc": "main", "clip": "main", "chart": "main"}


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    runs = [
        facts({"doc": 1 / 3, "clip": 1 / 7}),
        facts({"doc": 0.2}, "mrope-i"),
        facts({"doc": 0.3}, protocol="limit-8"),
    ]
    board(path, *runs)
    first = path.read_bytes()
    board(path, *runs, *runs[::-1])
    assert path.read_bytes() == first
    board(tmp_path / "other.csv", *runs[::-1])
    assert (tmp_path / "other.csv").read_bytes() == first


def test_runs_over_different_tasks_gather_in_one_row(tmp_path: Path) -> None:
    table = board(
        tmp_path / "board.csv",
        facts({"doc": 0.5, "chart": 0.7}),
        facts({"clip": 0.2}),
        facts({"ref": 0.9, "doc": 0.6}),
    )
    assert len(table) == 1
    row = table.iloc[0]
    assert [row[task] for task in ("doc", "chart", "clip", "ref")] == [0.6, 0.7, 0.2, 0.9]
    assert row["image"] == pytest.approx(0.65)
    assert row["overall"] == pytest.approx((0.65 + 0.2 + 0.9) / 3)
    assert (row["n"], sorted(json.loads(row["tasks"]))) == (16, ["chart", "clip", "doc", "ref"])


def test_a_task_that_was_not_run_takes_nothing_away(tmp_path: Path) -> None:
    row = board(
        tmp_path / "board.csv", facts({"doc": 0.5, "clip": 0.1}), facts({"doc": -1, "clip": 0.2})
    ).iloc[0]
    assert (row["doc"], row["clip"], row["image"]) == (0.5, 0.2, 0.5)


def test_a_mean_is_empty_where_a_task_is_missing_or_incomplete(tmp_path: Path) -> None:
    for number, run in enumerate((facts({"doc": 0.5, "chart": -1, "clip": 0.1}), facts({"doc": 0.5}, n=3))):
        row = board(tmp_path / f"{number}.csv", run).iloc[0]
        assert pd.isna(row["image"])
        assert pd.isna(row["overall"])
        assert row["doc"] == 0.5


def test_protocols_variants_and_checkpoints_have_rows_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    table = board(
        path, facts({"doc": 0.1}), facts({"doc": 0.2}, protocol="limit-8"), facts({"doc": 0.3}, "vanilla")
    )
    assert sorted(table["doc"]) == [0.1, 0.2, 0.3]


def test_models_may_have_any_name(tmp_path: Path) -> None:
    names = ["nan", "NA", "null", "a,b", 'x"y', "007", "ü"]
    table = board(tmp_path / "board.csv", *(facts({"doc": 0.1}, model=name) for name in names))
    assert sorted(table["model"]) == sorted(names)


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "board.csv"
    damaged = ",".join(FIXED) + ",doc\n1" + "," * (len(FIXED) - 1) + ",x\n"
    for text in (damaged, "", "a,b\n1,2\n", "schema,model\n1,x\n", "\x00"):
        path.write_text(text)
        with pytest.raises(UsageError):
            write(path, leaderboard_rows(facts({"doc": 0.5})))
        assert path.read_text() == text
    with pytest.raises(UsageError):
        read(tmp_path)


def test_no_rows_write_an_empty_table(tmp_path: Path) -> None:
    assert write(tmp_path / "board.csv", []) == 0
    assert list(read(tmp_path / "board.csv").columns) == list(FIXED)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, list[LeaderboardSource]]:
    runs = [facts({"doc": 1 / 3, "clip": 0.5}), facts({"ref": 0.25}), facts({"doc": 0.5}, "mrope-i")]
    board(tmp_path / "board.csv", *runs)
    return tmp_path / "board.csv", runs


def problems(path: Path, runs: list[LeaderboardSource]) -> str:
    return "\n".join(unsupported(path, [row for run in runs for row in leaderboard_rows(run)]))


def test_a_leaderboard_of_these_runs_is_supported(two: tuple[Path, list[LeaderboardSource]]) -> None:
    path, runs = two
    assert problems(path, runs) == ""
    assert problems(path, runs[::-1]) == ""


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("doc", 0.9, "score 0.3333333333333333 instead of 0.9"),
        ("ref", float("nan"), "score 0.25 instead of nan"),
        ("overall", 0.99, "overall is 0.99, but"),
        ("image", float("nan"), "image is nan, but 0.3"),
        ("n", 4000, "n is 4000, but 12 follows"),
        ("fingerprint", "other", "have fingerprint abc, not other"),
        ("protocol", "ci", "have protocol full, not ci"),
        ("model", "big", "none of the runs has this model and variant"),
        ("date", "2030-01-01", "no run is of evalkit 0.1.0 and 2030-01-01"),
        ("tasks", "[]", "damaged"),
        ("tasks", "{", "damaged"),
        ("revisions", "{}", "revision main instead of None"),
    ],
)
def test_what_runs_do_not_bear_out_is_refused(
    two: tuple[Path, list[LeaderboardSource]], column: str, value: object, said: str
) -> None:
    path, runs = two
    table = read(path)
    table[column] = table[column].astype(object)
    table.loc[0, column] = value
    table.to_csv(path, index=False)
    found = problems(path, runs)
    assert said in found
    assert "line 2" in found
    assert "line 3" not in found


def test_invented_tasks_and_repeated_rows_are_refused(two: tuple[Path, list[LeaderboardSource]]) -> None:
    path, runs = two
    table = read(path)
    table["mmmu_val"] = [0.99, float("nan")]
    pd.concat([table, table.iloc[1:]]).to_csv(path, index=False)
    found = problems(path, runs)
    assert "mmmu_val has a score but isn't listed" in found
    assert "line 4" in found
    assert "earlier line" in found
    assert "none of the runs has ref" in problems(path, [runs[0], runs[2]])


def test_the_page_has_every_row_the_best_first(two: tuple[Path, list[LeaderboardSource]]) -> None:
    path, _ = two
    board(path, facts({"doc": 0.6}, "<b>x", protocol="ci"))
    page = leaderboard_page(path)
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["heads"] == ["protocol", "model and variant"]
    assert data["columns"] == ["overall", "image", "video", "grounding", "doc", "clip", "ref"]
    assert [(line["category"], line["label"]) for line in data["lines"]] == [
        ("ci · recipe paper", "tiny@<b>x\nabc · 2026-11-23"),
        ("full · recipe paper", "tiny@mrope-i\nabc · 2026-11-23"),
        ("full · recipe paper", "tiny@mrope\nabc · 2026-11-23"),
    ]
    assert "<dt>rows</dt><dd>3</dd><dt>runs of</dt><dd>2026-11-23</dd><dt>evalkit</dt><dd>0.1.0</dd>" in page
    doc = [line["entries"][4] for line in data["lines"]]
    assert [(each["score"], each["rank"]) for each in doc] == [("60.0", 1), ("50.0", 1), ("33.3", 2)]
    assert data["lines"][2]["entries"][0]["rank"] == 1  # alone: the other row has other benchmarks
    assert "<b>x" not in page
