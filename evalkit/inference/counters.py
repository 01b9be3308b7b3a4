"""Counters of the engine: seconds by stage, and numbers of media, tokens and steps."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STAGES = ("wait", "vision", "prefill", "decode", "store")
"""Where the model's process spends its time: waiting for preprocessing, in the vision tower, in prefill, in
decode steps, and storing answers."""


@dataclass
class EngineCounters:
    """What a run of the engine took and did.

    Attributes:
        seconds: wall-clock time by stage (:data:`STAGES`), and ``prepare``: processor time of preprocessing,
            in worker processes.
        cpu: processor time by stage, of all threads of this process.
        counts: ``requests`` answered; ``media`` encoded; ``visual`` tokens of these; ``prompt`` tokens of all
            requests; ``prefill`` tokens computed for them; ``decoded`` tokens; decode ``steps``; CUDA
            ``graphs`` captured for these; ``splits`` after running out of memory.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Within, count the time for a stage."""
        began, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began
            self.cpu[name] += time.process_time() - cpu
