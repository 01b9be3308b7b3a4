"""What `--devices` means."""

from __future__ import annotations

import pytest

from evalkit.engine.executors.base import Order
from evalkit.engine.executors.seats import Seat, seats_of
from evalkit.errors import UsageError


def test_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert seats_of(["0", "cuda:3"]) == [Seat("cuda", ("0",)), Seat("cuda", ("3",))]
    assert seats_of(["0+1", "2+3"]) == [Seat("cuda", ("0", "1")), Seat("cuda", ("2", "3"))]


def test_numbers_count_within_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert seats_of(["0", "1"]) == [Seat("cuda", ("4",)), Seat("cuda", ("GPU-abc",))]
    with pytest.raises(UsageError, match="2 GPUs"):
        seats_of(["2"])


@pytest.mark.parametrize("names", [["gpu"], ["0", "cpu"], ["-1"], ["0+"]])
def test_what_is_no_device(names: list[str]) -> None:
    with pytest.raises(UsageError):
        seats_of(names)


def test_several_gpus_spread_a_model() -> None:
    where = Seat("cuda", ("0", "1")).taken_by(Order("m")).where
    assert (where.device, where.device_map) == ("cuda", "auto")
    assert Seat("cuda", gpus=2).taken_by(Order("m")).where.device_map == "auto"
    assert Seat("cuda", ("0",)).taken_by(Order("m")).where.device_map is None
