"""Validation errors of pydantic in our own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_WORDS: Mapping[str, str] = {
    "bool_type": "it must be true or false",
    "bool_parsing": "it must be true or false",
    "int_type": "it must be a whole number",
    "int_parsing": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_type": "it must be a number",
    "float_parsing": "it must be a number",
    "finite_number": "it must be a finite number",
    "string_type": "it must be a text",
    "dict_type": "it must be a mapping",
    "missing": "it is missing",
    "extra_forbidden": "it is unknown",
}


def describe_validation_error(error: ValidationError) -> tuple[str, str]:
    """What is wrong first, in two parts: where and with which value, and what it should be.

    >>> from pydantic import TypeAdapter
    >>> try:
    ...     TypeAdapter(dict[str, int]).validate_python({"workers": "many"})
    ... except ValidationError as error:
    ...     describe_validation_error(error)
    ('`workers` is `many`', 'it must be a whole number')
    """
    first = error.errors(include_url=False)[0]
    place = ".".join(str(each) for each in first["loc"]) or "the whole"
    why = _WORDS.get(first["type"]) or _sentence(first["msg"])
    return f"`{place}` is {_shown(first['input'])}" if first["type"] != "missing" else f"`{place}`", why


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should be", "it must be", 1)


def _shown(value: Any) -> str:
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return f"`{text if len(text) <= 60 else text[:57] + '...'}`"
