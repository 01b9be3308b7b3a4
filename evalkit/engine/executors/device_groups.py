"""Device groups: the devices of each of several engines."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.core.errors import UsageError
from evalkit.engine.executors.base import ModelSpec


@dataclass(frozen=True)
class DeviceGroup:
    """The devices of one engine.

    Attributes:
        device: see :class:`~evalkit.models.base.LoadConfig`.
        visible_devices: GPUs of this machine as ``CUDA_VISIBLE_DEVICES`` has them; None leaves them to Ray.
        gpus: GPUs that Ray is to hand out.
    """

    device: str
    visible_devices: tuple[str, ...] | None = None
    gpus: int = 0

    @property
    def multi_device(self) -> bool:
        """Whether a model is spread over several GPUs."""
        return len(self.visible_devices or ()) > 1 or self.gpus > 1

    def assign(self, spec: ModelSpec) -> ModelSpec:
        """A spec as an engine on these devices loads it."""
        device_map = spec.load_config.device_map or ("auto" if self.multi_device else None)
        return replace(spec, load_config=replace(spec.load_config, device=self.device, device_map=device_map))


def parse_device_groups(devices: Sequence[str]) -> list[DeviceGroup]:
    """Device groups on this machine: ``0`` (or ``cuda:0``) is a GPU, ``0+1`` two GPUs for one engine, ``cpu``
    a share of the processor.

    Raises:
        UsageError: a name is neither, or both kinds are given.

    >>> parse_device_groups(["cpu"])
    [DeviceGroup(device='cpu', visible_devices=(), gpus=0)]
    """
    device_groups = [_parse_device_group(name) for name in devices]
    if len({device_group.device for device_group in device_groups}) > 1:
        raise UsageError(
            f"devices `{','.join(devices)}`",
            "they are of two kinds, on which one checkpoint's answers may differ",
            "give GPUs only, or `cpu` only",
        )
    return device_groups


def _parse_device_group(name: str) -> DeviceGroup:
    if name == "cpu":
        return DeviceGroup("cpu", ())
    numbers = [part.removeprefix("cuda:") for part in name.split("+")]
    if not all(re.fullmatch(r"\d+", number) for number in numbers):
        raise UsageError(
            f"device `{name}`",
            "it is neither `cpu` nor the number of a GPU",
            "write `--devices 0,1,2,3`, `--devices 0+1,2+3` (two GPUs an engine) or `--devices cpu,cpu`",
        )
    return DeviceGroup("cuda", tuple(_physical(int(number), name) for number in numbers))


def _physical(number: int, name: str) -> str:
    """A GPU's name on the machine: ``CUDA_VISIBLE_DEVICES`` may let this process see only some."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if seen is None:
        return str(number)
    names = [each.strip() for each in seen.split(",") if each.strip()]
    if number >= len(names):
        raise UsageError(
            f"device `{name}`",
            f"`CUDA_VISIBLE_DEVICES={seen}` lets evalkit see {len(names)} GPUs, counted from 0",
            "choose among these, or widen the variable",
        )
    return names[number]
