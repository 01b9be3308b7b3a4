"""YAML files of users, read strictly: no duplicate keys, no cycles, no explosion of aliases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from evalkit.core.errors import UsageError, of_file

_MOST = 100_000
"""Values that a file may hold; an alias counts with everything it stands for."""


def read_yaml(path: Path, what: str) -> Mapping[Any, Any]:
    """The mapping that a YAML file holds; an empty file is an empty one.

    Raises:
        UsageError: it can't be read, is no mapping, has a key twice, or holds too many values.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        content = loader.construct_document(root) if _checked(root) else {}
    except OSError as error:
        raise of_file(f"{what} `{path}`", error, "give a readable YAML file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{what} `{path}` is not valid YAML", why, "mend it where it says") from None
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UsageError(f"{what} `{path}`", "it is no mapping of options", "write `model: tiny` and so on")
    return content


def _checked(root: yaml.Node | None) -> bool:
    """Whether the file has any content.

    Raises:
        ValueError: a key occurs twice, a value contains itself, or there are too many.
    """
    if root is None:
        return False
    if _size(root, {}) > _MOST:
        raise ValueError(f"it holds more than {_MOST} values")
    return True


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """How many values a node stands for; ``sizes``: known counts, None while one is being counted."""
    if id(node) in sizes:
        known = sizes[id(node)]
        if known is None:
            raise ValueError(f"line {node.start_mark.line + 1}: a value holds itself")
        return known
    sizes[id(node)] = None
    total = 1 + sum(_size(each, sizes) for each in _children(node))
    sizes[id(node)] = total
    return total


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            # `<<` may occur several times: each merges another mapping.
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if name in seen and name != "<<":
                raise ValueError(f"line {key.start_mark.line + 1}: `{name}` stands there twice")
            seen |= {name} if name else set()
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
