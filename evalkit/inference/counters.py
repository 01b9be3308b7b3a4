"""What the engine did, counted while it does it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

STAGES = ("wait", "vision", "prefill", "decode", "store")
"""Where the model's process spends its time: waiting for pixels, in the vision tower, in prompts, in
generated tokens, and storing answers."""


@dataclass
class EngineCounters:
    """Counts, wall-clock seconds, and seconds of processors.

    ``seconds`` by stage (:data:`STAGES`); ``prepare`` in it is CPU time of preprocessing, in worker
    processes. ``cpu`` by stage: of all threads of this process. ``counts``: ``requests``, ``media`` shown to
    the vision tower, ``visual`` tokens of these, ``prompt`` tokens of all requests as if each were alone,
    ``prefill`` tokens that the language model processed for them, ``decoded``
    tokens, ``steps`` of decoding, ``graphs`` recorded for these,
    ``splits`` after running out of memory.
    """

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        began, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began
            self.cpu[name] += time.process_time() - cpu
