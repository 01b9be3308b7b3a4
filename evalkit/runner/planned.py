"""Systems of a run before they are loaded, and what each is asked."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from evalkit.core.console import scrub
from evalkit.core.task import Task
from evalkit.core.types import Request
from evalkit.data.selection import IndexedSample
from evalkit.engine.executors.base import ModelSpec
from evalkit.models.base import ModelInfo
from evalkit.models.checkpoints.source import short_name


def system_name(model: ModelInfo) -> str:
    """``model@variant``, without secrets; a local checkpoint goes by its folder's name."""
    return scrub(f"{short_name(model.name)}@{model.variant}")


@dataclass(frozen=True)
class PlannedRequest:
    """A request, and the sample of a task that it asks."""

    request: Request
    task: Task
    indexed: IndexedSample

    @property
    def problem(self) -> str | None:
        """Why it can't be asked."""
        return self.indexed.sample.problem


@dataclass(frozen=True)
class PlannedSystem:
    """A checkpoint with a variant, before it is loaded, and what it is asked, by key."""

    spec: ModelSpec
    model_info: ModelInfo
    requests: Mapping[str, PlannedRequest]

    @property
    def name(self) -> str:
        """Its name as long as no other system of the run has it."""
        return system_name(self.model_info)

    def lock_names(self, keys: Container[str]) -> list[str]:
        """Names of the locks under which its tasks with any of these keys are answered."""
        tasks = dict.fromkeys(each.task.name for key, each in self.requests.items() if key in keys)
        return [f"{self.name}#{self.model_info.fingerprint[:6]} {task}" for task in tasks]


@dataclass(frozen=True)
class RegisteredSystem:
    """A system under the name that the run's manifest has for it."""

    name: str
    model_info: ModelInfo
    requests: Mapping[str, PlannedRequest]
