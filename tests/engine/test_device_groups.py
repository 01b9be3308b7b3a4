"""What `--devices` means."""

from __future__ import annotations

import pytest

from evalkit.core.errors import UsageError
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.device_groups import DeviceGroup, parse_device_groups


def test_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert parse_device_groups(["0", "cuda:3"]) == [DeviceGroup("cuda", ("0",)), DeviceGroup("cuda", ("3",))]
    assert parse_device_groups(["0+1", "2+3"]) == [
        DeviceGroup("cuda", ("0", "1")),
        DeviceGroup("cuda", ("2", "3")),
    ]


def test_numbers_count_within_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-abc")
    assert parse_device_groups(["0", "1"]) == [DeviceGroup("cuda", ("4",)), DeviceGroup("cuda", ("GPU-abc",))]
    with pytest.raises(UsageError, match="2 GPUs"):
        parse_device_groups(["2"])


@pytest.mark.parametrize("names", [["gpu"], ["0", "cpu"], ["-1"], ["0+"]])
def test_what_is_no_device(names: list[str]) -> None:
    with pytest.raises(UsageError):
        parse_device_groups(names)


def test_several_gpus_spread_a_model() -> None:
    where = DeviceGroup("cuda", ("0", "1")).assign(ModelSpec("m")).load_config
    assert (where.device, where.device_map) == ("cuda", "auto")
    assert DeviceGroup("cuda", gpus=2).assign(ModelSpec("m")).load_config.device_map == "auto"
    assert DeviceGroup("cuda", ("0",)).assign(ModelSpec("m")).load_config.device_map is None
