"""Measured: speed of the machine, and time and memory of a run."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

GIB = 2**30

WATCH_SECONDS = 0.5


@dataclass
class Usage:
    """Time and memory of a piece of work.

    Attributes:
        seconds: wall-clock time.
        cpu: processor time in seconds, with that of child processes.
        memory: the largest memory of any process of ours so far, in bytes.
        gpu_memory: the largest memory of the GPU since the beginning, in bytes.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    gpu_memory: int = 0


@contextmanager
def measured(device: torch.device) -> Iterator[Usage]:
    """Within, measure; the usage is filled in at the end."""
    usage = Usage()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
    cpu, began = _cpu(), time.perf_counter()
    with _watched() as largest:
        yield usage
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            usage.gpu_memory = torch.cuda.max_memory_reserved(device)
        usage.seconds = time.perf_counter() - began
    usage.cpu = _cpu() - cpu
    usage.memory = max(largest_process(), *largest)


def largest_process() -> int:
    """Largest memory so far of this process and of its ended children, in bytes."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return 1024 * max(resource.getrusage(kind).ru_maxrss for kind in kinds)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product: the best of several, which no model exceeds for long."""
    size = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _best(lambda: one @ other, device)


def bandwidth(device: torch.device) -> float:
    """Bytes/s that are read in a sum over memory that no cache holds."""
    numbers = torch.ones((2 if device.type == "cuda" else 1) * GIB // 4, device=device)
    return numbers.numel() * 4 / _best(numbers.sum, device)


def busy_share(device: torch.device, work: Callable[[], Any]) -> float | None:
    """Share of the time of ``work`` in which a GPU runs kernels or copies, by PyTorch's profiler; None
    without a GPU.
    """
    if device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        began = time.perf_counter()
        work()
        torch.cuda.synchronize(device)
        seconds = time.perf_counter() - began  # without what the profiler does with the events
    # Calls of the CUDA library, such as waiting for the device, are events too: of the CPU.
    spans = sorted(
        (each.time_range.start, each.time_range.end)
        for each in profiler.events() or ()
        if each.device_type.name == "CUDA"
    )
    return union(spans) / 1e6 / seconds


def union(spans: list[tuple[float, float]]) -> float:
    """Length of what sorted spans cover.

    >>> union([(0, 2), (1, 3), (5, 6)])
    4.0
    """
    covered, end = 0.0, float("-inf")
    for begin, stop in spans:
        covered += max(0.0, stop - max(begin, end))
        end = max(end, stop)
    return covered


def _best(work: Callable[[], Any], device: torch.device) -> float:
    seconds = []
    for _ in range(8):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _cpu() -> float:
    """Processor time of this process and all its descendants: workers are children of a fork server."""
    import psutil

    seconds = 0.0
    for each in (own := psutil.Process(), *own.children(recursive=True)):
        with suppress(psutil.Error):  # it may just have ended
            times = each.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Within, watch the largest memory of any descendant."""
    largest, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            largest[0] = max(largest[0], *_peaks())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield largest
    finally:
        ended.set()
        thread.join()


def _peaks() -> list[int]:
    """Largest memory so far of every living descendant, in bytes."""
    import psutil

    peaks = [0]
    for each in psutil.Process().children(recursive=True):
        with suppress(OSError, ValueError, IndexError):  # it may just have ended, or the system has no /proc
            status = Path(f"/proc/{each.pid}/status").read_text(encoding="utf-8")
            peaks.append(1024 * int(status.partition("VmHWM:")[2].split()[0]))
    return peaks
