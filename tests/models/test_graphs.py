"""Recorded steps: what a recording computes, with a capture that records by doing the work again."""

from __future__ import annotations

from typing import Any

import pytest
from test_techniques import SOME, new, put, questions, texts

from evalkit.models.base import Unit
from evalkit.models.decoder import HfDecoder
from evalkit.models.graphs import AFTER, AHEAD, Work

LIMIT = 2 * AHEAD


def again(work: Work) -> Work:
    return work


def unrecordable(work: Work) -> Work:
    raise RuntimeError("operation not permitted when stream is capturing")


def answered(name: str, variant: str, capture: Any) -> tuple[dict[str, Any], HfDecoder]:
    """Questions that share media and others, which enter while the first are being answered."""
    family, model, installed = put(name, variant)
    asked = questions(family, limit=LIMIT)
    one = new(name, model, installed, capture=capture)
    found = texts(one.add([Unit(tuple(asked), asked[0].prefix)]))
    for _ in range(AFTER + 3):
        found |= texts(one.step() if one.live else [])
    found |= texts(one.add([Unit((item,), item.prefix) for item in family.prompts]))
    while one.live:
        found |= texts(one.step())
    return found, one


@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl", "internvl"])
def test_recorded_steps_give_the_same_answers(name: str, variant: str) -> None:
    expected, _ = answered(name, variant, None)
    found, used = answered(name, variant, again)
    assert found == expected
    counts = used.stats.counts
    assert 2 <= counts["graphs"] < counts["steps"] / 2
    assert used._recorder is not None
    assert used._recorder._last is None, "memory is given back"


def test_what_can_t_be_recorded_is_done_step_by_step() -> None:
    expected, _ = answered("qwen2_5_vl", "mrope", None)
    with pytest.warns(UserWarning, match="without CUDA graphs: operation not permitted"):
        found, used = answered("qwen2_5_vl", "mrope", unrecordable)
    assert found == expected
    assert used.stats.counts["graphs"] == 0
