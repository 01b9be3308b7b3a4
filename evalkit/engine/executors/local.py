"""The executor with one engine, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from evalkit.core.errors import EvalkitError
from evalkit.core.provenance import usable_cores
from evalkit.core.types import Request
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.engines import describe_spec
from evalkit.engine.planner import plan_requests
from evalkit.engine.scheduler import ResponseStream, generate_groups
from evalkit.inference.counters import EngineCounters
from evalkit.models.base import Model, ModelInfo


@dataclass
class LocalExecutor:
    """See :class:`evalkit.engine.executors.base.Executor`; ``models`` are those that are loaded, ``stats``
    counts what they do.
    """

    models: list[Model] = field(default_factory=list)
    stats: EngineCounters = field(default_factory=EngineCounters)

    @property
    def cores(self) -> float:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return usable_cores()

    def describe(self, spec: ModelSpec) -> ModelInfo:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return describe_spec(spec)

    def load(self, specs: Sequence[ModelSpec], *, lockstep: bool) -> list[ModelInfo]:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        self.close()
        model_infos: list[ModelInfo] = []
        for spec in specs if lockstep else specs[:1]:
            try:
                model_info = describe_spec(spec)
                if self.models and not self._fits_beside(model_info):
                    break
                model = model_info.load()
            except EvalkitError:
                if not self.models:
                    raise
                break  # it may fit alone; if not, that will be said then
            if self.models:
                model.share_weights_with(self.models[0])
            self.models.append(model)
            model_infos.append(model.info)
        return model_infos

    def generate(self, requests: Sequence[Sequence[Request]], config: EngineConfig) -> ResponseStream:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        groups = plan_requests(self.models[0].info.preprocessor, requests, config)
        return generate_groups(self.models, groups, config, self.stats)

    def close(self) -> None:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        for model in self.models:
            model.close()
        self.models = []

    def _fits_beside(self, model_info: ModelInfo) -> bool:
        """Whether a model can run side by side with those that are loaded."""
        first = self.models[0]
        return first.info.preprocessor == model_info.preprocessor and first.fits_beside(model_info)
