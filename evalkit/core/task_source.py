"""The source of a task: its file, and the helpers beside it that it imports."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

Origin = Literal["built-in", "entry-point", "tasks-dir"]


@dataclass(frozen=True)
class TaskSource:
    """The files that a task was made of, as they were when it was loaded.

    ``files`` maps paths, relative to the folder of tasks (``/`` between their parts), to contents; ``file``
    is the task's own.
    """

    origin: Origin
    file: str
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents of the files."""
        return files_digest(self.files)


def files_digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 over names and contents, whatever their order.

    >>> files_digest({"a.py": b"1", "b.py": b"2"}) == files_digest({"b.py": b"2", "a.py": b"1"})
    True
    """
    total = hashlib.sha256()
    for name in sorted(files):
        content = files[name]
        total.update(f"{len(name.encode())} {name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def read_source(path: Path, folder: Path, origin: Origin) -> TaskSource:
    """The source of the task file ``path`` below ``folder``; nothing is executed.

    Helpers are the Python files below ``folder`` that are imported, by name or by file name, by the task or
    by another helper. Installed packages are none: their versions are the environment's.

    Raises:
        OSError: a file can't be read.
    """
    files: dict[str, bytes] = {}
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    waiting = [path]
    while waiting:
        each = waiting.pop()
        name = each.relative_to(folder).as_posix()
        if name not in files:
            files[name] = each.read_bytes()
            waiting += _helpers(each, files[name], [each.parent, path.parent, folder])
    return TaskSource(origin, path.relative_to(folder).as_posix(), files)


def is_inside(name: str) -> bool:
    """Whether a stored file's name leads nowhere but below the folder of stored files."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def _helpers(path: Path, content: bytes, places: list[Path]) -> Iterator[Path]:
    """Helpers that a file imports. ``places`` are where they are looked for: beside it, beside the task, and
    in the folder of tasks, which is the last and holds all of them.
    """
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # loading it says so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from _imported_from(node, path, places)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            for place in places:  # Path(__file__).with_name("_helpers.py")
                yield from _below(place / node.value, places[-1])
        else:
            for name in _imported(node):
                yield from _modules(name, places, places[-1])


def _imported_from(node: ast.ImportFrom, path: Path, places: list[Path]) -> Iterator[Path]:
    folder = places[-1]
    if node.level:
        places = [path.parents[min(node.level, len(path.parents)) - 1]]
    base = f"{node.module}." if node.module else ""
    for each in node.names:
        yield from _modules(base + each.name, places, folder)


def _imported(node: ast.AST) -> Iterator[str]:
    """Names that ``import a.b``, ``importlib.import_module("a.b")`` and ``__import__("a.b")`` import."""
    if isinstance(node, ast.Import):
        yield from (each.name for each in node.names)
    elif isinstance(node, ast.Call) and _imports(node.func):
        yield from (name for name in _texts(node.args) if all(map(str.isidentifier, name.split("."))))


def _imports(called: ast.expr) -> bool:
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in ("import_module", "__import__")


def _texts(values: list[ast.expr]) -> Iterator[str]:
    for each in values:
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def _modules(name: str, places: list[Path], folder: Path) -> Iterator[Path]:
    """The files of a dotted name: of the module, and of the packages around it."""
    parts = name.split(".")
    for place in places:
        found = False
        for length in range(1, len(parts) + 1):
            module = place.joinpath(*parts[:length])
            for path in (module.with_name(f"{module.name}.py"), module / "__init__.py"):
                for each in _below(path, folder):
                    found = True
                    yield each
        if found:
            return


def _below(path: Path, folder: Path) -> Iterator[Path]:
    path = Path(os.path.normpath(path))
    try:
        if path.is_relative_to(folder) and path.is_file():
            yield path
    except (OSError, ValueError):  # a text that is no file's name
        return
