"""How variants and their parts are written: ``name(value, parameter=value, ...)``, read and printed."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, Literal, TypeVar

from evalkit.rope.parameters import BadParameter

Part = TypeVar("Part")

PART_KEYS = ("position", "frequency", "scaling")
"""What a composition is made of; these words are not names of variants."""


def split_list(text: str) -> list[str]:
    """Split at commas outside brackets.

    >>> split_list("a, b(x=1,y=[2,3]),,c")
    ['a', 'b(x=1,y=[2,3])', 'c']
    """
    return [item for item in split_at(text, ",") if item]


def split_variants(text: str) -> list[str]:
    """Split a comma list of variants; the parts of a composition stay together.

    >>> split_variants("vanilla, mrope-i(allocation=[24,20,20],temporal_stride=2),mrope")
    ['vanilla', 'mrope-i(allocation=[24,20,20],temporal_stride=2)', 'mrope']
    >>> split_variants("mrope, position=grid, frequency=chunk, position=reset,frequency=heads")
    ['mrope', 'position=grid,frequency=chunk', 'position=reset,frequency=heads']
    >>> split_variants("A label=position=grid,frequency=chunk=/ckpts/a,mrope=/ckpts/b")
    ['A label=position=grid,frequency=chunk=/ckpts/a', 'mrope=/ckpts/b']
    """
    items: list[list[str]] = []
    open_keys: set[str] = set()
    for item in split_list(text):
        first, _, rest = item.partition("=")
        second, equals, _ = rest.partition("=")
        # Before a composition may be a label.
        key = second.strip() if equals and second.strip() in PART_KEYS else first.strip()
        if key in PART_KEYS and open_keys and key not in open_keys:
            items[-1].append(item)
            open_keys.add(key)
        else:
            items.append([item])
            open_keys = {key} & set(PART_KEYS)
    return [",".join(parts) for parts in items]


def split_at(text: str, separator: str) -> list[str]:
    """Split at a separator outside brackets, and strip what is between."""
    depth, items = 0, [""]
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == separator and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items]


def open_call(text: str) -> tuple[str, list[str]]:
    """The name and the arguments of ``name(arguments)``.

    Raises:
        BadParameter: the closing bracket is missing.
    """
    name, bracket, inside = text.strip().partition("(")
    if bracket and not inside.endswith(")"):
        raise BadParameter(f"`{text}` lacks its closing bracket")
    return name.strip(), split_list(inside[:-1]) if bracket else []


def keyword(item: str, owner: str, seen: Iterable[str]) -> tuple[str, str]:
    """Split ``name=value``; each name may come once."""
    name, equals, value = (piece.strip() for piece in item.partition("="))
    if not equals or name in seen:
        raise BadParameter(f"`{name}` of `{owner}` needs exactly one value: `{name}=...`", name)
    return name, value


def no_such_parameter(owner: str, name: str, known: Iterable[str]) -> BadParameter:
    """The error about a parameter that ``owner`` does not have."""
    known = tuple(known)
    listed = f"its parameters: {', '.join(known)}" if known else "it has none"
    return BadParameter(f"`{owner}` has no parameter `{name}`; {listed}", name, known)


def parameter_types(kind: type) -> dict[str, Any]:
    """The parameters of a part and their types, in order."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def read_part(text: str, table: Mapping[str, type[Part]], what: str) -> Part:
    """Read one part, ``name`` or ``name(...)``; values without a name fill parameters in order.

    Raises:
        BadParameter: no such part or parameter, or a value that it can't take.
    """
    name, arguments = open_call(text)
    if name not in table:
        raise BadParameter(f"there is no {what} `{name}`; there are: {', '.join(table)}", name, table)
    kind = table[name]
    types = parameter_types(kind)
    values: dict[str, Any] = {}
    plain = [item for item in arguments if "=" not in item]
    for parameter, item in _in_order(name, types, plain):
        values[parameter] = read_value(parameter, types[parameter], item)
    for item in arguments:
        if "=" in item:
            parameter, value = keyword(item, name, values)
            if parameter not in types:
                raise no_such_parameter(name, parameter, types)
            values[parameter] = read_value(parameter, types[parameter], value)
    needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]  # type: ignore[arg-type]
    if missing := [each for each in needed if each not in values]:
        raise BadParameter(f"`{name}` needs `{missing[0]}`: `{name}({missing[0]}=...)`", missing[0])
    return kind(**values)


def _in_order(owner: str, types: Mapping[str, Any], plain: list[str]) -> Iterator[tuple[str, str]]:
    """Parameters for the values without a name; a parameter of several numbers takes as many."""
    rest = list(plain)
    for parameter, hint in types.items():
        if not rest:
            return
        size = 1 if rest[0].startswith("[") else _tuple_size(hint)
        taken, rest = rest[:size], rest[size:]
        yield parameter, taken[0] if size == 1 else f"[{','.join(taken)}]"
    if rest:
        raise BadParameter(f"`{owner}` has no parameter for `{rest[0]}`", rest[0], types)


def write_part(part: Any) -> str:
    """The text that :func:`read_part` reads back as ``part``: what differs from the defaults.

    Raises:
        BadParameter: the part's class has no name of its own.
    """
    name = vars(type(part)).get("name")
    if name is None:
        raise BadParameter(f"`{type(part).__name__}` has no name: give the class a line `name = ...`")
    arguments = []
    for place, field in enumerate(dataclasses.fields(part)):
        value = getattr(part, field.name)
        if value == field.default and type(value) is type(field.default):
            continue
        plain = place == 0 and isinstance(value, (float, int, tuple)) and not isinstance(value, bool)
        text = write_value(value)
        arguments.append(text.strip("[]") if plain else f"{field.name}={text}")
    return f"{name}({','.join(arguments)})" if arguments else name


def read_value(name: str, hint: Any, text: str) -> Any:
    """Read one parameter's value.

    Raises:
        BadParameter: it is not of the type ``hint``.
    """
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    for kind in kinds:
        try:
            return _read_one(kind, text)
        except (KeyError, ValueError):
            continue
    expected = " or ".join(_described(kind) for kind in kinds if kind is not type(None))
    raise BadParameter(f"`{name}` is `{text}`, it must be {expected}", name)


def _read_one(kind: Any, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind is int:
        return int(text)
    if kind is float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(text)
        return value
    if typing.get_origin(kind) is Literal:
        return {str(choice): choice for choice in typing.get_args(kind)}[text]
    if typing.get_origin(kind) is tuple:
        return _read_tuple(typing.get_args(kind), text)
    if kind is str and text.isidentifier() | (text.count("-") == 1):
        return text
    raise ValueError(text)


def _read_tuple(kinds: tuple[type, ...], text: str) -> tuple[Any, ...]:
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(text)
    values = tuple(kind(item) for kind, item in zip(kinds, text[1:-1].split(","), strict=True))
    if min(values) < 0 or not math.isfinite(sum(values)) or sum(values) == 0:
        raise ValueError(text)
    return values


def _tuple_size(hint: Any) -> int:
    """How many numbers a parameter holds."""
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return next((len(typing.get_args(kind)) for kind in kinds if typing.get_origin(kind) is tuple), 1)


def _described(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return " or ".join(str(choice) for choice in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        inside = typing.get_args(kind)
        what = "counts" if inside[0] is int else "numbers"
        if len(inside) != 3:
            return f"{len(inside)} {what}, like [{','.join('1' * len(inside))}]"
        return f"three {what} for time, height and width, like [24,20,20]"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, "a word")


def write_value(value: Any) -> str:
    """The text that :func:`read_value` reads back."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, (tuple, list)):
        return f"[{','.join(write_value(item) for item in value)}]"
    return str(value)
