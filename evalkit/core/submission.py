"""Submissions: answers to a split without public references, in the file format of its server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SubmissionEntry:
    """One sample's answer: its id, the model's text, and the question that it answers."""

    id: str
    text: str
    question: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """How a file is written, its suffix, and where it goes; ``numbered``: its ids are whole numbers."""

    suffix: str
    write: Callable[[Sequence[SubmissionEntry]], bytes]
    to: str
    numbered: bool = False


def file_name(task: str, arm: str, suffix: str) -> str:
    """The name of a system's file. Characters that file names can't have are percent-encoded, so that two
    systems never share a file.

    >>> file_name("docvqa_test", "Qwen/Qwen2-VL-2B@mrope", "json")
    'docvqa_test-Qwen%2FQwen2-VL-2B@mrope.json'
    """
    name = re.sub(r'[\x00-\x1f/\\:*?"<>|%\x7f]', lambda found: f"%{ord(found[0]):02X}", f"{task}-{arm}")
    return f"{name}.{suffix}"
