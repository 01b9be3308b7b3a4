"""A GPU that breaks down, once or for good, costs the samples concerned, and each is answered once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from test_run import FakeModel, request

from evalkit.core.errors import OutOfMemory
from evalkit.core.types import Generation, Prepared, Response
from evalkit.engine.scheduler import run_requests

FAULTS = [
    "CUDA error: device-side assert triggered",
    "CUDA error: unspecified launch failure",
    "CUDA error: an illegal memory access was encountered",
]


@dataclass
class Broken(FakeModel):
    """Its device fails at the calls from ``first`` on, at most ``times`` of them."""

    says: str = ""
    first: int = 2
    times: int = 1
    calls: int = 0
    memory: bool = False

    def generate(self, batch: Sequence[Prepared]) -> list[Generation]:
        self.calls += 1
        if self.first <= self.calls < self.first + self.times:
            raise OutOfMemory(self.says) if self.memory else RuntimeError(self.says)
        return super().generate(batch)


def answered(model: Broken, workers: int) -> list[Response]:
    requests = [request(number, "ab" * (number + 1)) for number in range(12)]
    found: list[Response] = []
    run_requests(model, requests, on_batch=found.extend, workers=workers, batch_size=3)  # type: ignore[arg-type]
    assert Counter(each.key for each in found) == Counter(each.key for each in requests)
    return found


@pytest.mark.parametrize("says", FAULTS)
def test_once(says: str) -> None:
    found = answered(Broken(says=says), 0)
    assert not any(each.error for each in found)  # those of the batch were answered one by one


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("says", FAULTS)
def test_for_good(says: str, workers: int) -> None:
    found = answered(Broken(says=says, times=10**6), workers)
    failed = [each for each in found if each.error]
    assert len(failed) == 12 - 3  # what was answered before stays
    assert all(says in str(each.error) and each.text == "" for each in failed)


def test_out_of_memory_for_good() -> None:
    found = answered(Broken(says="CUDA out of memory", times=10**6, memory=True), 0)
    failed = [each for each in found if each.error]
    assert len(failed) == 12 - 3
    assert all("does not fit into memory alone" in str(each.error) for each in failed)
