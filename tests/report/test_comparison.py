"""Aggregation and tables: nothing dropped, nothing averaged over fewer, nothing compared unlike."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from evalkit.core.errors import UsageError
from evalkit.core.types import Category, MediaInfo
from evalkit.metrics import letters
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Score
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.mmmu import MmmuAccuracy
from evalkit.report import grid, tables
from evalkit.report.aggregate import BenchmarkColumn, Cell, make_cell
from evalkit.report.comparability import (
    check_comparable,
    protocol_differences,
    refuse_differences,
    restrict_to_shared,
    scoring_differences,
)
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.differences import find_arm, pairs, with_differences
from evalkit.report.intervals import interval
from evalkit.report.latex import latex
from evalkit.report.notes import footnotes
from evalkit.report.paired import Difference, ScorePair, difference
from evalkit.store import Record, Scoring, TaskEntry

IMAGE = MediaInfo("image", "ab12", (640, 480), (644, 476), 391)


def record(number: int, value: float | None = 1.0, **fields: object) -> Record:
    plain = Record(
        arm="tiny@mrope",
        model="tiny",
        rope="mrope",
        task="doc",
        sample_id=str(number),
        index=number,
        key=f"key{number}",
        cluster_id=str(number),
        prompt="<image>What?",
        reference="x",
        raw="x",
        finish_reason="stop" if value is not None else "error",
        groups={"type": "form" if number % 2 else ("table", "form")},
        media=(IMAGE,),
        score=Score(value),
        flags=() if value is not None else ("error",),
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def column(
    task: str = "doc", category: Category = "image", limits: tuple[float, float] = (0, 1)
) -> BenchmarkColumn:
    return BenchmarkColumn(task, category, task.upper(), "anls", limits)


def cell(
    values: Sequence[float | None], *, arm: str = "tiny@mrope", task: str = "doc", expected: int = 0
) -> Cell:
    records = [record(number, value) for number, value in enumerate(values)]
    return make_cell(arm, column(task), records, expected or len(values), Anls())


def comparison(**scores: dict[str, Cell]) -> Comparison:
    columns = [column("doc"), column("chart"), column("clip", "video")]
    arms = [Arm(name, "tiny", name.split("@")[-1], "qwen2_5_vl", "f" * 8, "run") for name in scores]
    return Comparison(arms, columns, scores)


def test_failed_samples_are_neither_zero_nor_dropped() -> None:
    found = cell([1.0, 0.5, None, None])
    assert (found.estimate.value, found.estimate.n, found.expected) == (0.75, 2, 4)
    assert found.counts["error"] == 2
    assert not found.whole
    assert grid.score_text(found, column()) == "75.0*"


def test_samples_that_never_ran_are_missed() -> None:
    found = cell([1.0, 1.0], expected=5)
    assert (found.estimate.n, found.expected, found.whole) == (2, 5, False)
    assert cell([1.0, 1.0]).whole


def test_rates_count_samples_not_flags() -> None:
    flags = [("truncated", "empty"), ("empty",), ("unparsed", "repeating"), ()]
    records = [record(number, flags=each) for number, each in enumerate(flags)]
    found = make_cell("a", column(), records, 4, Anls())
    assert found.counts == {
        "error": 0,
        "truncated or empty": 2,
        "truncated in reasoning": 0,
        "unparsed": 1,
        "repeating": 1,
    }


def test_breakdowns_have_n_and_an_interval() -> None:
    found = cell([1.0, 0.0, 1.0, None])
    assert {label: (each.value, each.n) for label, each in found.breakdown["type"].items()} == {
        "form": (pytest.approx(2 / 3), 3),
        "table": (1.0, 2),
    }
    assert all(0 <= each.low < each.high <= 1 for each in found.breakdown["type"].values())
    assert found.figures["anls/type/form"] == found.breakdown["type"]["form"].value


def test_nothing_scored_at_all() -> None:
    for found in (cell([None, None]), cell([], expected=3)):
        assert math.isnan(found.estimate.value)
        assert found.estimate.n == 0
        assert grid.score_text(found, column()) == grid.MISSING
        assert grid.interval_text(found.estimate, column()) == ""
    json.dumps(comparison(**{"a@mrope": {"doc": cell([None])}}).to_json(), allow_nan=False)


def test_the_authors_own_figures_are_kept() -> None:
    records = [
        record(0, 1.0, score=Score(1.0, parsed="A")),
        record(1, 0.0, score=Score(0.0, parse_error="none")),
    ]
    found = make_cell("a", column(), records, 2, MultipleChoice(letters.video_mme, answered=True))
    assert (found.figures["acc"], found.figures["official_acc"]) == (0.5, 1.0)


def test_means_are_unweighted_and_never_over_fewer_rows() -> None:
    doc, chart, clip = cell([1.0] * 9), cell([0.0], task="chart"), cell([0.5] * 4, task="clip")
    whole = comparison(**{"a@mrope": {"doc": doc, "chart": chart, "clip": clip}})
    assert whole.means("a@mrope") == {"image": 0.5, "video": 0.5, "overall": 0.5}
    for cells in (
        {"doc": doc, "clip": clip},
        {"doc": doc, "chart": cell([1.0, None], task="chart"), "clip": clip},
    ):
        means = comparison(**{"a@mrope": cells}).means("a@mrope")
        assert means == {"image": None, "video": 0.5, "overall": None}


def test_scores_of_another_range_are_scaled_before_they_are_averaged() -> None:
    columns = [column("doc"), column("ocr", limits=(0, 1000))]
    cells = {"doc": cell([0.5]), "ocr": replace(cell([1.0], task="ocr"))}
    ocr = make_cell("a", columns[1], [record(0, 700.0, task="ocr")], 1, Anls())
    table = Comparison([], columns, {"a": {**cells, "ocr": ocr}})
    assert table.means("a")["image"] == pytest.approx(0.6)
    assert grid.score_text(ocr, columns[1]) == "700.0"


def drawn(table: Comparison) -> str:
    console = Console(width=200, file=io.StringIO(), force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(tables.terminal(table, 200))
    return captured.get()


def two_arms() -> Comparison:
    cells = {
        "doc": cell([1.0, 0.0, 1.0, 1.0]),
        "chart": cell([1.0, 0.0], task="chart"),
        "clip": cell([0.0, 1.0], task="clip"),
    }
    worse = {"doc": cell([0.0, 0.0, 1.0, None], arm="tiny@mrope-i"), "chart": cell([0.0, 1.0], task="chart")}
    return comparison(**{"tiny@mrope": cells, "tiny@mrope-i": worse})


def test_the_terminal_shows_scores_intervals_means_and_footnotes() -> None:
    text = drawn(two_arms())
    for shown in (
        "tiny@mrope-i",
        "75.0",
        "33.3*",
        "30.1–95.4",
        "mean of 2",
        "62.5",
        "partial",
        "mean of categories",
    ):
        assert shown in text, text
    assert "tiny@mrope-i: samples without a score: doc 1 of 4" in text
    assert "tiny@mrope-i: not run: clip" in text
    assert re.search(r"share of answers\s+error\s", text)
    assert re.search(r"tiny@mrope-i\s+16.7% \(doc 25.0%\)", text)
    assert "95% intervals" in text


def test_names_are_never_read_as_markup() -> None:
    cells = {"[red]x@mrope": {"doc": cell([1.0])}}
    assert "[red]x@mrope" in drawn(comparison(**cells))


def test_markdown_has_the_paper_s_rows_best_in_bold_and_second_underlined() -> None:
    text = tables.markdown(two_arms())
    rows = [line for line in text.partition("\n\n")[0].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert rows[0] == "| benchmark | tiny@mrope | tiny@mrope-i |"
    assert rows[2] == "| image: doc | **75.0** (30.1–95.4) (n = 4) | <ins>33.3*</ins> (6.1–79.2) (n = 3) |"
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "image: doc",
        "image: chart",
        "*image: mean of 2*",
        "video: clip",
        "*overall: mean of categories*",
    ]
    assert rows[3].count("**") == 0  # all equal: none is best
    assert rows[4].endswith("| partial |")


def test_latex_can_be_pasted() -> None:
    table = two_arms()
    arms = [replace(arm, name=f"{arm.name}_100%") for arm in table.arms]
    cells = {f"{name}_100%": found for name, found in table.cells.items()}
    text = latex(replace(table, arms=arms, cells=cells))
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert body[0] == r"\begin{tabular}{llrr}"
    assert body[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert r"tiny@mrope\_100\%" in body[2]
    assert r"Image & doc & \textbf{75.0} (n = 4) & \underline{33.3*} (n = 3) \\" in body
    rows = [line for line in body if line.endswith(r"\\")]
    assert {line.count(" & ") for line in rows} == {3}
    assert text.count("{") == text.count("}")


def test_html_escapes_everything() -> None:
    cells = {"<script>alert(1)</script>@mrope": {"doc": cell([1.0])}}
    text = tables.html(comparison(**cells), breakdown=True)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("<tr") == text.count("</tr>")


def paired_arms() -> tuple[Comparison, dict[str, dict[str, list[Record]]]]:
    """Two arms of which the second is better on `doc` beyond doubt, and like the first on `chart`."""
    rng = np.random.default_rng(1)
    base = [float(right) for right in rng.random(300) < 0.4]
    better = [max(value, float(rng.random() < 0.3)) for value in base]
    found = {
        "tiny@mrope": {"doc": [record(n, v) for n, v in enumerate(base)]},
        "tiny@mrope-i": {"doc": [record(n, v, arm="tiny@mrope-i") for n, v in enumerate(better)]},
    }
    for arm in found:
        found[arm]["chart"] = [record(n, v, arm=arm, task="chart") for n, v in enumerate(base[:100])]
    columns = [column("doc"), column("chart")]
    cells = {
        arm: {c.task: make_cell(arm, c, tasks[c.task], len(tasks[c.task]), Anls()) for c in columns}
        for arm, tasks in found.items()
    }
    return Comparison(ARMS, columns, cells), found


def test_differences_by_label_are_computed_when_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    table, records = paired_arms()
    computed: list[int] = []

    def counted(found: list[ScorePair]) -> Difference | None:
        computed.append(len(found))
        return difference(found)

    monkeypatch.setattr("evalkit.report.differences.difference", counted)
    found = with_differences(table, records, lambda arm, task: Anls(), "mrope")
    assert computed == [300, 100]
    drawn(found)
    assert computed == [300, 100]
    parts = found.parts["tiny@mrope-i"]
    assert ("no task", "type", "form") not in parts
    assert computed == [300, 100]
    labels = [("doc", "type", "form"), ("chart", "type", "form")]
    assert [place for place in parts if place in labels] == labels
    assert len(parts) == len(list(parts)) == len(computed) - 2
    tables.csv(found)
    assert len(parts) == len(computed) - 2  # each once


def test_differences_to_a_baseline() -> None:
    table, records = paired_arms()
    found = with_differences(table, records, lambda arm, task: Anls(), "mrope")
    assert found.baseline == "tiny@mrope"
    assert set(found.differences) == {"tiny@mrope-i"}
    doc, chart = (found.differences["tiny@mrope-i"][task] for task in ("doc", "chart"))
    gain = table.cells["tiny@mrope-i"]["doc"].estimate.value - table.cells["tiny@mrope"]["doc"].estimate.value
    assert doc.value == pytest.approx(gain)
    assert doc.significant
    assert doc.corrected == pytest.approx(2 * doc.p)  # Holm over two benchmarks
    assert (chart.value, chart.discordant, chart.significant) == (0.0, 0, False)
    assert found.parts["tiny@mrope-i"]["doc", "type", "form"].significant
    value, low, high = found.mean_differences["tiny@mrope-i"]["image"]
    assert value == pytest.approx(gain / 2)
    assert low < value < high
    assert found.mean_differences["tiny@mrope-i"]["overall"] == (value, low, high)
    shown = drawn(found)
    assert f"{100 * gain:+.1f}*" in shown
    assert "+0.0" in shown
    assert "differences are to tiny@mrope" in shown
    assert "smallest difference that 80%" in shown
    assert f"{100 * gain:+.1f}*" in tables.markdown(found)
    assert f"$_{{{100 * gain:+.1f}*}}$" in latex(found)
    row = next(row for row in csv.DictReader(io.StringIO(tables.csv(found))) if row["arm"] == "tiny@mrope-i")
    assert float(row["difference"]) == pytest.approx(gain)
    stored = found.to_json()
    assert stored["arms"][1]["differences"]["doc"]["p"] == doc.p
    json.dumps(stored, allow_nan=False)


def test_a_question_is_paired_with_all_its_rotations() -> None:
    def rotations(values: Sequence[float]) -> list[Record]:
        groups = [{"links": {"circular_group": str(n // 2)}} for n in range(len(values))]
        return [record(n, v, meta=groups[n], cluster_id=str(n // 2)) for n, v in enumerate(values)]

    found = pairs(CircularAccuracy(), rotations([1, 1, 1, 0]), rotations([1, 0, 1, 1]))
    assert [(pair.first, pair.second) for pair in found] == [(1.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize(("name", "full"), [("tiny@mrope", "tiny@mrope"), ("mrope-i", "tiny@mrope-i")])
def test_an_arm_goes_by_its_name_or_variant(name: str, full: str) -> None:
    assert find_arm(ARMS, name).name == full


@pytest.mark.parametrize(
    ("name", "why"), [("tiny", "several"), ("vanilla", "there is none"), ("tiny@m", "several")]
)
def test_an_arm_that_is_not_clear_is_refused(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        find_arm(ARMS, name)


def test_other_protocols_are_refused() -> None:
    one = TaskEntry(
        name="doc", title="Doc", category="image", metric="anls", range=(0.0, 1.0), max_new_tokens=32
    )
    two = one.model_copy(update={"max_new_tokens": 64})
    refuse_differences(protocol_differences([("a", one), ("b", one)]), "fix")
    with pytest.raises(UsageError, match="limit of new tokens differs: 32 and 64"):
        refuse_differences(protocol_differences([("a", one), ("b", two)]), "fix")
    with pytest.raises(UsageError, match="--reasoning"):
        refuse_differences(scoring_differences({"a": Scoring(), "b": Scoring(reasoning="none")}), "fix")


def test_what_is_shared_can_be_compared() -> None:
    records = {
        "tiny@mrope": {"doc": [record(n) for n in range(5)]},
        "tiny@mrope-i": {"doc": [record(n, prompt="Who?") for n in range(2, 9)]},
    }
    notes = restrict_to_shared(ARMS, records)
    assert [[each.sample_id for each in tasks["doc"]] for tasks in records.values()] == [["2", "3", "4"]] * 2
    assert notes[0] == "tiny@mrope doc: only the 3 of its 5 samples that all arms have"
    assert "asked with different prompts" in notes[2]


def test_csv_has_full_precision_and_every_breakdown() -> None:
    rows = list(csv.DictReader(io.StringIO(tables.csv(two_arms()))))
    found = next(
        row for row in rows if row["arm"] == "tiny@mrope-i" and row["task"] == "doc" and not row["group"]
    )
    assert float(found["value"]) == 1 / 3
    assert (found["n"], found["expected"], found["error"]) == ("3", "4", "1")
    assert {row["label"] for row in rows if row["group"] == "type"} == {"form", "table"}
    assert "image" in {row["category"] for row in rows}


ARMS = [Arm(f"tiny@{name}", "tiny", name, "qwen2_5_vl", "f", "run") for name in ("mrope", "mrope-i")]


def compare(first: Sequence[Record], second: Sequence[Record], arms: Sequence[Arm] = ARMS) -> str:
    try:
        check_comparable(arms, {arms[0].name: {"doc": first}, arms[1].name: {"doc": second}})
    except UsageError as error:
        return str(error)
    return ""


def test_the_same_questions_compare() -> None:
    assert compare([record(0), record(1)], [record(1, 0.0, raw="y"), record(0)]) == ""
    assert compare([record(0)], []) == ""


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (record(0, prompt="<image>Who?"), "sample `0` was asked with different prompts"),
        (record(0, media=(replace(IMAGE, digest="ff"),)), "different media"),
        (record(0, media=(replace(IMAGE, input_size=(28, 28)),)), "different media"),
        (record(0, media=(replace(IMAGE, kind="video", frames=(0, 1)),)), "different media"),
        (record(0, media=()), "different media"),
        (record(0, reference="z"), "different references"),
        (record(7), "2 samples are in one of them only, such as `0`"),
    ],
)
def test_unlike_questions_are_refused_and_named(other: Record, why: str) -> None:
    text = compare([record(0)], [other])
    assert why in text
    assert "`tiny@mrope` (run) and `tiny@mrope-i` (run) can't be compared on doc" in text


def test_a_failed_sample_does_not_forbid_a_comparison() -> None:
    assert compare([record(0)], [record(0, None, media=())]) == ""


def test_families_may_word_their_prompts_differently() -> None:
    arms = [ARMS[0], replace(ARMS[1], family="llava")]
    assert compare([record(0)], [record(0, prompt="USER: What?")], arms) == ""
    assert compare([record(0)], [record(0, reference="z")], arms)


def test_an_official_draw_stands_beside_ours() -> None:
    options = {"A": "red", "B": "green"}
    records = [
        record(n, 0.0, raw=raw, reference="B", meta={"options": options}, score=score)
        for n, (raw, score) in enumerate(
            [("B", Score(1.0, "B")), ("hm", Score(0.0, parse_error="no option was chosen"))] * 8
        )
    ]
    cells = [make_cell("a", column(), records, 16, MmmuAccuracy(), seed) for seed in (None, 42, 1, 1)]
    assert {found.figures["acc"] for found in cells} == {0.5}
    assert cells[0].figures == cells[1].figures  # the official script's own seed
    assert cells[2].figures == cells[3].figures
    assert cells[0].figures["official_acc"] > 0.5
    notes = footnotes(comparison(**{"a@mrope": {"doc": cells[1]}}))
    assert any(
        f"official_acc: a@mrope {100 * cells[1].figures['official_acc']:.1f}" in note for note in notes
    )


def test_a_figure_over_questions_has_an_interval_over_questions() -> None:
    records = [
        record(n, value, meta={"links": {"circular_group": str(n // 2)}}, cluster_id=str(n // 2))
        for n, value in enumerate([1.0, 1.0, 1.0, 0.0] * 10)
    ]
    found = make_cell("a", column(), records, 40, CircularAccuracy())
    assert found.figures["acc"] == 0.75
    assert found.estimate.value == 0.5
    assert (found.estimate.low, found.estimate.high) == interval([1.0, 0.0] * 10, list(map(str, range(20))))


def test_weights_count_in_intervals() -> None:
    values, clusters = [1.0, 0.0, 1.0, 1.0], ["a", "b", "c", "d"]
    plain = interval(values, clusters)
    assert interval(values, clusters, weights=[2.0] * 4) == plain
    low, high = interval(values, clusters, weights=[1.0, 3.0, 1.0, 1.0])
    assert low < 0.5 < high
    assert low + high == pytest.approx(1.0) or low == 0.0 or high == 1.0
