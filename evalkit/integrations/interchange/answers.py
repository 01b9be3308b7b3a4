"""The answers in another program's file of results, and what it says of each."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import UsageError


class NotGiven:
    """Type of ``NOT_GIVEN``: the reference of an answer whose file has none."""


NOT_GIVEN = NotGiven()


@dataclass(frozen=True)
class ForeignAnswer:
    """One answer of a file.

    ``id`` is the sample's name in the file, ``where`` the line or row, ``position`` the sample's place in the
    data set where the file names samples by that. ``problem`` says why there is no answer to score. ``cut``:
    it ended at the token limit. ``question`` is the bare question, ``prompt`` all of the prompt. ``figures``
    are the program's own scores, ``remarks`` what was done to read the answer.
    """

    id: str
    where: str
    text: str = ""
    problem: str | None = None
    position: int | None = None
    cut: bool = False
    question: str = ""
    prompt: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    reference: Any = NOT_GIVEN
    figures: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    epoch: int = 1


@dataclass(frozen=True)
class ResultsFile:
    """One file of results: program, version, task and model (empty where the file doesn't say), and answers.

    ``sha256`` is of the whole file; ``notes`` are footnotes about the format or this file.
    """

    path: Path
    tool: str
    version: str
    task: str
    model: str
    answers: Sequence[ForeignAnswer]
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def source(self) -> str:
        """The program with its version."""
        return f"{self.tool} {self.version}".strip()


def numbers(figures: Mapping[str, Any]) -> tuple[dict[str, float], list[str]]:
    """The figures that are finite numbers or truth values, and the names of those that are not.

    >>> numbers({"acc": True, "anls": 0.5, "judge": {"score": 1.0, "pred": "A"}, "text": "A"})
    ({'acc': 1.0, 'anls': 0.5, 'judge.score': 1.0}, ['text'])
    """
    found: dict[str, float] = {}
    others: list[str] = []
    for name, value in figures.items():
        if isinstance(value, Mapping):
            value, name = value.get("score"), f"{name}.score"
        if isinstance(value, int | float) and math.isfinite(value):
            found[name] = float(value)
        else:
            others.append(name)
    return found, others


def listed(value: Any) -> Any:
    """A reference, where it is the text of a Python list as that list.

    >>> listed("['12 May', 'May 12']"), listed("[0, 0.5]"), listed("[sic]"), listed("42")
    (['12 May', 'May 12'], [0, 0.5], '[sic]', '42')
    """
    if isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-1:] == "]":
        try:
            found = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return value
        if isinstance(found, list) and all(isinstance(each, str | int | float) for each in found):
            return found
    return value


def lettered(texts: Iterable[str]) -> dict[str, str]:
    """Options by letter, in their order.

    >>> lettered(["cat", "dog"])
    {'A': 'cat', 'B': 'dog'}
    """
    return {chr(ord("A") + place): text for place, text in enumerate(texts)}


def unreadable(path: Path, why: str, fix: str = "give the file as the program wrote it") -> UsageError:
    """The error for a file that can't be imported."""
    return UsageError(f"results `{path}`", why, fix)
