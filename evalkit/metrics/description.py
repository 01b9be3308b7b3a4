"""Metrics as data: the name of one of evalkit's own and its parameters, and the metric again.

Such a description holds no code: what is built from it is a class of this package, whoever wrote it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from evalkit.metrics.base import Metric

_PACKAGE = __name__.rpartition(".")[0]
Parameters = dict[str, Any]


def metric_name(metric: Metric) -> str:
    """The module and name of a metric's class; ``task:NAME`` if a task's file defines it.

    >>> from evalkit.metrics.anls import Anls
    >>> metric_name(Anls())
    'evalkit.metrics.anls:Anls'
    """
    module = type(metric).__module__
    # A task file's module is called by its place, which may change.
    return f"{'task' if module.startswith('evalkit_task_') else module}:{type(metric).__qualname__}"


def parameters_of(metric: Metric) -> Parameters | None:
    """The parameters of a metric of this package, as :func:`build_metric` takes them; None if it is
    another's, or can't be said as data.

    >>> from evalkit.metrics.anls import Anls
    >>> parameters_of(Anls())
    {'threshold': 0.5, 'name': 'anls'}
    """
    name = metric_name(metric)
    try:
        values = {each.name: getattr(metric, each.name) for each in fields(metric) if each.init}  # type: ignore[arg-type]
        found = {key: _as_data(value) for key, value in values.items()}
        return found if build_metric(name, found) == metric else None
    except (TypeError, ValueError):
        return None


def build_metric(name: str, parameters: Mapping[str, Any]) -> Metric:
    """The metric of a description.

    Raises:
        ValueError: this package has no such metric, or it takes no such parameters.
    """
    made = _named(name)
    if not (inspect.isclass(made) and is_dataclass(made) and hasattr(made, "summarise")):
        raise ValueError(f"`{name}` is no metric of evalkit")
    try:
        metric: Any = made(**{key: _from_data(value) for key, value in parameters.items()})
    except TypeError as error:
        raise ValueError(f"`{name}` takes other parameters: {error}") from None
    found: Metric = metric
    return found


def _as_data(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_as_data, value))
    if inspect.isfunction(value) and _named(f"{value.__module__}:{value.__qualname__}") is value:
        return {"function": f"{value.__module__}:{value.__qualname__}"}
    raise ValueError(f"{value!r} is no data")


def _from_data(value: Any) -> Any:
    if isinstance(value, Mapping):
        if set(value) != {"function"}:
            raise ValueError(f"{value!r} is no parameter")
        return _named(str(value["function"]))
    return tuple(map(_from_data, value)) if isinstance(value, list | tuple) else value


def _named(name: str) -> Any:
    """A class or function that a module of this package defines."""
    module, _, own = name.partition(":")
    if not module.startswith(f"{_PACKAGE}.") or not own.isidentifier():
        raise ValueError(f"`{name}` is not in {_PACKAGE}")
    try:
        found = getattr(importlib.import_module(module), own)
    except (ImportError, AttributeError):
        raise ValueError(f"this evalkit has no `{name}`") from None
    if getattr(found, "__module__", None) != module:
        raise ValueError(f"`{name}` is not of that module")
    return found
