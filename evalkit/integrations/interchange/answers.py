"""What a file of another program says: answers, and what it says beside them."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.core.errors import UsageError


class NotGiven:
    """The reference of an answer whose file has none."""


NOT_GIVEN = NotGiven()


@dataclass(frozen=True)
class ForeignAnswer:
    """One answer as a file has it.

    ``id`` is the file's name for the sample; ``position`` its place in the data set, where the file names
    samples by that. ``problem`` says why there is no answer that could be scored. ``cut``: it ended at the
    limit of tokens. ``question`` and ``prompt`` are what was asked, alone and with everything around it.
    ``figures`` are the program's own scores; ``remarks`` what had to be done to read the answer, and is
    counted.
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
    """One file: which program wrote it of which task and model, and its answers. Texts are empty where the
    file doesn't say; ``sha256`` is of the whole file, ``notes`` what a reader must know of the format or of
    this file.
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
    """A reference that a program wrote as text: of a list, in Python's own notation.

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
