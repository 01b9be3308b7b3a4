"""An engine with nothing to do leaves the processor to others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from test_run import FakeModel, request

from evalkit.engine.config import EngineConfig
from evalkit.engine.planner import RequestGroup, group_requests
from evalkit.engine.scheduler import generate_groups

WAIT = 1.5


@pytest.mark.parametrize("models", [1, 2])
@pytest.mark.parametrize("workers", [0, 1])
def test_waiting_takes_no_processor_time(models: int, workers: int) -> None:
    """The work queue has nothing for a while, as at the end of a run, and then one more group."""
    first, last = (group_requests([[request(number, "abc")]] * models, lambda each: 3) for number in (1, 2))
    used: list[float] = []

    def groups() -> Iterator[RequestGroup | None]:
        yield from first
        while not answered:
            yield None
        began, processor = time.monotonic(), time.process_time()
        while time.monotonic() - began < WAIT:
            yield None
        used.append((time.process_time() - processor) / (time.monotonic() - began))
        yield from last

    answered: list[str] = []
    for _, batch in generate_groups(
        [FakeModel() for _ in range(models)], groups(), EngineConfig(workers=workers)
    ):  # type: ignore[misc]
        answered += [each.key for each in batch]
    assert sorted(answered) == ["k1"] * models + ["k2"] * models
    assert used[0] < 0.2  # it was 1 of a free core


def test_answers_that_are_ready_are_not_slept_over(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("evalkit.engine.scheduler.time.sleep", slept.append)
    groups = group_requests([[request(number, "ab" * (number + 1)) for number in range(50)]], lambda each: 3)
    batches = list(generate_groups([FakeModel()], groups, EngineConfig(workers=0, batch_size=1)))  # type: ignore[list-item]
    assert sum(len(batch) for _, batch in batches) == 50
    assert slept == []
