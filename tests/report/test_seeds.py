"""Training seeds: statistics that respect seeds and samples, and what may be grouped."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats
from seed_data import made_runs

from evalkit.core.errors import UsageError
from evalkit.report import tables
from evalkit.report.comparison import Comparison
from evalkit.report.latex import latex
from evalkit.report.notes import ONE_SEED, legend
from evalkit.report.seed_rows import SeedGroups, group_seeds
from evalkit.report.seeds import RESAMPLES, Resampled, SeedTests

RESAMPLES_OF_A_TEST = 200


def resampled(scores: np.ndarray, seed: int = 0) -> Resampled:
    """From ``[clusters, checkpoints]``, a sample in each cluster."""
    table = np.column_stack([np.ones(len(scores)), scores])
    return Resampled.of(table, np.random.default_rng(seed))


def drawn(
    generator: np.random.Generator, counts: tuple[int, int], clusters: int, seed_spread: float
) -> np.ndarray:
    """Scores of two equal methods: seeds, samples, methods on samples, and noise vary."""
    columns = []
    hard = generator.normal(0, 1, clusters)
    for count in counts:
        own = generator.normal(0, 0.3, clusters)
        for _ in range(count):
            noise = generator.normal(0, 1, clusters)
            columns.append(generator.normal(0, seed_spread) + hard + own + noise)
    return np.column_stack(columns)


@pytest.mark.parametrize("counts", [(2, 2), (3, 3), (5, 5), (1, 3)])
@pytest.mark.parametrize("seed_spread", [0.0, 0.3])
def test_intervals_cover_and_tests_hold_their_level(
    counts: tuple[int, int], seed_spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalkit.report.seeds.RESAMPLES", RESAMPLES_OF_A_TEST)
    generator = np.random.default_rng(7)
    members = {"a": range(counts[0]), "b": range(counts[0], sum(counts))}
    tests = SeedTests(members, RESAMPLES_OF_A_TEST)
    trials, covered, found = 100, 0, 0
    for _ in range(trials):
        each = tests.difference(
            Resampled.of(
                np.column_stack([np.ones(60), drawn(generator, counts, 60, seed_spread)]), generator
            ),
            "a", "b", 60, 0,
        )  # fmt: skip
        covered += each.low <= 0 <= each.high
        found += each.p < 0.05
        assert (each.p < 0.05) == (not each.low <= 0 <= each.high)
    # 95%, less two standard errors of 100 trials and what two degrees of freedom cost.
    assert covered / trials >= 0.87
    assert found / trials <= 0.13


def test_pairing_by_sample_alone_would_not_hold_its_level() -> None:
    """Of two equal methods with one checkpoint each, a test over samples finds a difference far too often."""
    generator = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        scores = drawn(generator, (1, 1), 60, 0.5)
        found += stats.ttest_rel(scores[:, 0], scores[:, 1]).pvalue < 0.05
    assert found > 30


def test_with_samples_that_are_alike_it_is_welch_s_test_over_seeds() -> None:
    """Every sample of a checkpoint scores alike: only seeds vary (known answer: Welch's t test)."""
    first, second = [0.50, 0.53, 0.49], [0.58, 0.66, 0.61]
    scores = np.tile([*first, *second], (40, 1))
    tests = SeedTests({"a": [0, 1, 2], "b": [3, 4, 5]})
    found = tests.difference(resampled(scores), "a", "b", 40, 40)
    known = stats.ttest_ind(second, first, equal_var=False)
    assert found.value == pytest.approx(np.mean(second) - np.mean(first))
    assert found.p == pytest.approx(known.pvalue, rel=0.12)
    low, high = known.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_with_seeds_that_are_alike_it_is_the_t_test_over_samples() -> None:
    generator = np.random.default_rng(5)
    one, two = generator.random(200), generator.random(200) + 0.05
    scores = np.column_stack([one, one, one, two, two, two])
    found = SeedTests({"a": [0, 1, 2], "b": [3, 4, 5]}).difference(resampled(scores), "a", "b", 200, 200)
    known = stats.ttest_rel(two, one).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(known), abs=0.006)


def test_more_seeds_and_more_samples_both_tell_more() -> None:
    def width(seeds: int, samples: int) -> float:
        generator = np.random.default_rng(11)
        tests = SeedTests({"a": range(seeds), "b": range(seeds, 2 * seeds)})
        widths = []
        for _ in range(3):
            found = resampled(drawn(generator, (seeds, seeds), samples, 0.1))
            each = tests.difference(found, "a", "b", samples, 0)
            widths.append(each.high - each.low)
        return float(np.median(widths))

    assert width(6, 50) < width(3, 50)
    assert width(3, 300) < width(3, 50)


@settings(deadline=None, max_examples=25)
@given(
    counts=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    clusters=st.integers(2, 12),
    seed=st.integers(0, 99),
)
def test_a_difference_turns_with_its_arms(counts: tuple[int, int], clusters: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 2, (clusters, sum(counts))).astype(float)
    tests = SeedTests({"a": range(counts[0]), "b": range(counts[0], sum(counts))})
    found = resampled(scores)
    one, two = (tests.difference(found, *names, clusters, 0) for names in (("a", "b"), ("b", "a")))
    assert one.value == pytest.approx(-two.value)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
    assert one.p == pytest.approx(two.p)
    assert 0 <= one.p <= 1
    assert one.low <= one.value <= one.high
    best = tests.drawn_means(found, "a")
    assert best.shape == (RESAMPLES,)
    assert scores.min() <= best.min() <= best.max() <= scores.max()


def test_one_cluster_tells_nothing() -> None:
    found = SeedTests({"a": [0, 1], "b": [2, 3]}).difference(
        resampled(np.asarray([[1.0, 0.0, 1.0, 1.0]])), "a", "b", 1, 1
    )
    assert math.isnan(found.p)
    assert not found.significant


def test_equal_scores_differ_by_nothing_at_all() -> None:
    """Sums of what isn't exact in binary (three times 0.1) leave 1e-17, which is no difference."""
    scores = np.random.default_rng(3).integers(0, 2, 60) * 0.1
    found = SeedTests({"a": [0, 1, 2], "b": [3, 4, 5, 6, 7]}).difference(
        resampled(np.column_stack([scores] * 8)), "a", "b", 60, 0
    )
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def random_scores(share: float, seed: int, count: int = 60) -> list[float]:
    return [float(right) for right in np.random.default_rng(seed).random(count) < share]


def six_checkpoints() -> SeedGroups:
    scores = {
        f"s{seed}@{rope}": {
            "docs": random_scores(share + seed / 50, 10 * seed + place),
            "clip": random_scores(share, 77 + 10 * seed + place),
        }
        for place, (rope, share) in enumerate({"mrope": 0.3, "mrope-i": 0.8}.items())
        for seed in (1, 2, 3)
    }
    fields = {name: f"/ckpts/{name.replace('@', '-')}" for name in scores}
    return group_seeds(made_runs(scores, model=fields), "rope", {})


def shown(comparison: Comparison) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(tables.terminal(comparison, 200))
    return captured.get()


def test_several_seeds_are_one_column_with_mean_and_spread() -> None:
    groups = six_checkpoints()
    found = groups.comparison()
    assert [(arm.name, arm.seeds) for arm in found.arms] == [("mrope", 3), ("mrope-i", 3)]
    cell = found.cells["mrope-i"]["docs"]
    parts = [groups.runs.comparison.cells[f"s{seed}@mrope-i"]["docs"].estimate.value for seed in (1, 2, 3)]
    assert cell.estimate.value == pytest.approx(np.mean(parts))
    assert cell.estimate.spread == pytest.approx(np.std(parts, ddof=1))
    assert list(cell.by_seed.values()) == parts
    assert (cell.estimate.n, cell.expected, cell.whole) == (60, 60, True)
    assert cell.estimate.low < cell.estimate.value < cell.estimate.high
    means = [groups.runs.comparison.means(f"s{seed}@mrope-i")["overall"] for seed in (1, 2, 3)]
    assert found.mean_spreads["mrope-i"]["overall"] == pytest.approx(np.std(means, ddof=1))  # type: ignore[arg-type]
    text = shown(found)
    assert "mrope-i (3 seeds)" in text
    assert f"{100 * np.mean(parts):.1f}±{100 * np.std(parts, ddof=1):.1f}" in text
    assert "mrope: mean over 3 training seeds: s1@mrope, s2@mrope, s3@mrope" in legend(found)
    assert ONE_SEED not in text
    assert r"$\pm$" in latex(found)
    assert found.to_json()["arms"][1]["tasks"]["docs"]["by_seed"]["s2@mrope-i"] == parts[1]


def test_differences_of_grouped_seeds_and_of_their_means() -> None:
    found = six_checkpoints().comparison("mrope", "holm")
    docs, clip = (found.differences["mrope-i"][task] for task in ("docs", "clip"))
    assert docs.test == "t over seeds and clusters"
    assert docs.corrected == pytest.approx(max(2 * min(docs.p, clip.p), docs.p))
    value, low, high = found.mean_differences["mrope-i"]["overall"]
    assert value == pytest.approx((docs.value + clip.value) / 2)
    assert low < value < high
    assert found.parts["mrope-i"]["docs", "type", "form"].n == 60
    assert "t test over training seeds and clusters" in "\n".join(legend(found))


def test_one_checkpoint_is_said_to_tell_nothing_about_seeds() -> None:
    runs = made_runs({name: {"docs": random_scores(0.5, 1)} for name in ("a@mrope", "b@mrope", "c@vanilla")})
    found = group_seeds(runs, "rope", {}).comparison("vanilla")
    assert f"one training seed of c@vanilla: {ONE_SEED}" in legend(found)
    plain = f"one training seed of every arm: {ONE_SEED}"
    assert plain in legend(runs.comparison)
    assert "(2 seeds)" in shown(found)
    assert "(1 seed)" in shown(found)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (
            {"model": {"a@mrope": "/r/checkpoint-100", "b@mrope": "/r/checkpoint-200"}},
            "two steps of one training",
        ),
        ({"fingerprint": {"a@mrope": "same", "b@mrope": "same"}}, "one checkpoint"),
        ({"model": {"a@mrope": "/r/a", "b@mrope": "/r/a"}}, "one checkpoint"),
        ({"family": {"a@mrope": "llava"}}, "two model families"),
    ],
)
def test_what_are_no_seeds_of_one_method_is_refused(fields: dict[str, dict[str, str]], why: str) -> None:
    runs = made_runs({name: {"docs": [1.0, 0.0]} for name in ("a@mrope", "b@mrope")}, **fields)
    with pytest.raises(UsageError, match=why):
        group_seeds(runs, "rope", {})


def test_labels_group_and_two_variants_under_one_are_refused() -> None:
    names = ("a@mrope", "b@mrope", "c@mrope", "d@vanilla")
    runs = made_runs({name: {"docs": [1.0, 0.0, 1.0]} for name in names})
    found = group_seeds(runs, "label", {"a*": "Ours", "b@mrope": "Ours"})
    assert [(arm.name, arm.seeds) for arm in found.arms] == [("Ours", 2), ("c@mrope", 1), ("d@vanilla", 1)]
    with pytest.raises(UsageError, match="two variants"):
        group_seeds(runs, "label", {"c@mrope": "Ours", "d@vanilla": "Ours"})
    relabelled = group_seeds(runs, "rope", {"mrope": "MRoPE (ours)"})
    assert [arm.name for arm in relabelled.arms] == ["MRoPE (ours)", "d@vanilla"]


def test_a_benchmark_that_a_seed_lacks_has_no_mean_over_fewer() -> None:
    scores: dict[str, dict[str, list[float | None]]] = {
        "a@mrope": {"docs": [1.0, 0.0, 1.0], "clip": [1.0, 0.0]},
        "b@mrope": {"docs": [1.0, 0.0, None]},
        "c@vanilla": {"docs": [1.0, 0.0, 0.0], "clip": [0.0, 0.0]},
    }
    found = group_seeds(made_runs(scores), "rope", {}).comparison("vanilla")
    assert "clip" not in found.cells["mrope"]
    assert "clip" not in found.differences["mrope"]
    cell = found.cells["mrope"]["docs"]
    assert (cell.estimate.n, cell.expected, cell.whole) == (2, 3, False)
    assert found.differences["mrope"]["docs"].n == 2
    assert "overall" not in found.mean_differences["mrope"]
