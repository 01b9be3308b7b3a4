"""Functions that take the options of a run by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import unknown_name

Params = ParamSpec("Params")
Found = TypeVar("Found")


def takes_run_options(function: Callable[Params, Found]) -> Callable[Params, Found]:
    """A function whose parameters are options of :class:`RunSpec`, documented as they are there.

    A name that is none of them is a UsageError that suggests the nearest one.
    """
    known = list(inspect.signature(function).parameters)

    @wraps(function)
    def called(*args: Params.args, **kwargs: Params.kwargs) -> Found:
        for name in kwargs:
            if name not in known:
                raise unknown_name("option", name, known, f"use one of: {', '.join(known)}")
        return function(*args, **kwargs)

    called.__doc__ = _with_arguments(function.__doc__ or "")
    return called


def _with_arguments(text: str) -> str:
    """A docstring whose ``Args:`` begin with the options, as the spec's classes describe them."""
    arguments = "".join(
        inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0] + "\n"
        for each in RunSpec.__mro__
        if "Attributes:\n" in (each.__doc__ or "") and issubclass(each, BaseModel) and each is not BaseModel
    )
    return inspect.cleandoc(text).replace("Args:\n", f"Args:\n{arguments}", 1)


def changed(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not what a spec has without them.

    >>> changed({"models": "tiny", "tasks": "mini", "limit": None, "workers": 0})
    {'models': 'tiny', 'tasks': 'mini', 'workers': 0}
    """
    fields = RunSpec.model_fields
    return {
        name: value
        for name, value in options.items()
        if fields[name].is_required() or value != fields[name].get_default(call_default_factory=True)
    }
