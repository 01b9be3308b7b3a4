"""Who is told what happens during a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from evalkit.errors import EvalkitError


class Reporter(Protocol):
    """Told what happens during a run; the command line draws it."""

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """An arm begins; ``done`` samples of each task were already in the store."""
        ...

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """One sample was answered and stored."""
        ...

    def arm_finished(self, arm: str) -> None:
        """All samples of an arm are stored."""
        ...

    def note(self, text: str) -> None:
        """Something that may be good to know."""
        ...

    def problem(self, error: EvalkitError) -> None:
        """Something went wrong that ends one arm but not the run."""
        ...


class Silent:
    """Reports nothing."""

    def arm_started(self, arm: str, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        """Ignore it."""

    def answered(self, arm: str, task: str, failed: bool) -> None:
        """Ignore it."""

    def arm_finished(self, arm: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def problem(self, error: EvalkitError) -> None:
        """Ignore it; the error is in the result as well."""
