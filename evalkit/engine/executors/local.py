"""The engine in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from evalkit.engine.executors.base import Order
from evalkit.engine.run import Answers, Settings, answers
from evalkit.errors import EvalkitError
from evalkit.models import describe_model
from evalkit.models.base import Card, Model
from evalkit.provenance import usable_cores
from evalkit.types import Request


@dataclass
class Local:
    """See :class:`evalkit.engine.executors.base.Executor`; ``models`` are those that are loaded."""

    models: list[Model] = field(default_factory=list)

    @property
    def cores(self) -> float:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return usable_cores()

    def describe(self, order: Order) -> Card:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return describe_model(order.model, order.rope, order.where)

    def load(self, orders: Sequence[Order], *, lockstep: bool) -> list[Card]:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        self.models = []
        cards: list[Card] = []
        for order in orders if lockstep else orders[:1]:
            try:
                card = describe_model(order.model, order.rope, order.where)
                if self.models and not self._suits(card):
                    break
                model = card.load()
            except EvalkitError:
                if not self.models:
                    raise
                break  # it may fit alone; if not, that will be said then
            if self.models:
                model.join(self.models[0])
            self.models.append(model)
            cards.append(model.card)
        return cards

    def answers(self, requests: Sequence[Sequence[Request]], settings: Settings) -> Answers:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return answers(self.models, requests, settings)

    def close(self) -> None:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        self.models = []

    def _suits(self, card: Card) -> bool:
        """Whether a model may join those that are loaded."""
        first = self.models[0]
        return first.preprocessor == card.preprocessor and first.has_room_for(card)
