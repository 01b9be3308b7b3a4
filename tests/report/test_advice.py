"""Which arm is best for given weights, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_comparison import record

from evalkit.core.errors import UsageError
from evalkit.metrics.anls import Anls
from evalkit.report.advice import Advice, advise, resolve_weights
from evalkit.report.aggregate import BenchmarkColumn, make_cell
from evalkit.report.comparison import Arm, Comparison
from evalkit.store import Record

settings.register_profile("calm", deadline=None)
settings.load_profile("calm")

COLUMNS = [
    BenchmarkColumn("mmbench_en_dev", "image", "A", "acc", (0.0, 1.0), "MMBench_avg"),
    BenchmarkColumn("mmbench_cn_dev", "image", "B", "acc", (0.0, 1.0), "MMBench_avg"),
    BenchmarkColumn("docs", "image", "C", "acc", (0.0, 1.0)),
    BenchmarkColumn("clip", "video", "D", "acc", (0.0, 1.0)),
]


def advice(
    scores: dict[str, dict[str, Sequence[float]]],
    weights: dict[str, float] | None = None,
    cluster: int = 1,
    members: dict[str, list[str]] | None = None,
) -> Advice:
    """``scores`` maps arm and task to what each sample scored."""
    columns = [column for column in COLUMNS if column.task in next(iter(scores.values()))]
    records: dict[str, dict[str, list[Record]]] = {
        arm: {
            task: [
                record(n, value, task=task, cluster_id=str(n // cluster)) for n, value in enumerate(values)
            ]
            for task, values in tasks.items()
        }
        for arm, tasks in scores.items()
    }
    cells = {
        arm: {
            column.task: make_cell(arm, column, tasks[column.task], len(tasks[column.task]), Anls())
            for column in columns
        }
        for arm, tasks in records.items()
    }
    arms = [Arm(arm, "m", arm, "f", "x", "run") for arm in scores]
    return advise(Comparison(arms, columns, cells), records, lambda arm, task: Anls(), weights, members)


def drawn(share: float, seed: int, count: int = 300) -> list[float]:
    return [float(right) for right in np.random.default_rng(seed).random(count) < share]


def test_a_clear_winner_is_named() -> None:
    found = advice({"a": {"docs": drawn(0.5, 1)}, "b": {"docs": drawn(0.8, 1)}})
    assert [each.arm for each in found.ranked] == ["b", "a"]
    assert found.settled
    assert found.verdict().startswith("Take b")
    assert found.factor == 1.0


def test_weights_decide() -> None:
    scores = {
        "charts": {"docs": drawn(0.9, 2), "clip": drawn(0.3, 3)},
        "videos": {"docs": drawn(0.3, 2), "clip": drawn(0.9, 3)},
    }
    assert advice(scores, {"docs": 2}).ranked[0].arm == "charts"
    assert advice(scores, {"video": 2}).ranked[0].arm == "videos"
    assert advice(scores, {"video": 3, "image": 1}).ranked[0].arm == "videos"
    assert advice(scores, {"docs": 0, "clip": 1}).ranked[0].arm == "videos"


def test_when_the_data_can_t_tell_it_says_how_many_would() -> None:
    base = drawn(0.5, 4, 200)
    other = [1 - value if n % 10 == 0 else value for n, value in enumerate(base)]
    found = advice({"a": {"docs": base}, "b": {"docs": other}})
    assert not found.settled
    assert "can't tell" in found.verdict()
    lead = abs(np.mean(base) - np.mean(other))
    spread = np.std(np.asarray(base) - np.asarray(other)) / math.sqrt(200)
    assert found.factor == pytest.approx((2.8016 * spread / lead) ** 2, rel=0.1)


def test_equal_arms_share_the_first_place() -> None:
    same = drawn(0.5, 5)
    found = advice({"a": {"docs": same}, "b": {"docs": same}})
    assert [each.best for each in found.ranked] == [0.5, 0.5]
    assert math.isinf(found.factor)
    assert "the same" in found.verdict()


def test_questions_about_one_video_are_not_independent() -> None:
    first = [float(n // 10 % 2) for n in range(300)]
    second = [1.0 if n < 40 else value for n, value in enumerate(first)]
    alone = advice({"a": {"clip": first}, "b": {"clip": second}})
    together = advice({"a": {"clip": first}, "b": {"clip": second}}, cluster=10)
    assert together.ranked[0].best < alone.ranked[0].best


@given(shares=st.lists(st.floats(0.1, 0.9), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_probabilities_add_up(shares: list[float], seed: int) -> None:
    found = advice({f"arm{n}": {"docs": drawn(share, seed + n, 40)} for n, share in enumerate(shares)})
    assert sum(each.best for each in found.ranked) == pytest.approx(1)
    for each in found.ranked:
        assert each.low - 1e-9 <= each.score <= each.high + 1e-9
    scores = [each.score for each in found.ranked]
    assert scores == sorted(scores, reverse=True)


def test_weights_without_any_are_the_paper_s_overall_mean() -> None:
    plain = {"mmbench_en_dev": 0.125, "mmbench_cn_dev": 0.125, "docs": 0.25, "clip": 0.5}
    assert resolve_weights(COLUMNS, None) == pytest.approx(plain)
    assert resolve_weights(COLUMNS, {}) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"video": 2}, {"mmbench_en_dev": 1 / 12, "mmbench_cn_dev": 1 / 12, "docs": 1 / 6, "clip": 2 / 3}),
        ({"docs": 0}, {"mmbench_en_dev": 1 / 6, "mmbench_cn_dev": 1 / 6, "docs": 0, "clip": 2 / 3}),
        ({"mmbench*": 3}, {"mmbench_en_dev": 0.25, "mmbench_cn_dev": 0.25, "docs": 1 / 6, "clip": 1 / 3}),
        ({"*": 0, "docs": 1}, {"mmbench_en_dev": 0, "mmbench_cn_dev": 0, "docs": 1, "clip": 0}),
        ({"image": 0, "docs": 1}, {"mmbench_en_dev": 0, "mmbench_cn_dev": 0, "docs": 1 / 3, "clip": 2 / 3}),
    ],
)
def test_what_is_not_named_counts_1(weights: dict[str, float], expected: dict[str, float]) -> None:
    assert resolve_weights(COLUMNS, weights) == pytest.approx(expected)


@given(
    weights=st.dictionaries(
        st.sampled_from(["image", "video", "docs", "clip", "mmbench*"]), st.floats(0.01, 9), max_size=5
    )
)
def test_weights_add_up_and_only_the_named_ones_change(weights: dict[str, float]) -> None:
    plain, found = resolve_weights(COLUMNS, None), resolve_weights(COLUMNS, weights)
    assert sum(found.values()) == pytest.approx(1)
    named = {"image": ("docs", "mmbench_en_dev", "mmbench_cn_dev"), "video": ("clip",), "docs": ("docs",)}
    named |= {"clip": ("clip",), "mmbench*": ("mmbench_en_dev", "mmbench_cn_dev")}
    touched = {task for name in weights for task in named[name]}
    rest = [task for task in plain if task not in touched]
    for one, two in pairwise(rest):
        assert found[one] / found[two] == pytest.approx(plain[one] / plain[two])


@pytest.mark.parametrize(
    "weights", [{"dosc": 1.0}, {"*": 0.0}, {"docs": -1.0, "clip": 3.0}, {"mmbench*": 1, "*_dev": 2}]
)
def test_bad_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        resolve_weights(COLUMNS, weights)


def test_no_probability_of_100_percent_and_its_conditions_are_said() -> None:
    found = advice({"a": {"docs": [0.0] * 50}, "b": {"docs": [1.0] * 50}})
    assert found.ranked[0].best == 1
    said = f"{found.verdict()} {found.conditions()}"
    assert "more than 99% of 4,000 resamples of samples" in said
    assert "100%" not in said
    assert "probability" not in said
    assert [each.best_text() for each in found.ranked] == [">99%", "<1%"]
    assert "the checkpoint of every arm: one checkpoint can't separate RoPE from seed" in said


def test_seeds_are_resampled_and_few_are_named() -> None:
    """Each method's seeds differ more than the methods: one seed each would settle it, three don't."""
    shares = {"a1": 0.5, "a2": 0.8, "a3": 0.65, "b1": 0.55, "b2": 0.85, "b3": 0.7}
    scores = {arm: {"docs": [float(n < 2000 * share) for n in range(2000)]} for arm, share in shares.items()}
    alone = advice({arm: scores[arm] for arm in ("a1", "b1")})
    assert alone.settled
    found = advice(scores, members={"a": ["a1", "a2", "a3"], "b": ["b1", "b2", "b3"]})
    assert [each.arm for each in found.ranked] == ["b", "a"]
    assert [each.score for each in found.ranked] == pytest.approx([0.7, 0.65])
    assert not found.settled
    assert "few training seeds (a 3, b 3)" in found.conditions()
    assert "resamples of training seeds and samples" in found.verdict()
