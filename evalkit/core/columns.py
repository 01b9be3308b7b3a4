"""What a column of a data set holds: declared by a task, found in a file's schema, met in a cell.

>>> cell_problem("answer", TEXT, 1.5)
'column `answer` holds a number (1.5); the task declares text'
>>> cell_problem("options", OPTIONS, "[1, 2]")
"column `options` holds text ('[1, 2]'); the task declares a list of text"
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_SHOWN = 60
_LIST = "list of "
_ARTICLES = {"number": "a ", "whole number": "a ", "truth value": "a ", "image": "an ", "record": "a "}
# What holds fewer kinds of values may stand where more are allowed.
_NARROWER = {"whole number": "number"}


@dataclass(frozen=True)
class ColumnType:
    """What a column may hold.

    Attributes:
        names: kinds of values: ``text``, ``whole number``, ``number``, ``truth value``, ``image``,
            ``record``, ``raw bytes``, or ``list of`` one of them; none means anything.
        null: a cell may be null (or NaN, which pandas writes for it), or an empty list or text.
        blank: texts may be empty, alone or within a list.
    """

    names: tuple[str, ...] = ()
    null: bool = False
    blank: bool = False

    @property
    def or_null(self) -> ColumnType:
        """The same, where a cell may have nothing."""
        return replace(self, null=True, blank=True)

    def __str__(self) -> str:
        return " or ".join(map(_with_article, self.names)) or "anything"

    def accepts(self, name: str) -> bool:
        """Whether a column of the kind ``name`` may be this one."""
        if not self.names or name in self.names or name in ("null", "anything"):
            return True
        if name in ("list", _LIST + "null", _LIST + "anything"):
            return any(each.startswith(_LIST) for each in self.names)
        inner = name.removeprefix(_LIST)
        wider = name.removesuffix(inner) + _NARROWER.get(inner, inner)
        return wider in self.names


TEXT = ColumnType(("text",))
NAME = ColumnType(("text", "whole number"))
LABEL = ColumnType(("text",), blank=True)
LABELS = ColumnType(("text", "list of text"), null=True, blank=True)
WHOLE = ColumnType(("whole number",))
NUMBER = ColumnType(("number",))
NUMBERS = ColumnType(("list of number",))
OPTIONS = ColumnType(("list of text",))
ANSWERS = ColumnType(("list of text",), blank=True)
IMAGE = ColumnType(("image",))
IMAGES = ColumnType(("list of image",))
RECORD = ColumnType(("record",))
RECORDS = ColumnType(("list of record",))


class DeclaredColumns:
    """The part of a data set that checks cells against its ``columns``, where a task declares their types."""

    columns: tuple[str, ...] | Mapping[str, ColumnType]

    @property
    def kinds(self) -> Mapping[str, ColumnType]:
        """Declared types by column."""
        return self.columns if isinstance(self.columns, Mapping) else {}

    def check(self, row: Mapping[str, Any]) -> str | None:
        """Why a row's cells can't be used, or None."""
        found = (cell_problem(column, kind, row.get(column)) for column, kind in self.kinds.items())
        return next((problem for problem in found if problem), None)


def cell_problem(column: str, kind: ColumnType, value: Any) -> str | None:
    """What is wrong with a cell; None if it is as declared."""
    name = value_type(value)
    if name == "null" or (name == "list" and kind.accepts(name)):
        if kind.null:
            return None
        found = "null" if name == "null" else "an empty list"
        return f"column `{column}` is {found}; the task declares {kind}"
    if not kind.accepts(name):
        return f"column `{column}` holds {_with_article(name)} ({shortened(value)}); the task declares {kind}"
    return None if kind.blank else _emptiness(column, value)


def _emptiness(column: str, value: Any) -> str | None:
    if isinstance(value, str) and not value.strip():
        return f"column `{column}` is an empty text"
    if isinstance(value, list | tuple) and any(isinstance(each, str) and not each.strip() for each in value):
        return f"column `{column}` has an empty text in its list"
    if _is_cell(value) and value.get("bytes") is None and not value.get("path"):
        return f"column `{column}` is an image with neither bytes nor a path"
    return None


def value_type(value: Any) -> str:
    """The kind of a cell's value.

    >>> value_type(float("nan")), value_type([1, 2.5]), value_type(["a", None]), value_type([])
    ('null', 'list of number', 'list of text and null', 'list')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, float) and math.isinf(value):
        return "infinity"
    for type_, name in _TYPES:
        if isinstance(value, type_):
            return name
    if _is_cell(value):
        return "image"
    if isinstance(value, Mapping):
        return "record"
    if isinstance(value, Sequence):
        return _list_type([value_type(each) for each in value])
    return type(value).__name__


def _list_type(inner: Sequence[str]) -> str:
    found = dict.fromkeys(inner)
    if "number" in found:
        found.pop("whole number", None)
    return _LIST + " and ".join(found) if found else "list"


_TYPES: Sequence[tuple[type | tuple[type, ...], str]] = (
    (bool, "truth value"),
    (str, "text"),
    (int, "whole number"),
    (float, "number"),
    ((bytes, bytearray, memoryview), "raw bytes"),
)


def feature_type(feature: Any) -> str:
    """The kind of a column as ``datasets`` declares it (a ``Value``, ``List``, ``Image``, ...)."""
    if isinstance(feature, Mapping):
        return "image" if set(feature) == {"bytes", "path"} else "record"
    if isinstance(feature, list):
        return _LIST + feature_type(feature[0]) if feature else "list"
    kind = type(feature).__name__
    if kind == "Value":
        return _dtype_name(str(feature.dtype))
    if kind in ("List", "LargeList", "Sequence"):
        return _LIST + feature_type(feature.feature)
    return _FEATURES.get(kind, kind)


def is_json_feature(feature: Any) -> bool:
    """Whether values of several kinds are stored within a column, each as its JSON text."""
    if isinstance(feature, Mapping):
        return any(map(is_json_feature, feature.values()))
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    return type(feature).__name__ == "Json" or (inner is not None and is_json_feature(inner))


def parse_json_cell(feature: Any, value: Any) -> Any:
    """A cell of such a column: what its JSON text says."""
    if value is None or not is_json_feature(feature):
        return value
    if isinstance(feature, Mapping):
        return {name: parse_json_cell(each, value.get(name)) for name, each in feature.items()}
    if type(feature).__name__ == "Json":
        return json.loads(value) if isinstance(value, str) else value
    inner = feature[0] if isinstance(feature, list) else feature.feature
    return [parse_json_cell(inner, each) for each in value]


_FEATURES = {"Image": "image", "ClassLabel": "whole number", "Json": "anything"}


def _dtype_name(dtype: str) -> str:
    names = {"bool": "truth value", "null": "null", "double": "number", "halffloat": "number"}
    for start, name in (
        ("string", "text"),
        ("large_string", "text"),
        ("int", "whole number"),
        ("uint", "whole number"),
        ("float", "number"),
        ("binary", "raw bytes"),
        ("large_binary", "raw bytes"),
    ):
        if dtype.startswith(start):
            return name
    return names.get(dtype, dtype)


def type_mismatches(declared: Mapping[str, ColumnType], found: Mapping[str, str]) -> list[str]:
    """Which columns are of another kind throughout than the task declares, with both kinds named."""
    return [
        f"its column `{column}` holds {_with_article(found[column])}; the task declares {kind}"
        for column, kind in declared.items()
        if column in found and not kind.accepts(found[column])
    ]


def inferred_types(rows: Sequence[Mapping[str, Any]], declared: Mapping[str, ColumnType]) -> dict[str, str]:
    """The kinds of columns as their cells show them, where these agree: for files without a schema."""
    found: dict[str, str] = {}
    for column in declared:
        names = [value_type(row.get(column)) for row in rows]
        known = set(names) - {"null"}
        if len(known) == 1 and len(names) - names.count("null") > 1:
            found[column] = known.pop()
    return found


def shortened(value: Any) -> str:
    """A value in a message: not longer than a line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_cell(value: Any) -> bool:
    """Whether it is an image as ``datasets`` hands it out undecoded."""
    return isinstance(value, Mapping) and bool(value) and set(value) <= {"bytes", "path"}


def _with_article(name: str) -> str:
    return f"a {name}" if name.startswith("list") else _ARTICLES.get(name, "") + name
