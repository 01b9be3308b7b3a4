"""Runs and comparisons as pandas frames."""

from __future__ import annotations

import pandas as pd
import pytest

from evalkit import compare, evaluate
from evalkit.report.comparison import Comparison
from evalkit.scoring.finalize import RunResult
from evalkit.store import RunDir


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    run = tmp_path_factory.mktemp("run") / "run"
    tasks = ["mini_docvqa", "mini_refcoco"]
    return evaluate(["mock:fixed=A", "mock:fail=-0"], tasks, output=run, limit=12, workers=0)


def test_records_are_rows(outcome: RunResult) -> None:
    frame = outcome.to_pandas()
    pd.testing.assert_frame_equal(frame, RunDir.open(outcome.run.path).to_pandas())
    assert len(frame) == len(outcome.records)
    for (_, row), record in zip(frame.iterrows(), outcome.records, strict=True):
        for name in (
            "arm",
            "task",
            "sample_id",
            "cluster_id",
            "raw",
            "error",
            "reference",
            "flags",
            "key",
        ):
            assert row[name] == getattr(record, name)
        assert row["new_tokens"] == len(record.token_ids)
        assert record.score is not None
        assert pd.isna(row["score"]) if record.score.value is None else row["score"] == record.score.value
    assert frame["score"].dtype == float
    assert frame["index"].dtype == int
    failed = frame[frame["error"].notna()]
    assert len(failed) == outcome.failed > 0
    assert failed["score"].isna().all()
    assert set(failed["flags"]) == {("error",)}


def test_cells_of_a_comparison_are_rows(outcome: RunResult) -> None:
    found = compare(outcome.run.path, baseline="mock:fixed=A@mrope")
    frame = found.to_pandas()
    assert len(frame) == 4
    for _, row in frame.iterrows():
        cell = found.cells[row["arm"]][row["task"]]
        values = (cell.estimate.value, cell.estimate.low, cell.estimate.high, cell.estimate.n)
        assert tuple(row[["score", "low", "high", "n"]]) == pytest.approx(values, nan_ok=True)
        assert (row["expected"], row["error"], row["complete"]) == (12, cell.counts["error"], cell.whole)
        if row["arm"] == found.baseline:
            assert pd.isna(row["difference"])
        else:
            known = found.differences[row["arm"]].get(row["task"])
            if known is None:  # they share no sample that both answered
                assert pd.isna(row["difference"])
                continue
            assert row["difference"] == pytest.approx(known.value, nan_ok=True)
            assert row["difference_p"] == pytest.approx(known.p, nan_ok=True)
    assert set(frame["baseline"]) == {"mock:fixed=A@mrope"}
    assert "difference" not in compare(outcome.run.path).to_pandas()


def test_nothing_is_an_empty_frame() -> None:
    assert Comparison([], [], {}).to_pandas().empty
