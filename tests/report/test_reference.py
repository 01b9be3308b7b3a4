"""A published table beside one's own: right rows, right figures, and what differs said aloud."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import fork_server
import pytest

from evalkit.core.errors import UsageError
from evalkit.core.registry import PAPER_ROWS
from evalkit.core.types import Category
from evalkit.report.aggregate import BenchmarkColumn, Cell, Estimate
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.notes import footnotes
from evalkit.report.reference import load_reference, with_reference

TABLE2 = load_reference("paper-qwen2.5-vl-7b")
METRICS = {each.row: each.metric or "" for each in TABLE2.benchmarks()}
CLEAN = ("MMStar", "AI2D")  # rows about which the paper leaves nothing open


def column(row: str, task: str = "", metric: str | None = None) -> BenchmarkColumn:
    found = [name for name, rows in PAPER_ROWS.items() if row in rows]
    category: Category = found[0] if found else "image"  # type: ignore[assignment]
    return BenchmarkColumn(
        task or row.lower(), category, row, metric or METRICS.get(row, "acc"), (0.0, 1.0), row
    )


def comparison(
    ropes: dict[str, str], columns: list[BenchmarkColumn], family: str = "qwen2_5_vl"
) -> Comparison:
    arms = [Arm(name, "model", rope, family, "f" * 8, "run") for name, rope in ropes.items()]
    estimate = Estimate(0.5, 0.4, 0.6, 100)
    cells = {
        arm.name: {each.task: Cell(arm.name, each.task, estimate, 100) for each in columns} for arm in arms
    }
    return Comparison(arms, columns, cells)


def beside(table: Comparison, name: str = "paper-qwen2.5-vl-7b", size: int | None = 100) -> Comparison:
    sizes = {arm.name: {each.task: size for each in table.columns} for arm in table.arms}
    return with_reference(table, load_reference(name), sizes)


def test_a_variant_meets_its_row_of_the_paper() -> None:
    found = beside(comparison({"a": "mrope-i", "b": "vanilla"}, [column(row) for row in CLEAN]))
    assert {each.name: dict(each.values) for each in found.published} == {
        "paper Vanilla RoPE": {"MMStar": 49.13, "AI2D": 76.20},
        "paper MRoPE-I": {"MMStar": 51.13, "AI2D": 75.36},
    }
    assert [each.beside for each in found.published] == [("b",), ("a",)]
    assert not any("†" in note for note in footnotes(found))
    assert not any(each.marked for each in found.published)


def test_what_the_paper_has_not_is_named() -> None:
    found = beside(comparison({"a": "grape", "b": "hope"}, [column("MMStar"), column("pope")]))
    assert [each.name for each in found.published] == ["paper HoPE"]
    assert "a: its variant is not in arXiv 2510.23095v3, Table 2" in footnotes(found)
    assert "not in arXiv 2510.23095v3, Table 2: pope" in footnotes(found)
    assert found.published[0].means["image"] is None


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"family": "qwen2_vl"}, "† a is of family qwen2_vl, the paper's of qwen2_5_vl"),
        ({"rope": "mrope-i(spatial_reset=false)"}, "paper MRoPE-I is `mrope-i`"),
        ({"size": 1500}, "† mmstar has 100 of its 1500 samples, the paper has all"),
        ({"metric": "other"}, "† mmstar is other, acc is taken for the paper's"),
        ({"row": "DocVQA"}, "† paper DocVQA: the split is not stated"),
        ({"row": "MMBench_avg"}, "† mmbench_avg is one of 2 that paper MMBench_avg is the mean of"),
    ],
)
def test_each_difference_is_marked_and_said(change: dict[str, str], note: str) -> None:
    row = change.get("row", "MMStar")
    made = comparison(
        {"a": change.get("rope", "mrope-i")},
        [column(row, metric=change.get("metric"))],
        change.get("family", "qwen2_5_vl"),
    )
    found = beside(made, size=int(change.get("size", 100)))
    assert found.published[0].marked == {row}
    (said,) = [text for text in footnotes(found) if note in text]
    assert said.startswith("†")


def test_options_chosen_by_logits_are_a_difference() -> None:
    asked = replace(column("MMStar"), metric="acc by option logits")
    found = beside(comparison({"a": "mrope-i"}, [asked, column("AI2D")]))
    assert found.published[0].marked == {"MMStar"}
    assert "† mmstar is scored by option logits, which the paper doesn't state" in footnotes(found)


def test_an_unknown_size_is_no_difference() -> None:
    assert not beside(comparison({"a": "hope"}, [column("MMStar")]), size=None).published[0].marked


def test_means_are_printed_ones_over_the_same_rows_and_recomputed_over_fewer() -> None:
    video = [column(row) for row in PAPER_ROWS["video"]]
    circle = beside(comparison({"a": "circlerope"}, video)).published[0]
    assert circle.means == {"video": pytest.approx(0.5109), "overall": pytest.approx(0.5109)}
    fewer = beside(comparison({"a": "circlerope"}, video[:2])).published[0]
    assert fewer.means["video"] == pytest.approx((0.5710 + 0.5794) / 2)


def test_ablations_match_by_the_whole_variant() -> None:
    made = comparison({"a": "mrope-i(temporal_stride=2)", "b": "mrope-i"}, [column("LVBench")])
    found = beside(made, "paper-table9")
    assert {each.name: each.values["LVBench"] for each in found.published} == {
        "paper 1": 40.54,
        "paper 2": 38.02,
        "paper Dynamic (delta=1 at inference)": 41.12,
    }
    other = beside(comparison({"a": "mrope-i(temporal_stride=4)"}, [column("LVBench")]), "paper-table9")
    assert other.published == []


def test_without_a_reference_nothing_changes() -> None:
    made = comparison({"a": "mrope"}, [column("DocVQA")])
    assert "published" not in made.to_json()
    assert footnotes(made) == []


def test_an_unknown_name_is_a_usage_error_that_lists_them() -> None:
    with pytest.raises(UsageError) as caught:
        load_reference("paper-qwen2.5-vl")
    assert "Did you mean `paper-qwen2.5-vl-7b`?" in str(caught.value)
    assert "paper-table9" in caught.value.fix


def test_two_tasks_make_one_row_of_the_paper() -> None:
    columns = [column("MMBench_avg", "mmbench_en_dev"), column("MMBench_avg", "mmbench_cn_dev")]
    found = beside(comparison({"a": "mhrope"}, columns))
    assert found.published[0].values == {"MMBench_avg": 75.04}
    assert not any("one of 2" in text for text in footnotes(found))


def test_json_has_the_published_rows_and_what_differs() -> None:
    found = beside(comparison({"a": "mrope", "b": "mrope-i"}, [column("DocVQA"), column("LVBench")]))
    shown = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert shown["published"][1]["values"] == {"DocVQA": 83.72, "LVBench": 40.54}
    assert shown["published"][1]["marked"] == ["DocVQA"]
    assert [arm["name"] for arm in shown["arms"]] == ["a", "b"]
    assert shown["reference_notes"][0].startswith("paper: arXiv 2510.23095v3, Table 2")


def test_the_command_line(tmp_path: Path) -> None:
    """Mini tasks are not the paper's: the table stays, and says so."""
    run = str(tmp_path / "out")
    order = ("--model", "mock:fixed=A", "--rope", "mrope-i", "--tasks", "mini_docvqa", "--limit", "2")
    assert fork_server.evalkit("run", *order, "--output", run, "--workers", "0", "-q").returncode == 0
    done = fork_server.evalkit("compare", run, "--reference", "paper-qwen2.5-vl-7b")
    assert done.returncode == 0, done.stderr
    assert "not in arXiv 2510.23095v3, Table 2: mini_docvqa" in done.stdout
    wrong = fork_server.evalkit("compare", run, "--reference", "paper")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
