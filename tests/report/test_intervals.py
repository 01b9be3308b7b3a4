"""95% intervals: against scipy, and what must hold for any scores."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, t

from evalkit.report.intervals import interval, normal_quantile, t_quantile, wilson

settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from("abcdef")), min_size=1, max_size=40
)


@given(trials=st.integers(1, 3000), data=st.data())
def test_wilson_is_scipys(trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    expected = binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson(hits / trials, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(share=st.floats(0.51, 0.9999), freedom=st.integers(1, 3000))
def test_quantiles_are_scipys(share: float, freedom: int) -> None:
    assert t_quantile(share, freedom) == pytest.approx(float(t.ppf(share, freedom)), rel=1e-9)
    assert normal_quantile(share) == pytest.approx(float(norm.ppf(share)), rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 10_000, 100_001])
def test_the_quantile_of_an_interval_is_scipys(freedom: int) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(float(t.ppf(0.975, freedom)), rel=1e-11)


@given(values=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=50))
def test_single_questions_get_wilsons_interval(values: list[float]) -> None:
    found = interval(values, [str(place) for place in range(len(values))])
    expected = binomtest(int(sum(values)), len(values)).proportion_ci(method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(scores=SCORES)
def test_an_interval_holds_the_mean_lies_within_the_limits_and_has_a_width(
    scores: list[tuple[float, str]],
) -> None:
    values, clusters = [score for score, _ in scores], [cluster for _, cluster in scores]
    low, high = interval(values, clusters)
    average = sum(values) / len(values)
    if math.isnan(low):
        assert len(set(clusters)) == 1
        assert average not in (0, 1)
        return
    assert 0 <= low <= average + 1e-12
    assert average - 1e-12 <= high <= 1
    assert high - low > 0.01  # forty scores never give certainty


@given(scores=SCORES, data=st.data())
def test_order_and_scale_do_not_matter(scores: list[tuple[float, str]], data: st.DataObject) -> None:
    values, clusters = [score for score, _ in scores], [cluster for _, cluster in scores]
    moved = data.draw(st.permutations(scores))
    expected = interval(values, clusters)
    shuffled = interval([score for score, _ in moved], [cluster for _, cluster in moved])
    scaled = interval([1000 * value for value in values], clusters, (0.0, 1000.0))
    assert shuffled == pytest.approx(expected, nan_ok=True, abs=1e-9)
    assert scaled == pytest.approx([1000 * end for end in expected], nan_ok=True, abs=1e-6)


def test_questions_about_one_image_do_not_count_as_independent() -> None:
    once = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    repeated = [value for value in once for _ in range(10)]
    clusters = [str(place) for place in range(8) for _ in range(10)]
    low, high = interval(repeated, clusters)
    naive = interval(repeated, [str(place) for place in range(80)])
    assert high - low > 2 * (naive[1] - naive[0])


def test_clusters_that_are_all_alike_are_no_certainty() -> None:
    """Each image has one right and one wrong answer: the variance between images is 0."""
    low, high = interval([1.0, 0.0, 1.0, 0.0], ["a", "a", "b", "b"])
    assert (low, high) == pytest.approx(wilson(0.5, 2))
    low, high = interval([0.75] * 5, list("abcde"))
    assert low < 0.6 < 0.75 < 0.8 < high


def test_no_values_and_one_cluster() -> None:
    assert all(math.isnan(end) for end in interval([], []))
    assert all(math.isnan(end) for end in interval([0.0, 1.0], ["a", "a"]))
    assert interval([1.0, 1.0], ["a", "a"]) == pytest.approx(wilson(1, 1))


@pytest.mark.parametrize(("share", "size"), [(0.2, 1), (0.7, 4)])
def test_it_covers_the_truth_about_as_often_as_it_says(share: float, size: int) -> None:
    """200 seeded experiments; a right 95% interval misses more than 22 of them once in 10,000."""
    rng = random.Random(7)
    missed = 0
    for _ in range(200):
        values, clusters = [], []
        for cluster in range(60):
            luck = rng.choice((-0.15, 0.15)) if size > 1 else 0.0
            for _ in range(size):
                values.append(float(rng.random() < share + luck))
                clusters.append(str(cluster))
        low, high = interval(values, clusters)
        missed += not low <= share <= high
    assert missed <= 22
