"""What each of several engines runs on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evalkit.engine.executors.base import Order
from evalkit.errors import UsageError


@dataclass(frozen=True)
class Seat:
    """Place of an engine.

    Attributes:
        device: see :class:`~evalkit.models.base.Placing`.
        visible: GPUs of this machine as ``CUDA_VISIBLE_DEVICES`` has them; None leaves them to Ray.
        gpus: GPUs that Ray is to hand out.
    """

    device: str
    visible: tuple[str, ...] | None = None
    gpus: int = 0

    @property
    def spread(self) -> bool:
        """Whether a model is spread over several GPUs."""
        return len(self.visible or ()) > 1 or self.gpus > 1

    def taken_by(self, order: Order) -> Order:
        """An order for an engine in this place."""
        device_map = order.where.device_map or ("auto" if self.spread else None)
        return replace(order, where=replace(order.where, device=self.device, device_map=device_map))


def seats_of(devices: Sequence[str]) -> list[Seat]:
    """Places on this machine: ``0`` (or ``cuda:0``) is a GPU, ``0+1`` two for one engine, ``cpu`` a share
    of the processor.

    Raises:
        UsageError: a name is neither, or both kinds are given.

    >>> seats_of(["cpu", "cpu"])
    [Seat(device='cpu', visible=(), gpus=0), Seat(device='cpu', visible=(), gpus=0)]
    """
    seats = [_seat(name) for name in devices]
    if len({seat.device for seat in seats}) > 1:
        raise UsageError(
            f"devices `{','.join(devices)}`",
            "they are of two kinds, on which one checkpoint's answers may differ",
            "give GPUs only, or `cpu` only",
        )
    return seats


def _seat(name: str) -> Seat:
    if name == "cpu":
        return Seat("cpu", ())
    numbers = [part.removeprefix("cuda:") for part in name.split("+")]
    if not all(re.fullmatch(r"\d+", number) for number in numbers):
        raise UsageError(
            f"device `{name}`",
            "it is neither `cpu` nor the number of a GPU",
            "write `--devices 0,1,2,3`, `--devices 0+1,2+3` (two GPUs an engine) or `--devices cpu,cpu`",
        )
    return Seat("cuda", tuple(_physical(int(number), name) for number in numbers))


def _physical(number: int, name: str) -> str:
    """A GPU's name outside of this process, which may see only some of them."""
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
