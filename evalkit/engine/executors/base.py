"""What the rest of evalkit knows of an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evalkit.engine.run import Answers, Settings
from evalkit.models.base import Card, Placing
from evalkit.types import Request


@dataclass(frozen=True)
class Order:
    """A model to load, as :func:`evalkit.models.load_model` names it; ``identity`` is what another engine
    found it to be.
    """

    model: str
    rope: str = "auto"
    where: Placing = field(default_factory=Placing)
    identity: Mapping[str, str] | None = None


class Executor(Protocol):
    """Loads models and has them answer requests."""

    @property
    def cores(self) -> float:
        """Processor cores for each engine."""
        ...

    def describe(self, order: Order) -> Card:
        """What an order would load, without its weights.

        Raises:
            EvalkitError: it can't be loaded.
        """
        ...

    def load(self, orders: Sequence[Order], *, lockstep: bool) -> list[Card]:
        """Load what the first order says and, if ``lockstep``, those after it that can be answered side by
        side with it: read requests alike, and fit into memory beside it. What was loaded before is
        dropped.

        Returns:
            The cards of the orders that were loaded, in order, of the first at least.

        Raises:
            EvalkitError: the first one can't be loaded.
        """
        ...

    def answers(self, requests: Sequence[Sequence[Request]], settings: Settings) -> Answers:
        """See :func:`evalkit.engine.run.answers`; the models are those that were loaded, in order."""
        ...

    def close(self) -> None:
        """Drop all models and end what was started for them."""
        ...
