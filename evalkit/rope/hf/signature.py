"""Parameter names of transformers' methods, which differ between versions and families.

A KV cache is recognised by its methods. Its parameter is ``past_key_values`` up to transformers 5.23 and
``cache`` from 5.24 on; either version ignores any other keyword silently.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def cache_names(inputs: Mapping[str, Any]) -> list[str]:
    """The names under which arguments of a call are key-value caches.

    Raises:
        TypeError: there are several caches.
    """
    names = [name for name, value in inputs.items() if callable(getattr(value, "get_seq_length", None))]
    if any(inputs[name] is not inputs[names[0]] for name in names):
        listed = ", ".join(f"`{name}`" for name in names)
        raise TypeError(f"several key-value caches in one call: {listed}; give one")
    return names


def find_cache(inputs: Mapping[str, Any]) -> Any:
    """The key-value cache among the arguments or the results of a call, or None."""
    names = cache_names(inputs)
    return inputs[names[0]] if names else None


@dataclass(frozen=True)
class CallSignature:
    """Parameters of a method without ``self``; ``cache`` is the one that takes a key-value cache, if any."""

    names: tuple[str, ...]
    cache: str | None

    @classmethod
    def of(cls, function: Callable[..., Any]) -> CallSignature:
        """Read it from a function of a class, decorated or not."""
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        found = [each for each in inspect.signature(function).parameters.values() if each.kind not in kinds]
        caches = [each.name for each in found if "Cache" in str(each.annotation)]
        return cls(tuple(each.name for each in found[1:]), caches[0] if len(caches) == 1 else None)

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by the method's own names, a cache too, whatever the caller calls it.

        Raises:
            TypeError: more positional arguments than parameters, one given twice, or two caches.
        """
        if len(args) > len(self.names):
            raise TypeError(f"{len(args)} positional arguments for {len(self.names)} parameters")
        given = dict(zip(self.names, args, strict=False))
        for name, value in kwargs.items():
            if name in given:
                raise TypeError(f"`{name}` is given by position and by name")
            given[name] = value
        names = cache_names(given)
        if names and self.cache is not None:
            cache = given[names[0]]
            given = {name: value for name, value in given.items() if name not in names} | {self.cache: cache}
        return given
