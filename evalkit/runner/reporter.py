"""The reporter: is told what happens during a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from evalkit.core.errors import EvalkitError


class Reporter(Protocol):
    """Told what happens during a run; the command line draws it."""

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
