"""What a report page draws: grouped differences, intervals on curves, curves of trainings, and its header."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_comparison import column, make_cell, record

from evalkit.config.run_spec import RunSpec
from evalkit.core.types import Category
from evalkit.metrics.anls import Anls
from evalkit.report.about import about_runs
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.curves import measured_curve
from evalkit.report.differences import with_differences
from evalkit.report.intervals import interval
from evalkit.report.plots import (
    breakdowns,
    difference_groups,
    short_names,
    standing_out,
    training_steps,
)
from evalkit.report.results import Results
from evalkit.store import Evaluation, Invocation, Manifest, Protocol, Record, RunDir, SystemEntry, TaskEntry
from evalkit.store.records_table import score_rows

TASKS: dict[str, Category] = {"doc": "image", "chart": "image", "clip": "video"}


def arm(model: str, rope: str) -> Arm:
    return Arm(f"{model}@{rope}", model, rope, "qwen2_5_vl", "f" * 64, "run")


def compared(*arms: Arm, baseline: str | None = None, count: int = 12) -> Comparison:
    """Each arm is right on one sample more of each task than the one before."""
    records = {
        each.name: {
            task: [record(n, float(n < 3 + place), arm=each.name, task=task) for n in range(count)]
            for task in TASKS
        }
        for place, each in enumerate(arms)
    }
    columns = [column(task, category) for task, category in TASKS.items()]
    cells = {
        name: {each.task: make_cell(name, each, tasks[each.task], count, Anls()) for each in columns}
        for name, tasks in records.items()
    }
    found = Comparison(arms, columns, cells)
    return found if baseline is None else with_differences(found, records, lambda *_: Anls(), baseline)


def test_differences_are_grouped_by_category_with_the_means_first() -> None:
    arms = [arm("tiny", rope) for rope in ("mrope", "mrope-i", "mhrope")]
    groups = difference_groups(compared(*arms, baseline="mrope"))
    assert [(group["name"], [panel["title"] for panel in group["panels"]]) for group in groups] == [
        ("means", ["overall", "image"]),
        ("image", ["doc", "chart"]),
        ("video", ["clip"]),
    ]
    for panel in (panel for group in groups for panel in group["panels"]):
        assert [row["arm"] for row in panel["rows"]] == [1, 2]
        assert all(row["low"] <= row["value"] <= row["high"] for row in panel["rows"])
    assert groups[1]["panels"][0]["rows"][1]["value"] == pytest.approx(100 * 2 / 12)
    assert groups[1]["panels"][0]["unit"] == "anls, out of 100"


def test_without_a_baseline_there_are_no_differences() -> None:
    assert difference_groups(compared(arm("tiny", "mrope"), arm("tiny", "mrope-i"))) == []


def test_a_difference_to_an_unreliable_score_is_marked() -> None:
    found = compared(arm("tiny", "mrope"), arm("tiny", "mrope-i"), baseline="mrope")
    base = found.cells["tiny@mrope"]
    doubtful = {"doc": replace(base["doc"], unreliable=("30.0% truncated (limit 20.0%)",))}
    marked = replace(found, cells={**found.cells, "tiny@mrope": {**base, **doubtful}})
    panels = {panel["title"]: panel for group in difference_groups(marked)[1:] for panel in group["panels"]}
    assert [panels[task]["rows"][0]["unreliable"] for task in TASKS] == [True, False, False]


def test_a_curve_has_the_interval_of_each_bin() -> None:
    records = [
        record(n, float(n % 3 > 0), visual_tokens=10 * (1 + n // 20), cluster_id=f"image {n // 2}")
        for n in range(60)
    ]
    (found,) = measured_curve(column(), [[score_rows(records)]], lambda row: row.visual_tokens)
    (curve,) = found["curves"]
    assert [point[0] for point in curve["points"]] == [10.0, 20.0, 30.0]
    for place, (_, value, low, high, count, seeds) in enumerate(curve["points"]):
        part = records[20 * place : 20 * place + 20]
        expected = interval([each.score.value for each in part], [each.cluster_id for each in part])
        assert (low, high) == pytest.approx([100 * bound for bound in expected])
        assert low < value < high
        assert (count, seeds) == (20, [])
    assert (found["unit"], found["limits"]) == ("anls, out of 100", [0, 100])


def test_breakdowns_have_a_value_for_each_arm() -> None:
    (first, *_) = breakdowns(compared(arm("tiny", "mrope"), arm("tiny", "mrope-i")))
    assert (first["title"], first["category"], first["top"]) == ("doc by type", "image", 100)
    assert all(len(row["values"]) == 2 for row in first["rows"])


STEPS = [arm(f"run/checkpoint-{step}", rope) for step in (500, 1000) for rope in ("mrope", "mrope-i")]


def test_checkpoints_of_a_training_are_a_curve_with_intervals() -> None:
    shuffled = [STEPS[2], STEPS[0], STEPS[3], STEPS[1], arm("final", "mrope")]
    comparison = compared(*shuffled)
    found: Any = training_steps(comparison)
    assert (found["trainings"], found["label"]) == (["run@mrope", "run@mrope-i"], "training step")
    assert [panel["title"] for panel in found["panels"]] == ["overall", "mean of image", *TASKS]
    panels = {panel["title"]: panel["curves"] for panel in found["panels"]}
    assert [curve["arm"] for curve in panels["doc"]] == [0, 1]
    ((early, *rest, _, seeds), (late, *_)) = panels["doc"][0]["points"]
    assert (found["left_out"], seeds) == ([], [])
    estimate = comparison.cells["run/checkpoint-500@mrope"]["doc"].estimate
    assert (early, late) == (500, 1000)
    assert rest == pytest.approx([100 * estimate.value, 100 * estimate.low, 100 * estimate.high])
    (_, value, low, high, *_), _ = panels["overall"][0]["points"]
    half = {task: (cell.estimate.high - cell.estimate.low) / 2 for task, cell in
            comparison.cells["run/checkpoint-500@mrope"].items()}  # fmt: skip
    margin = 100 * math.hypot(half["doc"] / 4, half["chart"] / 4, half["clip"] / 2)
    assert (low, high) == pytest.approx((value - margin, value + margin))


@pytest.mark.parametrize(
    ("models", "label"),
    [
        (("RUN/global_step40", "RUN/global_step80"), "training step"),
        (("RUN/epoch_1", "RUN/epoch_2"), "epoch"),
        (("checkpoint-5", "checkpoint-10"), "training step"),
        (("a/checkpoint-5", "b/checkpoint-10"), None),
        (("RUN/checkpoint-5", "RUN"), None),
        (("qwen2-vl", "qwen3-vl"), None),
    ],
)
def test_trainings_are_told_by_what_trainers_call_their_checkpoints(
    models: tuple[str, str], label: str | None
) -> None:
    found = training_steps(compared(*(arm(model, "mrope") for model in models)))
    assert (found and found["label"]) == label


@pytest.mark.parametrize(
    ("arms", "names"),
    [
        ([arm("a-7b", "mrope"), arm("b-7b", "mrope-i")], ["mrope", "mrope-i"]),
        ([arm("a", "mrope"), arm("b", "mrope")], ["a", "b"]),
        (STEPS[:3], ["mrope 500", "mrope-i 500", "mrope 1000"]),
        ([replace(arm("a", "mrope"), name="ours"), arm("b", "mrope-i")], ["ours", "b@mrope-i"]),
        ([arm("a", "x"), arm("a", "y"), arm("b", "x")], ["a@x", "a@y", "b@x"]),
    ],
)
def test_short_names_tell_arms_apart(arms: list[Arm], names: list[str]) -> None:
    assert short_names(arms) == names


def test_of_many_arms_the_baseline_and_the_best_stand_out() -> None:
    arms = [arm("tiny", f"r{n}") for n in range(9)]
    assert standing_out(compared(*arms[:4])) == [0, 1, 2, 3]
    assert standing_out(compared(*arms, baseline="r2")) == [2, 6, 7, 8]


def entry(model: str, rope: str, dtype: str, revision: str | None = None) -> SystemEntry:
    return SystemEntry(
        arm=f"{model}@{rope}", model=model, rope=rope, family="qwen2_5_vl", fingerprint="ab" * 32,
        box_space="abs", identity={"dtype": dtype}, revision=revision, notes=("its sampling is ignored",),
    )  # fmt: skip


def results(run: RunDir, *entries: SystemEntry) -> Results:
    task = TaskEntry(
        name="doc", title="Doc", category="image", metric="anls", range=(0.0, 1.0), max_new_tokens=8
    )
    protocol = Protocol(limit=5)
    evaluations = [
        Evaluation(id=n, invocation="1", arm=each.arm, task=task, protocol=protocol, samples=1, plan="0" * 64)
        for n, each in enumerate(entries)
    ]
    made = Invocation(
        id="1", command="evalkit run --model 'a b' --tasks doc", started="2026-11-20T23:00:00+00:00",
        finished="2026-11-21T01:00:00+00:00", status="complete", spec=RunSpec(models="a", tasks="doc"),
        versions={"evalkit": "0.1.0", "python": "3.11.9", "torch": "2.15.0", "transformers": "5.24.0"},
        hardware={"gpu": "H100"}, engine="evalkit 1", evaluations=tuple(range(len(entries))),
    )  # fmt: skip
    manifest = Manifest(
        created=made.started, arms=entries, invocations=(made,), evaluations=tuple(evaluations)
    )
    records: dict[int, list[Record]] = {each.id: [] for each in evaluations}
    return Results(run, manifest, evaluations, records)


def test_the_recipe_of_a_run_is_named(tmp_path: Path) -> None:
    plain = results(RunDir.create(tmp_path / "one"), entry("a", "mrope", "bfloat16"))
    (each,) = plain.evaluations
    other = each.model_copy(update={"protocol": each.protocol.model_copy(update={"recipe": "qwen2.5-vl"})})
    ((run,), _) = about_runs({"a@mrope": (replace(plain, evaluations=[other]), "a@mrope")})
    assert dict(run.facts)["recipe"] == "qwen2.5-vl"


def test_the_header_says_how_runs_were_made(tmp_path: Path) -> None:
    a, b = entry("a", "mrope", "bfloat16", "0123456789abcdef"), entry("b", "mrope-i", "float32")
    one = results(RunDir.create(tmp_path / "one"), a, b)
    runs, systems = about_runs({"Ours": (one, "a@mrope"), "b@mrope-i": (one, "b@mrope-i")})
    (run,) = runs
    assert run.run == "one"
    assert dict(run.facts) == {
        "date": "2026-11-21",
        "recipe": "paper",
        "samples": "limit-5",
        "dtype": "bfloat16, float32",
        "engine": "evalkit 1",
        "versions": "evalkit 0.1.0, torch 2.15.0, transformers 5.24.0",
        "hardware": "gpu H100",
        "command": "evalkit run --model 'a b' --tasks doc",
    }
    assert [(each.name, each.model, each.rope, each.dtype, each.revision) for each in systems] == [
        ("Ours", "a", "mrope", "bfloat16", "0123456789ab"),
        ("b@mrope-i", "b", "mrope-i", "float32", ""),
    ]
    assert systems[0].fingerprint == "abababab"
    assert systems[0].notes == ("its sampling is ignored",)
