"""Local files that rows refer to by name: videos in archives, images of another data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evalkit.data.archives import extract_once, is_inside, is_unpacked
from evalkit.data.cache import cache_root
from evalkit.data.mirror import how_to_get
from evalkit.errors import EnvironmentProblem

Row = Mapping[str, Any]


@dataclass
class Files:
    """Adds columns with paths to rows (see ``HubDataset.files``).

    A row whose file is missing keeps the path where it was expected: that sample becomes an error
    in the results, it is not dropped. That none was found at all is an error at once.
    """

    repo: str
    roots: Sequence[Path]
    expected_in: Path
    templates: Mapping[str, tuple[str, ...]]
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
        templates: Mapping[str, tuple[str, ...]],
        optional: Sequence[str],
        hint: str,
    ) -> Files:
        """Unpack the archives where need be, and look in the repository, in them and in the root.

        Raises:
            EnvironmentProblem: an archive is unsafe, damaged, or too large for the disk.
        """
        roots = [folder] if folder else []
        if folder:
            found = sorted({path for pattern in archives for path in folder.glob(pattern)})
            roots += [
                extract_once(path, cache_root() / "archives")
                for path in found
                if not is_unpacked(path, folder)
            ]
        root = Path(data_root or "DATA_ROOT").expanduser()
        expected_in = folder if folder and archives else root
        return cls(repo, [*roots, root], expected_in, templates, optional, hint)

    def attach(self, row: Row) -> Row:
        """Return the row with one more column for every file that it refers to."""
        added: dict[str, str | None] = {}
        for column, templates in self.templates.items():
            names = [name for template in templates if is_inside(name := template.format_map(row))]
            path = next((path for name in names if (path := self._find(name))), None)
            required = column not in self.optional
            if path is None and required:
                if not names:
                    raise EnvironmentProblem(
                        f"data set `{self.repo}`",
                        f"a row refers to a file outside of the data: {templates[0].format_map(row)!r}",
                        "don't use this copy of the data set",
                    )
                path = str(self.expected_in / names[0])
                self._missing.append(path)
            elif required:
                self._found += 1
            added[column] = path
        return {**row, **added}

    def check_any_found(self) -> None:
        """Raise if rows needed files and not one of them is there."""
        if self._missing and not self._found:
            raise EnvironmentProblem(
                f"files of data set `{self.repo}`",
                f"none of the {len(self._missing)} is there; the first was expected at `{self._missing[0]}`",
                self.hint or how_to_get(self.repo, f"DIR/{self.repo}"),
            )

    def _find(self, name: str) -> str | None:
        return next((str(path) for root in self.roots if (path := root / name).is_file()), None)
