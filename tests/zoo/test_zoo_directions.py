"""The zoo's plan, and its table beside the paper's directions of effect."""

import re

import pytest

from evalkit.cli import run_cli
from evalkit.report.gather import gather
from evalkit.rope.variants import parse_variant
from tools.zoo_training.curves import means, table
from tools.zoo_training.directions import TABLES, Direction, directions, markdown, trained_sizes
from tools.zoo_training.plan import SEEDS, zoo_models, zoo_variants
from tools.zoo_training.train import folder_name


def test_the_zoo_has_the_papers_variants_with_three_seeds_each():
    models = list(zoo_models())
    assert len(set(models)) == len(models) == 3 * len(zoo_variants())
    assert len(SEEDS) == 3
    for paper in TABLES:
        assert set(paper.scores) <= set(zoo_variants())
    assert all(parse_variant(variant) for variant in zoo_variants())
    assert len({folder_name(variant) for variant in zoo_variants()}) == len(zoo_variants())


def test_the_papers_scores_are_transcribed(shared):
    text = (shared / "specs/PAPER_TABLES.md").read_text()
    found = set(re.findall(r"-?\d+\.\d+", text))
    for paper in TABLES:
        for scores in paper.scores.values():
            assert len(scores) == len(paper.columns)
            assert all(any(f"{score:.{digits}f}" in found for digits in (1, 2)) for score in scores)


@pytest.mark.parametrize(
    ("paper", "low", "high", "verdict"),
    [
        (1.0, 0.5, 2.0, "agrees"),
        (1.0, -2.0, -0.5, "disagrees"),
        (1.0, -0.5, 2.0, "can't tell"),
        (-1.0, -2.0, -0.5, "agrees"),
        (0.0, 0.5, 2.0, "can't tell"),
    ],
)
def test_a_verdict_needs_an_interval_without_zero(paper, low, high, verdict):
    assert Direction("mrope", "image", paper, (low + high) / 2, low, high).verdict == verdict


def test_differences_are_those_of_compare():
    paper = TABLES[2]
    arm = {"differences": {}, "mean_differences": dict.fromkeys(paper.columns, (-0.1, -0.2, -0.05))}
    comparison = {"arms": [{"rope": variant, **arm} for variant in paper.scores]}
    found = list(directions(paper, comparison))
    assert len(found) == (len(paper.scores) - 1) * len(paper.columns)
    assert {round(each.zoo, 6) for each in found} == {-10.0}
    first = found[0]
    assert (first.variant, first.column, first.paper) == ("mrope-i(frequency=videorope)", "image", -1.32)
    assert first.verdict == "agrees"
    lines = markdown(paper, found).splitlines()
    assert lines[2] == "| variant | image | video | grounding |"
    assert "-1.32; -10.0 (-20.0 to -5.0) agrees" in lines[4]


def test_curves_say_which_trainings_still_rise():
    one = means({500: {"x": 10.0, "y": 30.0}, 1000: {"x": 10.4, "y": 30.4}})
    kept = {"a": [one, {500: 22.0, 1000: 23.4}], "b": [{500: 20.0, 1000: 21.5}]}
    lines = table(kept).splitlines()
    assert lines[0] == "| variant | 500 | 1,000 | last rise | stopped rising | 90 after |"
    assert lines[2:] == [
        "| `a` | 21.0 ± 1.4 | 21.9 ± 2.1 | 0.4 to 1.4 | 1 of 2 |  |",
        "| `b` | 20.0 | 21.5 | 1.5 to 1.5 | 0 of 1 |  |",
    ]


def test_curves_say_how_soon_trainings_were_good():
    kept = {"a": [{500: 90.0, 1000: 89.0}, {500: 70.0, 1000: 92.0}], "b": [{500: 95.0, 1000: 99.0}]}
    lines = table(kept, every=1000).splitlines()
    assert lines[0] == "| variant | 1,000 | last rise | stopped rising | 90 after |"
    assert [line.rsplit("|", 2)[1].strip() for line in lines[2:]] == ["500 to 1,000", "500"]


def test_directions_are_those_of_scenes_as_large_as_in_training(tmp_path):
    words = ["run", "--model", "mock:fixed=A", "--tasks", "mini_docvqa_large,mini_video_long,mini_chartqa"]
    words += ["--limit", "2", "--workers", "0", "-q", "--output", str(tmp_path / "run")]
    assert run_cli(words) in (0, 3)
    kept = trained_sizes(gather([tmp_path / "run"]))
    assert [column.task for column in kept.comparison.columns] == ["mini_chartqa"]
