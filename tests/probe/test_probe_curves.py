"""Curves, areas and halfway points of runs: exactly those of a model whose accuracy is known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fork_server
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.core.registry import load_task
from evalkit.core.types import MediaInfo
from evalkit.metrics.base import Score
from evalkit.probe.dataset import ability as drawn_ability
from evalkit.report.ability import Ability, abilities, ability, shown
from evalkit.report.ability_runs import probe as probe_runs
from evalkit.report.ability_seeds import grouped
from evalkit.report.ability_text import csv_text, halfway_text, markdown_text, to_json, warnings
from evalkit.report.aggregate import BenchmarkColumn
from evalkit.store.records import Record
from evalkit.store.records_table import ScoreRow

TASK = "probe_table"
ITEMS = 10
# Right answers of ten at each of the eight levels; chance is one of five cells a row.
RIGHT = {"first": (10, 10, 9, 10, 5, 2, 1, 0), "second": (10, 10, 10, 9, 10, 10, 8, 1)}
LEVELS = list(drawn_ability(TASK).levels)
CHANCE = [1 / (5 * rows) for rows in LEVELS]
COLUMN = BenchmarkColumn("made", "image", "Made", "acc", (0.0, 1.0))


def corrected(right: Sequence[int]) -> list[float]:
    """The curve without chance, by hand."""
    return [(each / ITEMS - chance) / (1 - chance) for each, chance in zip(right, CHANCE, strict=True)]


def area(curve: Sequence[float]) -> float:
    """The trapezoid rule, by hand."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


def halfway(curve: Sequence[float]) -> float:
    """The number of the level, with its fraction, at which a curve first falls below one half; by hand."""
    if curve[0] < 0.5 - 1e-12:
        return -math.inf
    falls = (n for n, value in enumerate(curve) if value < 0.5 - 1e-12)
    after = next(falls, None)
    if after is None:
        return math.inf
    return after - 1 + (curve[after - 1] - 0.5) / (curve[after - 1] - curve[after])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each mock, which answers so many items of each level right."""
    folder = tmp_path_factory.mktemp("probe")
    task = load_task(TASK)
    levels = [str(level) for level in drawn_ability(TASK).levels]
    samples = list(task.samples(None))
    made = {}
    for name, right in RIGHT.items():
        places: dict[str, int] = dict.fromkeys(levels, 0)
        answers = {}
        for sample in sorted(samples, key=lambda each: _hash(each.unit)):
            level = sample.id.split("-")[0]
            places[level] += 1
            is_right = places[level] <= right[levels.index(level)]
            answers[sample.id] = f"The answer is {sample.reference if is_right else 99}."
        file = folder / f"{name}.json"
        file.write_text(json.dumps(answers))
        made[name] = folder / name
        words = ["run", "--model", f"mock:answers={file}", "--tasks", TASK, "--limit", str(8 * ITEMS)]
        done = fork_server.evalkit(*words, "--output", str(made[name]), "--workers", "0", "--quiet")
        assert done.returncode == 0, done.stderr
    return made


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def probe(*words: str) -> Any:
    done = fork_server.evalkit("probe", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout


def test_a_mock_with_known_accuracy_has_exactly_that_curve(runs: dict[str, Path], tmp_path: Path) -> None:
    paths = [str(path) for path in runs.values()]
    labels = [word for name, path in runs.items() for word in ("--label", f"mock:answers={path}.json={name}")]
    (found,) = probe(*paths, *labels, "--json", "--baseline", "first")
    assert (found["task"], found["knob"]) == (TASK, "rows")
    first, second = found["systems"]
    for system, right in zip((first, second), RIGHT.values(), strict=True):
        assert [each["score"] for each in system["levels"]] == pytest.approx([each / ITEMS for each in right])
        assert [each["level"] for each in system["levels"]] == list(drawn_ability(TASK).levels)
        assert {(each["n"], each["unseen"]) for each in system["levels"]} == {(ITEMS, 0)}
        assert [each["chance"] for each in system["levels"]] == CHANCE
        assert system["area"]["value"] == pytest.approx(area(corrected(right)), abs=1e-12)
        assert system["area"]["low"] <= system["area"]["value"] <= system["area"]["high"]
        place = halfway(corrected(right))
        low, high = LEVELS[int(place)], LEVELS[int(place) + 1]
        assert system["halfway"]["value"] == pytest.approx(low * (high / low) ** (place % 1))
    assert LEVELS == [2, 4, 6, 8, 12, 16, 24, 32]
    assert [int(halfway(corrected(each))) for each in RIGHT.values()] == [3, 6]
    both = second["area"]["value"] - first["area"]["value"]
    assert second["area_difference"]["value"] == pytest.approx(both)
    assert second["area_difference"]["low"] > 0
    steps = halfway(corrected(RIGHT["second"])) - halfway(corrected(RIGHT["first"]))
    assert second["halfway_difference"]["value"] == pytest.approx(steps)
    assert first["area_difference"] is None
    text = probe(*paths, "--plot", str(tmp_path / "curves.svg"), "--format", "markdown")
    assert "| 4 | 5.0 | 10 |" in text
    assert "chance" in (tmp_path / "curves.svg").read_text()
    assert "halfway" in probe(paths[0])
    assert len(probe(*paths, "--format", "csv").splitlines()) == 1 + 2 * 8


def test_curves_stand_in_the_report_and_labels_in_the_order_of_levels(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = fork_server.evalkit("report", str(runs["first"]), "-o", str(page), "--media", "0")
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert '<div id="abilities">' in text
    data = text.split('"abilities":', 1)[1]
    (panel,) = json.JSONDecoder().raw_decode(data.strip())[0]
    assert panel["levels"] == ["2", "4", "6", "8", "12", "16", "24", "32"]
    assert [point[1] for point in panel["curves"][0]["points"]] == [10.0 * each for each in RIGHT["first"]]
    assert panel["chance"] == pytest.approx([100 * each for each in CHANCE])
    done = fork_server.evalkit("compare", str(runs["first"]), "--json")
    breakdown = json.loads(done.stdout)["arms"][0]["tasks"][TASK]["breakdown"]["rows"]
    assert list(breakdown) == panel["levels"]


def test_runs_without_a_knob_are_refused(tmp_path: Path) -> None:
    words = [
        "run",
        "--model",
        "mock",
        "--tasks",
        "mini_chartqa",
        "--limit",
        "2",
        "--rate-limit",
        "unparsed=1",
    ]
    fork_server.evalkit(*words, "--output", str(tmp_path / "run"), "--workers", "0", "--quiet")
    done = fork_server.evalkit("probe", str(tmp_path / "run"))
    assert done.returncode == 2
    assert "--tasks probe" in done.stderr


def rows(by_level: dict[float, list[float]], chance: float = 0.25, cluster: str = "{n}") -> list[ScoreRow]:
    return [
        ScoreRow(
            f"{level}-{n}", cluster.format(n=n), Score(value), (), {},
            {"probe": {"knob": "k", "level": level, "chance": chance}}, False, 0, None,
        )
        for level, values in by_level.items()
        for n, value in enumerate(values)
    ]  # fmt: skip


def made(base: str | None = None, **sides: list[ScoreRow]) -> Ability:
    found = ability(COLUMN, sides, baseline=base)
    assert found is not None
    return found


def test_a_curve_that_is_below_at_once_or_never_says_so() -> None:
    low = made(a=rows({1: [0, 0, 1, 0] * 5, 2: [0.0] * 20})).curves[0]
    assert (low.halfway.value, halfway_text(low)) == (-math.inf, "<1 (<1 to <1)")
    high = made(a=rows({1: [1.0] * 20, 2: [1.0] * 20})).curves[0]
    assert (high.area.value, high.halfway.value, halfway_text(high)) == (
        1.0,
        math.inf,
        "never (never to never)",
    )
    found = made(a=rows({1: [1.0] * 20, 2: [1.0] * 20}))
    assert to_json([found])[0]["systems"][0]["halfway"] == {"value": "never", "low": "never", "high": "never"}
    assert "never" in markdown_text([found])
    assert "made,k,a,1.0,20,1.0" in csv_text([found])


def test_a_knob_that_begins_at_zero_is_interpolated_on_a_line() -> None:
    found = made(a=rows({0: [1.0] * 8, 100: [0.25] * 8, 200: [0.25] * 8})).curves[0]
    assert found.halfway.value == pytest.approx(50)


def test_chance_alone_has_no_area_and_its_interval_covers_zero() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(40):
        values = {level: list((rng.random(60) < 0.25).astype(float)) for level in (1.0, 2.0, 4.0, 8.0, 16.0)}
        area = made(a=rows(values)).curves[0].area
        covered += area.low <= 0 <= area.high
    assert covered >= 34


def test_questions_about_one_image_are_resampled_together() -> None:
    values = {1.0: [1.0, 0.0] * 40, 2.0: [1.0, 0.0] * 40}
    alone = made(a=rows(values)).curves[0].area
    clustered = [
        ScoreRow(r.sample_id, f"c{int(r.sample_id.split('-')[1]) % 16}", *_rest(r)) for r in rows(values)
    ]
    together = made(a=clustered).curves[0].area
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def _rest(row: ScoreRow) -> tuple[Any, ...]:
    return (row.score, row.flags, row.groups, row.labels, row.failed, row.visual_tokens, row.video_seconds)


def test_paired_differences_use_the_items_that_both_have() -> None:
    values = {1.0: [1.0, 0.0] * 20, 2.0: [0.0, 1.0] * 20}
    same = made("a", a=rows(values), b=rows(values)).curves[1]
    assert vars(same.area_difference) == {"value": 0.0, "low": 0.0, "high": 0.0}  # type: ignore[arg-type]
    fewer = {1.0: [1.0, 0.0] * 6, 2.0: [0.0, 1.0] * 6}
    part = made("a", a=rows(values), b=rows(fewer)).curves[1]
    assert vars(part.area_difference) == {"value": 0.0, "low": 0.0, "high": 0.0}  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=8), st.sampled_from([0.0, 0.1, 0.25, 0.5]))
def test_area_and_halfway_are_what_their_formulas_say(right: list[int], chance: float) -> None:
    levels = [float(2**n) for n in range(len(right))]
    values = {level: [1.0] * k + [0.0] * (12 - k) for level, k in zip(levels, right, strict=True)}
    (curve,) = made(a=rows(values, chance)).curves
    c = [(k / 12 - chance) / (1 - chance) for k in right]
    assert curve.area.value == pytest.approx(area(c))
    place = halfway(c)
    expected = 2**place if math.isfinite(place) else place
    assert curve.halfway.value == pytest.approx(expected)
    assert curve.area.low <= curve.area.value + 1e-9
    assert curve.area.high >= curve.area.value - 1e-9


def film_record(sample_id: str, frames: Sequence[int]) -> Record:
    place = {"knob": "frames", "level": 64, "chance": 0.25, "needles": [[10, 12], [40, 42]]}
    media = MediaInfo(
        "video", "d", (448, 252), (448, 252), 0, tuple(frames), tuple(float(each) for each in frames)
    )
    return Record(
        "a", "a", "mrope", "made", sample_id, 0, sample_id, sample_id, "", "A", "A", "stop", prompt_tokens=50,
        meta={"links": {"probe": place}}, media=(media,), score=Score(1.0),
    )  # fmt: skip


def test_films_that_were_shown_without_a_needle_are_counted() -> None:
    records = [
        film_record("whole", range(64)),
        film_record("thinned", range(0, 64, 3)),
        film_record("part", range(20)),
    ]
    assert shown(records) == {64.0: (50.0, 2)}
    (found,) = abilities([COLUMN], {"a": {"made": records}})
    (warning,) = warnings(found)
    assert "2 of 3 at 64" in warning
    assert "--max-frames" in warning


def of_seeds(base: str | None = None, **groups: list[list[ScoreRow]]) -> Ability:
    """The curves of groups, of which each checkpoint has its own rows."""
    sides = {f"{name}{n}": own for name, several in groups.items() for n, own in enumerate(several)}
    members = {name: [f"{name}{n}" for n in range(len(several))] for name, several in groups.items()}
    found = grouped(members, base)(COLUMN, sides, {})
    assert found is not None
    return found


def drawn_rows(shares: Sequence[float], seed: int, items: int = 40) -> list[ScoreRow]:
    generator = np.random.default_rng(seed)
    return rows(
        {2.0**n: [float(x) for x in generator.random(items) < share] for n, share in enumerate(shares)}
    )


def test_seeds_are_one_curve_of_their_means() -> None:
    checkpoints = [drawn_rows((1.0, 0.9, 0.5, 0.3), seed) for seed in range(3)]
    alone = [made(a=each).curves[0] for each in checkpoints]
    (curve,) = of_seeds(a=checkpoints).curves
    assert curve.arm == "a"
    means = np.mean([[level.score for level in each.levels] for each in alone], axis=0)
    assert [level.score for level in curve.levels] == pytest.approx(means)
    assert curve.area.value == pytest.approx(np.mean([each.area.value for each in alone]))
    place = halfway([(mean - 0.25) / 0.75 for mean in means])
    assert curve.halfway.value == pytest.approx(2**place)
    for found in (curve.area, curve.halfway):
        assert found.low < found.value < found.high
    assert all(level.low <= level.score <= level.high for level in curve.levels)


def test_a_group_of_one_is_that_checkpoint() -> None:
    own, other = drawn_rows((1.0, 0.8, 0.3), 0), [drawn_rows((1.0, 0.5, 0.3), seed) for seed in (1, 2)]
    found = of_seeds(a=[own], b=other)
    assert found.curves[0] == made(a=own).curves[0]


def test_seeds_that_differ_widen_the_interval_of_the_area() -> None:
    """Of equal samples, only the seeds tell: Welch's interval of a mean of three."""
    equal = [drawn_rows((0.9, 0.6, 0.4), 0)] * 3
    apart = [drawn_rows((share, share, share), 0) for share in (0.5, 0.7, 0.9)]
    same, spread = (of_seeds(a=each).curves[0].area for each in (equal, apart))
    assert spread.high - spread.low > 2 * (same.high - same.low)
    areas = [made(a=each).curves[0].area.value for each in apart]
    error = np.std(areas, ddof=1) / math.sqrt(3)
    assert spread.high - spread.value > 2 * error


def test_differences_of_groups_turn_with_their_sides() -> None:
    one = [drawn_rows((1.0, 0.9, 0.6, 0.3), seed) for seed in range(3)]
    two = [drawn_rows((1.0, 0.6, 0.3, 0.3), seed) for seed in range(5, 8)]
    there, back = of_seeds("a", a=one, b=two).curves[1], of_seeds("b", a=one, b=two).curves[0]
    assert there.area_difference
    assert back.area_difference
    assert there.area_difference.high < 0
    assert there.area_difference.value == pytest.approx(-back.area_difference.value)
    assert there.area_difference.low == pytest.approx(-back.area_difference.high)
    assert there.halfway_difference
    assert there.halfway_difference.high < 0


def test_a_group_whose_checkpoint_lacks_the_ability_has_no_curve() -> None:
    own, other = drawn_rows((1.0, 0.8), 0), drawn_rows((1.0, 0.5), 1)
    found = grouped({"a": ["a0"], "b": ["b0", "b1"]}, None)(COLUMN, {"a0": own, "b0": other}, {})
    assert found is not None
    assert [curve.arm for curve in found.curves] == ["a"]
    assert grouped({"b": ["b0", "b1"]}, None)(COLUMN, {"b0": other}, {}) is None


def test_the_command_takes_checkpoints_of_one_variant_for_seeds(runs: dict[str, Path]) -> None:
    (found,) = probe_runs(*runs.values(), group_by="rope")
    (curve,) = found.curves
    areas = [area(corrected(right)) for right in RIGHT.values()]
    assert curve.area.value == pytest.approx(sum(areas) / 2)
    (told,) = probe(*map(str, runs.values()), "--group-by", "rope", "--json")
    assert [each["name"] for each in told["systems"]] == [curve.arm]
    assert told["systems"][0]["area"]["value"] == pytest.approx(curve.area.value)
