"""Copies between the host and a GPU that don't wait for it.

A plain copy to a GPU waits until everything launched before has run, and so does reading a number from it.
Without either, the host lays out the next call while the GPU computes this one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on a device; to a GPU asynchronously, through pinned memory."""
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class AsyncHostCopy:
    """Tensors that are being copied to the host, with the values they have now."""

    def __init__(self, *values: Tensor) -> None:
        self._values = [each.to("cpu", non_blocking=True) for each in values]
        self._arrival: Any = None
        if values[0].is_cuda:
            self._arrival = torch.cuda.current_stream(values[0].device).record_event()

    def wait(self) -> list[list[Any]]:
        """Each tensor as a list, when the copies are complete."""
        if self._arrival is not None:
            self._arrival.synchronize()
        return [each.tolist() for each in self._values]
