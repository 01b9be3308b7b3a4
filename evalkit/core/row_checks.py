"""Checks of a sample before it is asked: whether a task's callables returned usable values for a row.

Each check raises :class:`BadRow`, whose message is the error of the sample's record.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from evalkit.core.columns import shortened, value_type
from evalkit.core.errors import EvalkitError
from evalkit.core.types import Locate, MediaRef, Part, Subtitled, Text
from evalkit.metrics.base import Answer, ExternalMetric, Metric, ReferenceCheck

T = TypeVar("T")
_NOTHING = re.compile(r"\b(?:None|nan|NaN|NaT)\b|<NA>")
# Answers that a metric must be able to score against any reference.
_PROBES = ("", "A", "1")


class BadRow(ValueError):
    """A row that can't be asked; the message says why."""


@dataclass
class RowReader:
    """Reads values from one row, and keeps the first problem with it."""

    row: Mapping[str, Any]
    nullable: frozenset[str] = frozenset()
    problem: str | None = None
    _written: int = field(init=False)

    def __post_init__(self) -> None:
        self._written = sum(map(_count, _texts(self.row)))

    def read(self, what: str, read: Callable[[Any], T], check: Callable[[T], T], fallback: T) -> T:
        """The value that ``read`` returns for the row, checked; ``fallback`` where that fails."""
        seen = _NullTrackingRow(self.row)
        try:
            value = check(read(seen))
            self._check_written(value, seen.nulls - self.nullable)
        except EvalkitError as error:
            reason = f"{error.what}: {error.why}"
        except BadRow as error:
            reason = str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a task's callable may raise anything
            reason = describe_exception(error)
        else:
            return value
        self.problem = self.problem or f"its `{what}` can't be used: {reason}"
        return fallback

    def _check_written(self, value: Any, nulls: set[str]) -> None:
        """Refuse a text with a null formatted into it: a ``None`` that no text of the row has."""
        if nulls and max(map(_count, _texts(value)), default=0) > self._written:
            names = ", ".join(f"`{name}`" for name in sorted(nulls))
            raise BadRow(f"column {names} is null, and was written out as a word")


def describe_exception(error: BaseException) -> str:
    """An exception of a task's code in one line."""
    said = " ".join(str(error).split())
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__}: {said}".rstrip(": ")


class _NullTrackingRow(dict[str, Any]):
    """A row that remembers which of its null columns were read."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.nulls: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if _has_null(value):
            self.nulls.add(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self.keys() else default


def checked_id(value: Any) -> str:
    """A text that isn't empty; a whole number is converted."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"it must be a text, not {shortened(value)}")
    return value


def checked_parts(parts: Any) -> tuple[Part, ...]:
    """Parts of a prompt, of known types; media, or a text that isn't empty, must be among them."""
    found = tuple(parts)
    for part in found:
        if isinstance(part, MediaRef):
            _check_medium(part)
        elif isinstance(part, Subtitled):
            _check_subtitled(part)
        elif isinstance(part, Text | Locate):
            said = part.text if isinstance(part, Text) else part.phrase
            if not isinstance(said, str):
                raise BadRow(f"a piece of text is {shortened(said)}, not text")
            if isinstance(part, Locate) and not said.strip():
                raise BadRow("the expression to be located is empty")
        else:
            raise BadRow(f"a piece of it is {shortened(part)}; write text(...), image(...) or video(...)")
    if not any(isinstance(part, MediaRef) or str(getattr(part, "text", "x")).strip() for part in found):
        raise BadRow("it is empty")
    return found


def _check_subtitled(words: Subtitled) -> None:
    texts = (words.before, words.after, words.otherwise, *(cue.text for cue in words.cues))
    wrong = [text for text in texts if not isinstance(text, str)]
    if wrong:
        raise BadRow(f"a piece of text around its subtitles is {shortened(wrong[0])}, not text")


def _check_medium(ref: MediaRef) -> None:
    for name in ("start", "end", "frame_rate"):
        value = getattr(ref, name)
        if value is not None and not _is_finite(value):
            raise BadRow(
                f"the {name.replace('_', ' ')} of its video is {shortened(value)}, not a finite number"
            )


def checked_label(value: Any) -> str | tuple[str, ...]:
    """One label of a breakdown, or several."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(label, str) for label in value):
        return tuple(value)
    raise BadRow(f"a label is a text or several, not {shortened(value)}")


def checked_meta(meta: Any) -> dict[str, Any]:
    """What a metric needs besides the reference: the question as text, options by letter."""
    found = dict(meta)
    question, options, size = found.get("question", ""), found.get("options"), found.get("image_size")
    if not isinstance(question, str):
        raise BadRow(f"the question is {shortened(question)}, not text")
    if options is not None and not _are_options(options):
        raise BadRow(f"options are a mapping of letters to texts that aren't empty, not {shortened(options)}")
    if size is not None and not (len(size) == 2 and all(_is_finite(side) and side > 0 for side in size)):
        raise BadRow(f"the size of its image is {shortened(size)}, not [width, height] in pixels")
    return checked_plain(found)


def checked_plain(value: T) -> T:
    """A value that can be stored with the answer, and read back."""
    try:
        json.dumps(value, sort_keys=True, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise BadRow(f"{shortened(value)} holds what JSON can't (NaN, bytes, or a type of its own)") from None
    return value


def check_reference(metric: Metric, answer: Answer) -> None:
    """Raise if a metric can't score answers against this reference."""
    if isinstance(metric, ExternalMetric):
        return
    for text in _PROBES:
        metric.score(replace(answer, prediction=text))
    if isinstance(metric, ReferenceCheck):
        metric.check(answer)


def _are_options(options: Any) -> bool:
    return isinstance(options, Mapping) and all(
        isinstance(letter, str) and isinstance(text, str) and text.strip() for letter, text in options.items()
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _has_null(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_null, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_null, value))
    return value_type(value) == "null"


def _texts(value: Any) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Text):
        yield value.text
    elif isinstance(value, Locate):
        yield value.phrase
    elif isinstance(value, Subtitled):  # the texts of its cues are no cells of the row
        yield from (value.before, value.after, value.otherwise)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        for each in value:
            yield from _texts(each)


def _count(text: str) -> int:
    return len(_NOTHING.findall(text))
