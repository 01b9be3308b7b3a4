"""Paired differences: against scipy and statsmodels, and what must hold for any data."""

from __future__ import annotations

import gc
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap, false_discovery_control, ttest_rel

from evalkit.report.paired import Correction, Difference, ScorePair, corrected, difference, mean_difference

settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

VERDICT = st.sampled_from([0.0, 1.0])
SCORE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
PAIRS = st.lists(st.builds(ScorePair, SCORE, SCORE, st.sampled_from("abcdefgh")), min_size=2, max_size=60)


def singles(first: list[float], second: list[float]) -> list[ScorePair]:
    return [ScorePair(a, b, str(n)) for n, (a, b) in enumerate(zip(first, second, strict=True))]


def found(pairs: list[ScorePair]) -> Difference:
    result = difference(pairs)
    assert result is not None
    return result


def test_nothing_to_compare() -> None:
    assert difference([]) is None
    one = found([ScorePair(0, 1, "a"), ScorePair(1, 1, "a")])
    assert (one.value, one.clusters) == (0.5, 1)
    assert all(map(math.isnan, (one.low, one.high, one.p, one.detectable)))


def test_right_and_wrong_is_mcnemar_s_exact_test() -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.random(200) < share for share in (0.5, 0.62))
    result = found(singles(list(map(float, first)), list(map(float, second))))
    better, worse = int(np.sum(second & ~first)), int(np.sum(first & ~second))
    assert result.test == "McNemar"
    assert result.discordant == better + worse
    assert result.p == pytest.approx(binomtest(better, better + worse, 0.5).pvalue)


def test_scores_without_clusters_are_the_paired_t_test() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random(80), rng.random(80) + 0.05
    result = found(singles(list(first), list(second)))
    assert result.test == "clustered t"
    assert result.p == pytest.approx(ttest_rel(second, first).pvalue, rel=1e-9)
    assert result.value == pytest.approx(float(np.mean(second - first)))


def test_clusters_are_statsmodels_cluster_robust_variance() -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(5)
    groups = rng.integers(0, 30, 150)
    first = rng.random(150)
    second = first + rng.normal(0.05, 0.1, 150) + rng.normal(0, 0.2, 30)[groups]
    pairs = [ScorePair(a, b, str(g)) for a, b, g in zip(first, second, groups, strict=True)]
    fit = sm.OLS(second - first, np.ones(150)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}, use_t=True
    )
    result = found(pairs)
    factor = math.sqrt(result.clusters / (result.clusters - 1))  # statsmodels' own correction is another
    assert result.detectable == pytest.approx((1.959964 + 0.841621) * fit.bse[0] * factor, rel=1e-5)


def test_the_interval_is_scipy_s_percentile_bootstrap_over_clusters() -> None:
    rng = np.random.default_rng(6)
    pairs = [ScorePair(float(rng.random() < 0.5), float(rng.random() < 0.6), str(n // 3)) for n in range(150)]
    sums = np.asarray([sum(p.second - p.first for p in pairs[n : n + 3]) for n in range(0, 150, 3)])
    theirs = bootstrap(
        (sums, np.full(50, 3.0)),
        lambda s, w, axis: s.sum(axis) / w.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20000,
        rng=np.random.default_rng(1),
    ).confidence_interval
    result = found(pairs)
    assert result.low == pytest.approx(theirs.low, abs=0.01)
    assert result.high == pytest.approx(theirs.high, abs=0.01)


@given(pairs=PAIRS)
def test_bounds_and_symmetry(pairs: list[ScorePair]) -> None:
    result = found(pairs)
    turned = found([ScorePair(pair.second, pair.first, pair.cluster) for pair in pairs])
    assert turned.value == pytest.approx(-result.value)
    assert -1 <= result.value <= 1
    if result.clusters > 1:
        assert result.low - 1e-9 <= result.high
        assert result.low >= -1
        assert result.high <= 1
        assert result.p == pytest.approx(turned.p) or math.isnan(result.p)
        assert 0 <= result.p <= 1
        assert result.detectable > 0


@given(pairs=PAIRS)
def test_the_same_arm_twice_never_differs(pairs: list[ScorePair]) -> None:
    result = found([ScorePair(pair.first, pair.first, pair.cluster) for pair in pairs])
    assert (result.value, result.discordant) == (0.0, 0)
    assert not result.significant


@given(pairs=PAIRS, copies=st.integers(2, 4))
def test_copies_of_questions_in_a_cluster_add_no_certainty(pairs: list[ScorePair], copies: int) -> None:
    once, often = found(pairs), found(pairs * copies)
    assert often.value == pytest.approx(once.value)
    if once.clusters > 1 and once.test == often.test:
        assert often.p == pytest.approx(once.p) or math.isnan(once.p)
    if once.clusters > 1:
        assert often.detectable == pytest.approx(once.detectable)


def test_corrections_are_the_known_ones() -> None:
    values = [0.001, 0.012, 0.03, 0.2, 0.9]
    plain = {str(n): Difference(0, 0, 0, p, "t", 9, 9, 1, 0.1) for n, p in enumerate(values)}
    holm = [found.corrected for found in corrected(plain, "holm").values()]
    assert holm == pytest.approx([0.005, 0.048, 0.09, 0.4, 0.9])
    bh = [found.corrected for found in corrected(plain, "bh").values()]
    assert bh == pytest.approx(list(false_discovery_control(values)))
    assert all(math.isnan(found.corrected) for found in corrected(plain, "none").values())
    assert [found.significant for found in corrected(plain, "holm").values()] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_detectable_effect_is_mostly_found() -> None:
    rng = np.random.default_rng(8)
    hits = 0
    for _ in range(200):
        first = (rng.random(400) < 0.5).astype(float)
        flips = rng.random(400)
        # 10% discordance; a true difference of the size that is called detectable at this n.
        effect = 2.8016 * math.sqrt(0.1 / 400)
        up, down = (0.1 + effect) / 2 / 0.5, (0.1 - effect) / 2 / 0.5
        second = np.where(first == 0, (flips < up).astype(float), (flips >= down).astype(float))
        hits += found(singles(list(first), list(second))).p < 0.05
    assert 0.6 < hits / 200 < 0.95


def test_means_over_benchmarks() -> None:
    value, low, high = mean_difference([(0.02, 0.0, 0.04), (0.04, 0.02, 0.06)])
    assert value == pytest.approx(0.03)
    assert (low, high) == pytest.approx((0.03 - 0.02 / math.sqrt(2), 0.03 + 0.02 / math.sqrt(2)))


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (3, 3), (7, 2), (20, 41), (0, 12)])
def test_mcnemar_is_statsmodels_exact_test(better: int, worse: int) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    pairs = [ScorePair(0.0, 1.0, f"b{n}") for n in range(better)] + [
        ScorePair(1.0, 0.0, f"w{n}") for n in range(worse)
    ]
    result = found([*pairs, ScorePair(1.0, 1.0, "same"), ScorePair(0.0, 0.0, "other")])
    assert result.test == "McNemar"
    expected = float(mcnemar([[0, better], [worse, 0]], exact=True).pvalue) if pairs else 1.0
    assert result.p == pytest.approx(expected, rel=1e-13)


def corrections_of_statsmodels() -> Any:
    """It collects garbage in every call: what lives already is kept out of that."""
    from statsmodels.stats.multitest import multipletests

    gc.freeze()
    return multipletests


@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.01, 0.5, math.nan])), max_size=30))
def test_corrections_are_those_of_statsmodels(values: list[float]) -> None:
    multipletests = corrections_of_statsmodels()

    one = found(singles([0.0, 1.0, 0.0], [1.0, 1.0, 0.0]))
    given = {str(number): replace(one, p=value) for number, value in enumerate(values)}
    known = [name for name, value in zip(given, values, strict=True) if not math.isnan(value)]
    for ours, theirs in (("holm", "holm"), ("bh", "fdr_bh")):
        result = corrected(given, ours)  # type: ignore[arg-type]
        assert list(result) == list(given)
        assert all(math.isnan(result[name].corrected) for name in given if name not in known)
        if known:
            expected = multipletests([given[name].p for name in known], method=theirs)[1]
            assert [result[name].corrected for name in known] == pytest.approx(list(expected), rel=1e-13)


@pytest.mark.parametrize(("ours", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_corrections_are_statsmodels_to_the_last_bit(ours: Correction, theirs: str) -> None:
    multipletests = corrections_of_statsmodels()

    chance = np.random.default_rng(1)
    plain = difference([ScorePair(0.0, 1.0, "a"), ScorePair(1.0, 1.0, "b")])
    assert plain is not None
    for count in (1, 2, 7, 25):
        for digits in (1, 15):
            values = np.round(chance.random(count) ** 3, digits)
            found = corrected({str(n): replace(plain, p=float(p)) for n, p in enumerate(values)}, ours)
            assert [each.corrected for each in found.values()] == list(
                multipletests(values, method=theirs)[1]
            )
