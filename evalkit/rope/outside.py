"""Variants from outside of evalkit: files in a user's folder, and entry points of installed packages.

A file (``--ropes-dir``) is a module of its own. Every public class in it that is a position design, a
frequency allocation or a scaling is a part, and every public :class:`~evalkit.rope.variant.RopeVariant` a
named variant. A package names them one by one under ``evalkit.positions``, ``evalkit.frequencies``,
``evalkit.scalings`` and ``evalkit.ropes``. All are checked (:mod:`evalkit.rope.validation`) before anything
is run with them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from evalkit.rope.catalog import Origin, RopeCatalog
from evalkit.rope.frequencies import FrequencyAllocation
from evalkit.rope.positions import PositionDesign
from evalkit.rope.scaling import Scaling
from evalkit.rope.validation import BadRope, check_part, check_variant
from evalkit.rope.variant import RopeVariant
from evalkit.rope.variants import BUILTIN

ENTRY_POINTS: Mapping[str, tuple[str, type]] = {
    "evalkit.positions": ("position design", PositionDesign),
    "evalkit.frequencies": ("frequency allocation", FrequencyAllocation),
    "evalkit.scalings": ("scaling", Scaling),
    "evalkit.ropes": ("variant", RopeVariant),
}
_PARTS = (PositionDesign, FrequencyAllocation, Scaling)


@dataclass(frozen=True)
class RopeFile:
    """A file with variants, and what it held when it was read: that is what every process runs."""

    path: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.content).hexdigest()


def read_ropes_dirs(folders: Sequence[str]) -> tuple[RopeFile, ...]:
    """All Python files of folders, but those that a leading ``_`` or ``.`` marks as private.

    Raises:
        BadRope: a folder does not exist, or a file can't be read.
    """
    found = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise BadRope(f"ropes folder `{folder}`", "there is no such folder", "check `--ropes-dir`")
        for path in sorted(folder.glob("*.py")):
            if path.name[0] not in "_.":
                try:
                    found.append(RopeFile(str(path), path.read_bytes()))
                except OSError as error:
                    raise BadRope(f"RoPE file `{path}`", f"{error.strerror}", "make it readable") from None
    return tuple(found)


@cache
def rope_catalog(files: tuple[RopeFile, ...] = ()) -> RopeCatalog:
    """Evalkit's own variants, those of installed packages, and those of files.

    Raises:
        BadRope: something from outside can't be used: which, why, and what to do about it.
    """
    found = _Additions()
    for group, (what, kind) in ENTRY_POINTS.items():
        for entry in entry_points(group=group):
            found.add(*_load(entry, what, kind))
    for file in files:
        where = f"RoPE file `{file.path}`"
        members = list(_members(_execute(file), where))
        if not members:
            raise BadRope(
                where,
                "it holds no position design, frequency allocation, scaling or named variant",
                "see docs/add-a-rope.md; give a file of helpers a name that starts with `_`",
            )
        for member in members:
            found.add(member, Origin(where, Path(file.path).name, file.sha256))
    return found.catalog()


class _Additions:
    """What comes from outside, in a catalog with evalkit's own."""

    def __init__(self) -> None:
        self.positions, self.frequencies = dict(BUILTIN.positions), dict(BUILTIN.frequencies)
        self.scalings, self.variants = dict(BUILTIN.scalings), dict(BUILTIN.variants)
        self.origins: dict[type | str, Origin] = {}
        self.tables: Mapping[str, dict[str, Any]] = {
            "position design": self.positions,
            "frequency allocation": self.frequencies,
            "scaling": self.scalings,
            "variant": self.variants,
        }

    def add(self, value: Any, origin: Origin) -> None:
        """A class or a variant, once it is checked."""
        if isinstance(value, RopeVariant):
            check_variant(value, self.catalog(), origin.where)
            value = replace(value, original=None)  # its own parameters are what `str` leaves out
            what, key = "variant", value.name
        else:
            what, key = check_part(value, origin.where), value
        known = self.tables[what].get(value.name)
        if known is not None and known != value:
            other = self.origins.get(value.name if what == "variant" else known)
            raise BadRope(
                origin.where,
                f"{what} `{value.name}`: {other.where if other else 'evalkit'} has one of this name",
                "give it another name",
            )
        self.tables[what][value.name] = value
        self.origins[key] = origin

    def catalog(self) -> RopeCatalog:
        """All that was added so far, and evalkit's own."""
        return RopeCatalog(self.positions, self.frequencies, self.scalings, self.variants, self.origins)


def _load(entry: EntryPoint, what: str, kind: type) -> tuple[Any, Origin]:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed package"
    where = f"entry point `{entry.name} = {entry.value}` ({entry.group}) of {package}"
    try:
        value = entry.load()
    except Exception as error:
        raise BadRope(where, f"{type(error).__name__}: {error}", "mend or uninstall that package") from error
    is_variant = kind is RopeVariant
    if not (isinstance(value, kind) if is_variant else isinstance(value, type) and issubclass(value, kind)):
        form = "a value" if is_variant else "a subclass"
        raise BadRope(where, f"it is no {what}", f"name {form} of `{kind.__name__}`")
    name = vars(value).get("name")
    if name != entry.name:
        raise BadRope(where, f"the {what} calls itself `{name}`", f"write `{name} = {entry.value}`")
    module = sys.modules[entry.module]
    content = Path(module.__file__).read_bytes() if module.__file__ else b""
    return value, Origin(where, f"{entry.module} of {package}", hashlib.sha256(content).hexdigest())


class _Loader(InspectLoader):
    """Compiles what a file held when it was read."""

    def __init__(self, file: RopeFile) -> None:
        self.file = file

    def get_source(self, fullname: str) -> str:
        return self.file.content.decode()

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.file.content, self.file.path, "exec", dont_inherit=True)
        return code


def _execute(file: RopeFile) -> ModuleType:
    """The file as a module, once in a process for each content: its classes are the same wherever they are
    asked for, and can be pickled.
    """
    name = f"evalkit_rope_{Path(file.path).stem}_{file.sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Loader(file)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        del sys.modules[name]
        raise BadRope(f"RoPE file `{file.path}`", _described(error, file.path), "correct it") from error
    return module


def _described(error: BaseException, path: str) -> str:
    if isinstance(error, SyntaxError):
        return f"syntax error in line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = f"line {frames[-1].lineno}: " if frames else ""
    return f"{line}{type(error).__name__}: {error}"


def _members(module: ModuleType, where: str) -> Iterator[Any]:
    """The public parts that a module defines, then its variants, which are made of them."""
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    for value in public.values():
        if isinstance(value, type) and issubclass(value, _PARTS) and value.__module__ == module.__name__:
            yield value
    builtin = BUILTIN.variants.values()
    for name, value in public.items():
        if isinstance(value, RopeVariant) and not any(value is each for each in builtin):
            if not value.name:
                raise BadRope(
                    where, f"the variant `{name}` has no name", 'write `RopeVariant(..., name="...")`'
                )
            yield value
