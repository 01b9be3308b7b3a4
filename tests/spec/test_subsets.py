"""Which samples a limit and the ci subset take."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError
from evalkit.core.types import Sample, Text
from evalkit.data.cache import MediaCache
from evalkit.data.selection import choose_samples, ci_subset, proportional_quotas

SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 60), min_size=1)


def samples(sizes: dict[str, int], unit: int = 1) -> list[Sample]:
    return [
        Sample(f"{label}-{number}", (Text("?"),), "", "c", {"kind": label}, unit=f"{label}-u{number // unit}")
        for label, size in sizes.items()
        for number in range(size)
    ]


@given(sizes=SIZES, limit=st.integers(0, 100))
def test_shares_add_up_and_are_proportional(sizes: dict[str, int], limit: int) -> None:
    found = proportional_quotas(sizes, limit)
    total = sum(sizes.values())
    assert sum(found.values()) == min(limit, total)
    for label, size in sizes.items():
        assert 0 <= found[label] <= size
        assert abs(found[label] - size * min(limit, total) / total) < 1


@given(sizes=SIZES, limit=st.integers(1, 60), seed=st.integers(0, 99))
def test_the_ci_subset_is_the_same_in_any_order(sizes: dict[str, int], limit: int, seed: int) -> None:
    everything = samples(sizes)
    shuffled = random.Random(seed).sample(everything, len(everything))
    found = ci_subset(everything, limit)
    assert found == ci_subset(shuffled, limit)
    assert Counter(each.partition("-")[0] for each in found) == +Counter(proportional_quotas(sizes, limit))


@given(size=st.integers(4, 80), limit=st.integers(4, 60))
def test_a_unit_is_never_cut(size: int, limit: int) -> None:
    everything = samples({"a": 4 * size}, unit=4)
    found = choose_samples(everything, limit, MediaCache(Path("unused")))
    assert set(Counter(each.sample.unit for each in found).values()) == {4}
    assert len(found) == min(limit // 4 * 4, 4 * size)
    subset = ci_subset(everything, limit)
    assert len(subset) == min(limit // 4 * 4, 4 * size)


def test_a_limit_takes_the_same_samples_as_before_units() -> None:
    found = choose_samples(samples({"a": 20}), 5, MediaCache(Path("unused")))
    more = choose_samples(samples({"a": 20}), 9, MediaCache(Path("unused")))
    assert len(found) == 5
    assert {each.sample.id for each in found} < {each.sample.id for each in more}


def test_subset_and_limit_exclude_each_other() -> None:
    order = {"models": ("mock",), "tasks": ("mini",)}
    with pytest.raises(UsageError, match="give one"):
        RunSpec(**order, limit=3, subset="ci")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="`ci`"):
        RunSpec(**order, subset="ic")  # type: ignore[arg-type]
    RunSpec(**order, subset="ci")  # type: ignore[arg-type]
