"""A GPU that breaks down once costs nothing, and one that is lost no sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from test_run import FakeModel, request

from evalkit.cli import run_cli
from evalkit.core.errors import DeviceLost, OutOfMemory
from evalkit.core.types import Generation, Prepared, Response
from evalkit.engine.scheduler import run_requests
from evalkit.inference.memory import device_problem
from evalkit.store import RunDir

FAULTS = [
    "CUDA error: device-side assert triggered",
    "CUDA error: unspecified launch failure",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: uncorrectable ECC error encountered",
]


@dataclass
class Broken(FakeModel):
    """Fails at the calls from ``first`` on, at most ``times`` of them; ``lost``: its device with it."""

    says: str = ""
    first: int = 2
    times: int = 1
    calls: int = 0
    memory: bool = False
    lost: bool = False

    def generate(self, batch: Sequence[Prepared]) -> list[Generation]:
        self.calls += 1
        if self.first <= self.calls < self.first + self.times:
            raise OutOfMemory(self.says) if self.memory else RuntimeError(self.says)
        return super().generate(batch)

    def device_problem(self) -> str | None:  # type: ignore[override]
        return self.says if self.lost and self.calls >= self.first else None


REQUESTS = [request(number, "ab" * (number + 1)) for number in range(12)]


def answered(model: Broken, workers: int) -> list[Response]:
    found: list[Response] = []
    run_requests(model, REQUESTS, on_batch=found.extend, workers=workers, batch_size=3)  # type: ignore[arg-type]
    assert Counter(each.key for each in found) == Counter(each.key for each in REQUESTS)
    return found


@pytest.mark.parametrize("says", FAULTS)
def test_once(says: str) -> None:
    found = answered(Broken(says=says), 0)
    assert not any(each.error for each in found)  # those of the batch were answered one by one


@pytest.mark.parametrize("workers", [0, 1])
def test_a_model_that_fails_for_good_on_a_device_that_works(workers: int) -> None:
    found = answered(Broken(says=FAULTS[0], times=10**6), workers)
    failed = [each for each in found if each.error]
    assert len(failed) == 12 - 3  # what was answered before stays
    assert all(FAULTS[0] in str(each.error) and each.text == "" for each in failed)


@pytest.mark.parametrize("first", [1, 2, 4])
@pytest.mark.parametrize("says", FAULTS)
def test_a_lost_device_ends_the_engine_and_is_no_sample_s_error(says: str, first: int) -> None:
    found: list[Response] = []
    model = Broken(says=says, first=first, times=10**6, lost=True)
    with pytest.raises(DeviceLost, match=says):
        run_requests(model, REQUESTS, on_batch=found.extend, workers=0, batch_size=3)  # type: ignore[arg-type]
    assert model.calls == first  # nothing more was tried on it
    assert len(found) == 3 * (first - 1)  # and what was finished was handed over
    assert not any(each.error for each in found)


def test_a_device_that_is_lost_while_a_batch_is_taken_apart() -> None:
    model = Broken(says=FAULTS[0], times=10**6, lost=False)
    model.device_problem = lambda: FAULTS[0] if model.calls >= 4 else None  # type: ignore[method-assign]
    found: list[Response] = []
    with pytest.raises(DeviceLost):
        run_requests(model, REQUESTS, on_batch=found.extend, workers=0, batch_size=3)  # type: ignore[arg-type]
    assert [bool(each.error) for each in found] == [False, False, False, True]


def test_out_of_memory_for_good() -> None:
    found = answered(Broken(says="CUDA out of memory", times=10**6, memory=True), 0)
    failed = [each for each in found if each.error]
    assert len(failed) == 12 - 3
    assert all("does not fit into memory alone" in str(each.error) for each in failed)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (None, None),
        (torch.OutOfMemoryError("CUDA out of memory"), None),
        (RuntimeError(f"{FAULTS[3]}\nCUDA kernel errors might be reported later"), f"cuda:0: {FAULTS[3]}"),
        (RuntimeError(), "cuda:0: RuntimeError"),
    ],
)
def test_a_device_is_asked_by_computing_on_it(
    error: Exception | None, lost: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ones(size: int, device: torch.device) -> torch.Tensor:
        asked.append(device)
        if error is not None:
            raise error
        return torch.zeros(size)

    monkeypatch.setattr(torch, "ones", ones)
    assert device_problem([torch.device("cpu"), torch.device("cuda", 0)]) == lost
    assert asked == [torch.device("cuda", 0)]  # the processor is not asked


@pytest.mark.filterwarnings("ignore")
def test_a_command_whose_device_is_lost_says_so_and_goes_on_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 4; no sample is an error, and no other model is tried on the device."""
    output = tmp_path / "out"
    words = ["run", "--tasks", "mini_chartqa", "--limit", "6", "-q", "--workers", "0", "--batch-size", "1"]
    assert run_cli([*words, "--model", "mock", "--output", str(tmp_path / "names")]) == 0
    names = [record.sample_id for record in RunDir.open(tmp_path / "names").records()]
    capsys.readouterr()
    lost = f"mock:lose={names[2]}"
    assert run_cli([*words, "--model", lost, "--model", "mock", "--output", str(output)]) == 4
    said = capsys.readouterr().err
    assert "the device that the model computes on is lost" in said
    assert FAULTS[2] in said
    assert "give the same command again: what was answered is kept" in said
    stored = RunDir.open(output).journal().records.values()
    assert not any(record.failed or record.sample_id == names[2] for record in stored)
    assert {record.model for record in stored} <= {lost}
