"""Find the cases of a folder and compare them all."""

from __future__ import annotations

import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.rope.catalog import RopeCatalog
from evalkit.rope.variants import BUILTIN
from tools.golden import GoldenResult
from tools.golden.official_layouts import check_lumos, check_omnigen, check_v2pe
from tools.golden.sequences import check_sequence
from tools.golden.spectra import check_spectra

Check = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Iterator[GoldenResult]]

_LAYOUTS: Mapping[str, Check] = {
    "any": check_sequence,
    "qwen2": check_sequence,
    "qwen3": check_sequence,
    "internvl": check_v2pe,
    "omnigen2": check_omnigen,
    "lumos": check_lumos,
}


# What reading fails with where a case holds other things than it must, torch's and numpy's errors among them.
_NOT_A_CASE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError),
    *(EOFError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


class NoCases(ValueError):
    """The folder holds nothing that could be compared, or a case that can't be read."""


def check_folder(folder: Path, catalog: RopeCatalog = BUILTIN) -> Iterator[GoldenResult]:
    """Compare every case of a folder, in the order of their names; ``catalog`` has the variants that results
    name as theirs (``"evalkit": "my-variant"``).

    Raises:
        NoCases: there are none, or one is not as it must be.
    """
    cases = [path for path in sorted(folder.glob("*.json")) if path.with_suffix(".npz").is_file()]
    if not cases:
        raise NoCases(f"`{folder}` holds no case (a NAME.json beside a NAME.npz)")
    for path in cases:
        try:
            case = json.loads(path.read_text(encoding="utf-8"))
            with np.load(path.with_suffix(".npz")) as stored:
                arrays = dict(stored)
            check = check_spectra if "entries" in case else _LAYOUTS[case["layout"]]
            if check is check_sequence:
                yield from check_sequence(path.stem, case, arrays, catalog)
            else:
                yield from check(path.stem, case, arrays)
        except _NOT_A_CASE as error:
            reason = f"{type(error).__name__}: {error}"
            raise NoCases(f"case `{path.name}` is not in the format of golden data ({reason})") from error
