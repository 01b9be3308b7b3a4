"""Between this process and a GPU without waiting for it.

A plain copy to a GPU waits until all that was launched before has run, and so does reading a number from it.
Where neither happens, the next call is laid out while this one is computed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """``values`` of the CPU on a device: a GPU fetches them by itself, in its own time."""
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class AsyncHostCopy:
    """Tensors on their way from a device, as they are now."""

    def __init__(self, *values: Tensor) -> None:
        self._values = [each.to("cpu", non_blocking=True) for each in values]
        self._arrival: Any = None
        if values[0].is_cuda:
            self._arrival = torch.cuda.current_stream(values[0].device).record_event()

    def wait(self) -> list[list[Any]]:
        """Each as a list; waits until they are here."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return [each.tolist() for each in self._values]
