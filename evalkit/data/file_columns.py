"""Local files that rows refer to by name: videos in archives, images of another data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.task import Row
from evalkit.data.archives import extracted, is_inside, is_unpacked
from evalkit.data.cache import cache_root
from evalkit.data.mirror import how_to_get
from evalkit.data.regular_files import open_regular
from evalkit.data.tarballs import extracted_tar, grouped, is_tar, tar_stem

PathTemplates = tuple[str, ...] | Callable[[Row], tuple[str, ...]]


@dataclass
class FileColumns:
    """Adds columns with paths to rows (see ``HubDataset.files``).

    A row whose file is missing keeps the path where it was expected: that sample becomes an error
    in the results, it is not dropped. That none was found at all is an error at once.
    """

    repo: str
    roots: Sequence[Path]
    expected_in: Path
    templates: Mapping[str, PathTemplates]
    optional: Sequence[str]
    hint: str
    _found: int = field(default=0, init=False)
    _missing: list[str] = field(default_factory=list, init=False)

    @classmethod
    def locate(
        cls,
        repo: str,
        folder: Path | None,
        data_root: str | None,
        archives: Sequence[str],
        templates: Mapping[str, PathTemplates],
        optional: Sequence[str],
        hint: str,
    ) -> FileColumns:
        """Unpack the archives where need be, and look in the repository, in them and in the root.

        Raises:
            EnvironmentProblem: an archive is unsafe, damaged, or too large for the disk.
        """
        roots = [folder] if folder else []
        if folder:
            roots += _unpacked({path for pattern in archives for path in folder.glob(pattern)}, folder)
        root = Path(data_root or "DATA_ROOT").expanduser()
        expected_in = folder if folder and archives else root
        return cls(repo, [*roots, root], expected_in, templates, optional, hint)

    def add_paths(self, row: Row) -> Row:
        """Return the row with one more column for every file that it refers to."""
        added: dict[str, str | None] = {}
        for column, filled in named_files(self.templates, row).items():
            names = [name for name in filled if is_inside(name)]
            path = next((path for name in names if (path := self._find(name))), None)
            required = column not in self.optional
            if path is None and required:
                if not names:
                    raise EnvironmentProblem(
                        f"data set `{self.repo}`",
                        f"a row refers to a file outside of the data: {filled[0]!r}",
                        "don't use this copy of the data set",
                    )
                path = str(self.expected_in / names[0])
                self._missing.append(path)
            elif required:
                self._found += 1
            added[column] = path
        return {**row, **added}

    def check_any_found(self) -> None:
        """Raise if rows named files and none of them exists."""
        if self._missing and not self._found:
            raise EnvironmentProblem(
                f"files of data set `{self.repo}`",
                f"none of the {len(self._missing)} is there; the first was expected at `{self._missing[0]}`",
                self.hint or how_to_get(self.repo, f"DIR/{self.repo}"),
            )

    def _find(self, name: str) -> str | None:
        """The first root's file of this name, or its folder where the name ends with ``/``."""
        paths = (root / name for root in self.roots)
        there = (path for path in paths if (path.is_dir() if name.endswith("/") else path.is_file()))
        return next((str(path) for path in there), None)


_COMPRESSED = (
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"7z\xbc\xaf",
)


_DEEPEST = 100
_NO_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^\[\]{}"]++', re.DOTALL)
_TO_LONG_NUMBER = re.compile(
    rb'(?:"(?:[^"\\]++|\\.)*+"|[^"\d-]++|-?+\d++[.eE][-+.\deE]*+|-?+\d{1,18}+(?!\d)|-(?!\d))*+(-?\d{19,}+)',
    re.DOTALL,
)
"""Up to a whole number of 19 digits or more outside of texts."""


def check_text(path: Path, *, json: bool) -> None:
    """Raise if a file of JSON or CSV can't hold rows; readers of JSON crash on some such files, and unpack
    what is compressed whatever it grows to.

    Raises:
        ValueError: it is compressed; of JSON: it is empty, begins with something that is neither an object
            nor a list of them, is nested too deeply, or holds a whole number of more than 64 bits.
    """
    with open_regular(path) as file:
        start = file.read(4096)
    if start.startswith(_COMPRESSED):
        raise ValueError(f"`{path.name}` is compressed, which only archives of media may be: unpack it")
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not json:
        return
    if not start:
        raise ValueError(f"`{path.name}` is empty: it has no rows")
    if start[:1] not in (b"{", b"[") or start.startswith(b"[[["):
        raise ValueError(f"`{path.name}` holds no rows: it begins with {start[:20]!r}")
    with open_regular(path) as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if _is_deep(content):
            raise ValueError(f"`{path.name}` is nested more than {_DEEPEST} levels deep")
        if (number := _wide_number(content)) is not None:
            raise ValueError(
                f"`{path.name}` holds {number}, a whole number of more than 64 bits, which would be rounded: "
                "write such numbers as texts"
            )


def _is_deep(content: mmap | bytes) -> bool:
    """Whether lists and objects are nested too deeply; in each pass the innermost are removed.

    >>> _is_deep(b'{"a": [1, {"b": "[[["}]}' * 300), _is_deep(b'{"a":' * 300 + b"1" + b"}" * 300)
    (False, True)
    """
    brackets = _NO_BRACKETS.sub(b"", content)
    for _ in range(_DEEPEST):
        left = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) in (0, len(brackets)):
            break
        brackets = left
    return len(left) > _DEEPEST


def _wide_number(content: mmap | bytes) -> int | None:
    """The first whole number beyond 64 bits outside of texts: readers of tables make it a float.

    >>> _wide_number(b'[{"a": 12345678901234567890, "b": 0.12345678901234567890}]')
    12345678901234567890
    >>> _wide_number(b'[{"a": "12345678901234567890", "b": -9223372036854775808}]')
    """
    begin = 0
    while (found := _TO_LONG_NUMBER.match(content, begin)) is not None:
        number = int(found[1][:40])  # enough to tell; Python refuses thousands of digits
        if not -(2**63) <= number < 2**63:
            return number
        begin = found.end()
    return None


def named_files(templates: Mapping[str, PathTemplates], row: Row) -> dict[str, list[str]]:
    """Candidate paths of a row's files, by column."""
    return {
        column: [template.format_map(row) for template in (given(row) if callable(given) else given)]
        for column, given in templates.items()
    }


def _unpacked(archives: Iterable[Path], folder: Path) -> list[Path]:
    """Folders with the contents of archives: beside them if they were unpacked there, else in the cache."""
    cache = cache_root() / "archives"
    roots: dict[Path, None] = {}
    zips = sorted(path for path in archives if not is_tar(path))
    for path in zips:
        beside = next((place for place in (folder, path.parent) if is_unpacked(path, place)), None)
        roots[beside or extracted(path, cache)] = None
    for parts in grouped(path for path in archives if is_tar(path)):
        # A tar file has no table of contents: a folder of its name is taken for what was in it.
        beside = parts[0].parent
        roots[beside if (beside / tar_stem(parts[0])).is_dir() else extracted_tar(parts, cache)] = None
    return [root for root in roots if root != folder]
