"""The reporter: is told what happens during a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from evalkit.core.errors import EvalkitError


@dataclass(frozen=True)
class TaskWork:
    """What a run asks one system of one task: ``samples``, of which ``done`` are stored already, and about
    how many ``tokens`` one of them takes, the answer's included.
    """

    system: str
    task: str
    samples: int
    done: int
    tokens: float


class Reporter(Protocol):
    """Told what happens during a run; the command line draws it."""

    def planned(self, work: Sequence[TaskWork]) -> None:
        """The whole run is planned."""
        ...

    def phase(self, text: str) -> None:
        """Something begins during which no sample is answered, such as loading a model."""
        ...

    def system_started(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """A system begins; ``done`` samples of each task were stored before."""
        ...

    def sample_answered(self, system: str, task: str, failed: bool) -> None:
        """One sample was answered and stored."""
        ...

    def system_finished(self, system: str) -> None:
        """All samples of a system are stored."""
        ...

    def note(self, text: str) -> None:
        """A remark for the user."""
        ...

    def problem(self, error: EvalkitError) -> None:
        """Something went wrong that ends one system but not the run."""
        ...


class SilentReporter:
    """Reports nothing."""

    def planned(self, work: Sequence[TaskWork]) -> None:
        """Ignore it."""

    def phase(self, text: str) -> None:
        """Ignore it."""

    def system_started(self, system: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Ignore it."""

    def sample_answered(self, system: str, task: str, failed: bool) -> None:
        """Ignore it."""

    def system_finished(self, system: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def problem(self, error: EvalkitError) -> None:
        """Ignore it; the error is in the result as well."""
