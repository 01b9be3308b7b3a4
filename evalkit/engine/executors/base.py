"""What the rest of evalkit knows of an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evalkit.core.types import Request
from evalkit.engine.scheduler import EngineConfig, ResponseStream
from evalkit.models.base import LoadConfig, ModelInfo


@dataclass(frozen=True)
class ModelSpec:
    """A model to load, as :func:`evalkit.models.load_model` names it; ``identity`` is what another engine
    found it to be.
    """

    model: str
    rope: str = "auto"
    load_config: LoadConfig = field(default_factory=LoadConfig)
    identity: Mapping[str, str] | None = None


class Executor(Protocol):
    """Loads models and has them answer requests."""

    @property
    def cores(self) -> float:
        """Processor cores for each engine."""
        ...

    def describe(self, spec: ModelSpec) -> ModelInfo:
        """What an order would load, without its weights.

        Raises:
            EvalkitError: it can't be loaded.
        """
        ...

    def load(self, specs: Sequence[ModelSpec], *, lockstep: bool) -> list[ModelInfo]:
        """Load what the first order says and, if ``lockstep``, those after it that can be answered side by
        side with it: read requests alike, and fit into memory beside it. What was loaded before is
        dropped.

        Returns:
            The model_infos of the specs that were loaded, in spec, of the first at least.

        Raises:
            EvalkitError: the first one can't be loaded.
        """
        ...

    def generate(self, requests: Sequence[Sequence[Request]], settings: EngineConfig) -> ResponseStream:
        """See :func:`evalkit.engine.scheduler.generate`; the models are those that were loaded, in spec."""
        ...

    def close(self) -> None:
        """Drop all models and end what was started for them."""
        ...
