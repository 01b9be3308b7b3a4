"""The executor protocol: what loads models and has them answer, here or in other processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evalkit.core.types import Request
from evalkit.engine.config import EngineConfig
from evalkit.engine.scheduler import ResponseStream
from evalkit.models.base import LoadConfig, ModelInfo


@dataclass(frozen=True)
class ModelSpec:
    """A model to load, as :func:`evalkit.models.load_model` names it; ``identity`` is that of the same model
    in another engine, None if it is not known.
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
        """The model of a spec, without its weights.

        Raises:
            EvalkitError: it can't be loaded.
        """
        ...

    def load(self, specs: Sequence[ModelSpec], *, lockstep: bool) -> list[ModelInfo]:
        """Load the first spec and, if ``lockstep``, those after it that can run side by side with it: their
        preprocessors are equal, and they fit into memory together. What was loaded before is dropped.

        Returns:
            The models that were loaded, in the order of ``specs``: at least the first.

        Raises:
            EvalkitError: the first one can't be loaded.
        """
        ...

    def generate(self, requests: Sequence[Sequence[Request]], config: EngineConfig) -> ResponseStream:
        """Answer each loaded model's requests, once each; yields batches of responses as they are finished,
        with the number of the model in the order loaded.
        """
        ...

    def close(self) -> None:
        """Drop all models and end what was started for them."""
        ...
