"""The report page where training seeds are grouped, and its table of failure rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_page as tools
from seed_data import COLUMNS, made_runs
from test_comparison import record
from test_layouts import flagged
from test_page import data_of, samples_of
from test_seeds import random_scores, six_checkpoints

import evalkit
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.report.about import RunAbout, about_runs
from evalkit.report.curves import ability_panel, measured_curve
from evalkit.report.intervals import interval
from evalkit.report.notes import legend, rates_table
from evalkit.report.page import report_page
from evalkit.report.plots import training_steps
from evalkit.report.seed_rows import SeedGroups, group_seeds
from evalkit.scoring.finalize import rescore
from evalkit.store.records_table import ScoreRow, score_rows
from tools.bench.made_runs import generate_run


def page_of(groups: SeedGroups, baseline: str) -> str:
    found = groups.comparison(baseline, "holm")
    return report_page(found, groups.runs.records, {}, "t", ((), ()), groups.checkpoints())


def rows(values: Sequence[float | None], **fields: Any) -> list[ScoreRow]:
    """An image of its own for every second answer."""
    made = [
        record(n, value, visual_tokens=10 * (1 + n // 20), cluster_id=str(n // 2))
        for n, value in enumerate(values)
    ]
    return [replace(each, **fields) for each in score_rows(made)]


def test_a_page_of_groups_has_them_as_columns_and_curves_and_their_checkpoints_as_samples() -> None:
    groups = six_checkpoints()
    data = data_of(page_of(groups, "mrope"))
    assert (data["arms"], data["seeds"]) == (["mrope", "mrope-i"], [3, 3])
    assert (data["columns"], data["places"]) == (["mrope", "mrope-i"], [0, 1])
    assert data["checkpoints"] == [f"s{seed}@{rope}" for rope in ("mrope", "mrope-i") for seed in (1, 2, 3)]
    assert data["sides"] == [0, 3]  # the baseline's first against another method's
    for group in data["differences"]:
        for (row,) in (panel["rows"] for panel in group["panels"]):
            assert len(row["seeds"]) == 3
            assert np.mean(row["seeds"]) == pytest.approx(row["value"])
            assert row["low"] < row["value"] < row["high"]
    entry = data["lines"][0]["entries"][1]
    assert "±" in entry["score"]
    page = page_of(groups, "mrope")
    assert all(len(sample["answers"]) == 6 for sample in samples_of(page))
    assert "shown by checkpoint" in page


def test_without_groups_a_checkpoint_is_an_arm() -> None:
    runs = made_runs({name: {"docs": [1.0, 0.0]} for name in ("a@mrope", "b@mrope")})
    page = report_page(runs.comparison, runs.records, {}, "t")
    data = data_of(page)
    assert data["arms"] == data["checkpoints"] == ["a@mrope", "b@mrope"]
    assert data["sides"] == [0, 1]
    assert "shown by checkpoint" not in page


def test_a_curve_of_seeds_is_of_their_mean_with_an_interval_over_both() -> None:
    generator = np.random.default_rng(3)
    seeds = [rows([float(x) for x in generator.random(60) < share]) for share in (0.3, 0.5, 0.9)]
    (found,) = measured_curve(COLUMNS[0], [seeds, [seeds[0]]], lambda row: row.visual_tokens)
    together, alone = (curve["points"] for curve in found["curves"])
    for place, (size, value, low, high, count, values) in enumerate(together):
        span = slice(20 * place, 20 * place + 20)
        parts = [100 * np.mean([row.score.value for row in side[span] if row.score]) for side in seeds]
        assert (size, count) == (10 * (1 + place), 20)
        assert values == pytest.approx(parts)
        assert value == pytest.approx(np.mean(parts))
        # Wider than over samples alone: seeds vary.
        scores = np.mean([[row.score.value for row in side[span] if row.score] for side in seeds], axis=0)
        bounds = interval(list(scores), [row.cluster_id for row in seeds[0][span]], (0.0, 1.0))
        assert high - low > 100 * (bounds[1] - bounds[0])
    assert [point[5] for point in alone] == [[], [], []]


def test_a_curve_is_over_what_all_seeds_have_a_score_for() -> None:
    sides = [rows([1.0] * 40), rows([None] * 3 + [0.0] * 37)]
    (found,) = measured_curve(COLUMNS[0], [sides], lambda row: row.visual_tokens)
    assert [point[4] for point in found["curves"][0]["points"]] == [17, 20]
    assert [point[1] for point in found["curves"][0]["points"]] == [50.0, 50.0]
    assert list(measured_curve(COLUMNS[0], [[]], lambda row: row.visual_tokens)) == []


def on_knob(values: Sequence[float]) -> list[ScoreRow]:
    return [
        replace(row, labels={"probe": {"knob": "size", "level": 2.0 ** (n % 2), "chance": 0.25}})
        for n, row in enumerate(rows(values))
    ]


def test_the_curve_of_an_ability_is_of_the_seeds_mean() -> None:
    one, two = on_knob([1.0, 0.0] * 20), on_knob([1.0] * 40)
    (panel,) = ability_panel(COLUMNS[0], [[one, two], [one]])
    assert (panel["levels"], panel["chance"]) == (["1", "2"], [25.0, 25.0])
    grouped, alone = (curve["points"] for curve in panel["curves"])
    assert [(point[0], point[1], point[4], point[5]) for point in grouped] == [
        (0, 100.0, 20, [100.0, 100.0]),
        (1, 50.0, 20, [0.0, 100.0]),
    ]
    assert [(point[0], point[1]) for point in alone] == [(0, 100.0), (1, 0.0)]


def test_a_benchmark_that_a_seed_lacks_is_not_drawn_over_fewer_and_that_is_said() -> None:
    runs = made_runs(
        {
            "a@mrope": {"docs": random_scores(0.5, 1), "clip": random_scores(0.5, 2)},
            "b@mrope": {"docs": random_scores(0.5, 3)},
            "c@vanilla": {"docs": random_scores(0.5, 4), "clip": random_scores(0.5, 5)},
        }
    )
    groups = group_seeds(runs, "rope", {})
    data = data_of(page_of(groups, "mrope"))
    assert [panel["title"] for group in data["differences"] for panel in group["panels"]] == ["docs"]
    clip = next(line for line in data["lines"] if line["label"] == "clip")
    assert clip["entries"][0]["score"] == "–"
    assert "mrope: no mean over fewer seeds: clip lacks b@mrope" in legend(groups.comparison("mrope"))


def test_steps_of_several_seeds_are_a_curve_of_their_means_and_mixed_ones_are_said() -> None:
    names = {f"s{seed}-{step}@mrope": (seed, step) for step in (5, 10, 15) for seed in (1, 2)}
    models = {name: f"seed{seed}/checkpoint-{step}" for name, (seed, step) in names.items()}
    models["s2-15@mrope"] = "seed2/checkpoint-14"
    scores = {
        name: {"docs": random_scores(0.5, n), "clip": random_scores(0.4, n)} for n, name in enumerate(names)
    }
    labels = {f"s?-{step}@mrope": f"at {step}" for step in (5, 10, 15)}
    groups = group_seeds(made_runs(scores, model=models), "label", labels)
    found = training_steps(groups.comparison(), groups.checkpoints())
    assert found is not None
    assert (found["trainings"], found["left_out"]) == (["seed1, seed2@mrope"], ["at 15"])
    overall, docs, _ = found["panels"]
    for panel in (overall, docs):
        assert [point[0] for point in panel["curves"][0]["points"]] == [5, 10]
        for _, value, _, _, count, seeds in panel["curves"][0]["points"]:
            assert count is None
            assert np.mean(seeds) == pytest.approx(value)
    # Benchmarks of one seed are not independent: their margins don't add up in squares.
    assert math.isnan(overall["curves"][0]["points"][0][2])
    assert "without an interval" in overall["unit"]
    assert docs["curves"][0]["points"][0][2] < docs["curves"][0]["points"][0][1]


def test_a_page_has_the_table_of_rates_that_compare_prints_and_reasons_in_the_cell() -> None:
    table = flagged(11, 25)
    page = report_page(table, {arm.name: {} for arm in table.arms}, {}, "t")
    data = data_of(page)
    heads, lines = rates_table(table)
    assert data["rates"] == {"heads": heads, "rows": lines}
    assert page.count("<li>") < 10
    entries = [entry for line in data["lines"] for entry in line["entries"] if entry["why"]]
    assert [(entry["why"], entry["rank"]) for entry in entries] == [(["35.0% truncated (limit 20.0%)"], 0)]


def test_failures_of_a_benchmark_without_scores_are_in_the_table_too() -> None:
    table = flagged(1, 2)
    (arm,) = (each.name for each in table.arms)
    held = [
        record(n, None, arm=arm, task="held_out", flags=("repeating",) if n < 2 else ()) for n in range(8)
    ]
    data = data_of(report_page(table, {arm: {"held_out": held}}, {}, "t"))
    assert data["rates"]["heads"] == ["share of answers", "truncated or empty", "repeating"]
    assert data["rates"]["rows"][1] == [f"{arm}: held_out, not scored here", "0", "25.0%"]


def test_an_unknown_way_to_group_is_refused() -> None:
    runs = made_runs({name: {"docs": [1.0, 0.0]} for name in ("a@mrope", "b@mrope")})
    with pytest.raises(UsageError, match="rope, label"):
        group_seeds(runs, "seed", {})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of two variants, and one of a third."""
    folder = tmp_path_factory.mktemp("seeds")
    made = []
    for seed, ropes in enumerate((("mrope", "mrope-i", "hope"), ("mrope", "mrope-i")), start=1):
        run = generate_run(
            folder / f"seed{seed}", 40 * 2 * len(ropes), f"seed{seed}", ("chartqa", "mvbench"), ropes
        )
        rescore(run)
        made.append(run.path)
    return made


def test_report_groups_from_the_command_line_as_from_python(
    runs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["report", *map(str, runs), "--media", "0", "--baseline", "mrope"]
    assert run_cli([*words, "--group-by", "rope", "-o", str(tmp_path / "a.html")]) == 0
    evalkit.report(*runs, output=tmp_path / "b.html", baseline="mrope", media=0, group_by="rope")
    page, same = ((tmp_path / name).read_text() for name in ("a.html", "b.html"))
    assert page == same
    data = data_of(page)
    assert (data["arms"], data["seeds"]) == (["mrope", "mrope-i", "seed1@hope"], [2, 2, 1])
    assert "5 checkpoints in 3 columns" in page
    assert page.index('<td>mrope</td><th scope="row" class="name">seed2@mrope') < page.index(
        "seed1@mrope-i</th>"
    )
    assert "one checkpoint can&#39;t separate RoPE from seed" in page
    one_label = ["--group-by", "label", "--label", "*=Ours", "-o", str(tmp_path / "c.html")]
    assert run_cli([*words, *one_label]) == 2
    assert "two variants" in capfd.readouterr().err


@pytest.mark.slow
def test_groups_are_drawn_with_their_seeds_and_samples_by_checkpoint(
    runs: list[Path], tmp_path: Path
) -> None:
    page = evalkit.report(*runs, output=tmp_path / "a.html", baseline="mrope", media=0, group_by="rope")
    dom = tools.opened(tools.browser(), page)
    assert dom.count('class="seed"') > 30
    assert "Small dots are single training seeds" in dom
    assert dom.count('<span class="interval">2 seeds</span>') == 2
    assert "1 seed</span>" in dom
    assert ">seed2@mrope-i</strong>" in dom
    assert "80 of 80 samples" in dom
    assert '<table class="matrix rates">' in dom
    assert "ReferenceError" not in dom


def test_how_many_runs_were_made_is_folded_above_the_table() -> None:
    table = flagged(1, 1)
    about = [RunAbout(f"seed{n}", (("date", "2026-11-27"),)) for n in range(3)]
    for count, folded in ((2, False), (3, True)):
        page = report_page(table, {arm.name: {} for arm in table.arms}, {}, "t", (about[:count], []))
        assert ("<summary>3 runs: dates, versions and commands" in page) == folded
        assert all(f"<h2>seed{n}</h2>" in page for n in range(count))


def test_the_header_has_the_checkpoints_of_a_column_side_by_side(runs: list[Path]) -> None:
    from evalkit.report.gather import gather

    groups = group_seeds(gather(runs), "rope", {})
    _, systems = about_runs(groups.runs.origin, groups.members)
    assert [(each.row, each.name) for each in systems] == [
        (group, name) for group, own in groups.members.items() for name in own
    ]
    assert len(systems) == 5
