"""How an engine answers requests; what it answers depends on none of this."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from evalkit.data.media import MEDIA_SECONDS
from evalkit.engine.optimizations import Optimizations


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Limits and switches of an engine.

    Attributes:
        workers: preprocessing processes; 0 prepares in this process.
        batch_tokens: upper limit on the tokens answered at a time, new tokens included, of all models
            together; None leaves it to the free memory.
        batch_size: upper limit on the samples that each model answers at a time.
        optimizations: what the engine may do to be fast.
        deterministic: an answer depends on nothing but its prompt, in 16 bits too, which takes longer.
        media_seconds: how long reading a medium may take until its samples get an error.
    """

    workers: int = 1
    batch_tokens: int | None = None
    batch_size: int | None = None
    optimizations: Optimizations = field(default_factory=Optimizations)
    deterministic: bool = False
    media_seconds: float = MEDIA_SECONDS

    @property
    def enabled(self) -> Optimizations:
        """The optimizations that are used: a deterministic engine shares no prompt's computation."""
        if not self.deterministic:
            return self.optimizations
        return replace(self.optimizations, prefix=False, packing=False, graphs=False)
