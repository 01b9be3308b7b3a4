"""How much is prepared ahead: enough for every worker, and no more than the memory bound."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from test_run import FakePreprocessor, request

from evalkit.core.types import Prepared
from evalkit.engine.planner import RequestGroup, SharedRequest
from evalkit.engine.preprocessing_pool import (
    AHEAD_GROUPS_PER_WORKER,
    AHEAD_TOKENS,
    AHEAD_TOKENS_PER_WORKER,
    _PreprocessingPool,
    prepare_all,
)
from evalkit.engine.worker_pool import PRELOADED

VIDEO = 24_576
"""Tokens of the longest videos of the usual protocol."""

UnderWay = Callable[[Sequence[int], int], list[list[int]]]


@pytest.fixture
def under_way(monkeypatch: pytest.MonkeyPatch) -> UnderWay:
    """Of groups of so many tokens those that are prepared or being prepared, whenever one is handed out."""

    def found(tokens: Sequence[int], workers: int) -> list[list[int]]:
        begun: list[int] = []
        own = _PreprocessingPool.submit

        def submit(pool: _PreprocessingPool, group: RequestGroup) -> Any:
            begun.append(group.prompt_tokens)
            return own(pool, group)

        monkeypatch.setattr(_PreprocessingPool, "submit", submit)
        keys = [f"k{number}" for number in range(len(tokens))]
        groups = [
            RequestGroup((SharedRequest(request(number, "a"), ((0, key),)),), size, size)
            for number, (key, size) in enumerate(zip(keys, tokens, strict=True))
        ]
        seen = []
        for done, prepared in enumerate(prepare_all(FakePreprocessor(), groups, workers)):
            assert [item.key for item in prepared.results if isinstance(item, Prepared)] == [keys[done]]
            assert prepared.group == groups[done]
            seen.append(begun[done:])
        assert len(seen) == len(tokens)
        return seen

    return found


@pytest.mark.parametrize("name", PRELOADED)
def test_what_the_fork_server_imports_is_there(name: str) -> None:
    """It ignores what it can't import: workers would only start slowly."""
    assert importlib.util.find_spec(name) is not None


def test_every_worker_has_a_long_video(under_way: UnderWay) -> None:
    assert all(len(each) >= 6 for each in under_way([VIDEO] * 14, 6)[:9])


@pytest.mark.parametrize("workers", [1, 6])
def test_memory_is_bounded(under_way: UnderWay, workers: int) -> None:
    for each in under_way([200_000, *[60_000] * 6, *[VIDEO] * 8], workers):
        assert len(each) == 1 or sum(each) <= max(AHEAD_TOKENS, workers * AHEAD_TOKENS_PER_WORKER)


def test_short_ones_are_bounded_in_number(under_way: UnderWay) -> None:
    found = under_way([10] * 40, 2)
    assert max(map(len, found)) == AHEAD_GROUPS_PER_WORKER * 2


def test_the_bound_is_what_its_text_says() -> None:
    """A visual token is four patches of 1,176 bytes."""
    assert pytest.approx(0.6e9, rel=0.05) == AHEAD_TOKENS * 4 * 1176
    assert pytest.approx(0.15e9, rel=0.05) == AHEAD_TOKENS_PER_WORKER * 4 * 1176
    assert AHEAD_TOKENS_PER_WORKER >= VIDEO
