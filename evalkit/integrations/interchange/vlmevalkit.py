"""VLMEvalKit's prediction files, ``MODEL_DATASET.xlsx``, ``.tsv`` and ``.json``.

``vlmeval/smp/file.py`` (``dump``) writes them with pandas, and ``vlmeval/inference.py`` says what is in them:
the data set's columns without images (``index``, ``question``, ``A`` ..., ``answer``, ``category``), and
``prediction``, with ``thinking`` where reasoning was split off. Files of its judges have ``hit`` as well.
Cells are read by their own types, since pandas would make numbers of some texts.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from itertools import zip_longest
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from evalkit.data.archives import zip_bomb_problem
from evalkit.data.delimited import records
from evalkit.integrations.interchange.answers import NOT_GIVEN, ForeignAnswer, ResultsFile, listed, unreadable

_FAILED = "Failed to obtain answer"  # INFER_FAIL_MSG, and FAIL_MSG of its APIs
_FULL = 32767
"""Characters that a cell of a spreadsheet holds; longer texts were cut."""

_DIGITS = 1e15
"""Numbers of this size may have lost digits in a spreadsheet."""

_LETTER = re.compile(r"[A-Z]")
_NUMBER = "answers that stand as numbers in the sheet are read as `12`, not `12.0`"
_FORMULA = "answers that stand as formulas in the sheet are read as the text `=...`"
_EMPTY = "its cell is empty: the model said nothing, or its answer was lost"
_UNTOLD = "whether answers were cut off is not in the file, unless they fill a cell"


def read(path: Path) -> ResultsFile:
    """Read a file of predictions.

    Raises:
        UsageError: it can't be read, or has no ``index`` and ``prediction``.
    """
    lines = {".xlsx": _sheet, ".json": _records}.get(path.suffix.lower(), _table)(path)
    header = [str(name).strip() if name is not None else "" for name in next(lines, [])]
    for name in ("index", "prediction"):
        if header.count(name) != 1:
            have = ", ".join(f"`{each}`" for each in header if each) or "none"
            many = "no column" if name not in header else "two columns"
            raise unreadable(path, f"it has {many} `{name}`; its columns are {have}")
    answers = [
        _answer(dict(zip_longest(header, cells[: len(header)])), f"row {number}")
        for number, cells in enumerate(lines, start=2)
        if any(each not in (None, "") for each in cells)
    ]
    notes = [_UNTOLD] if "thinking" not in header else [_UNTOLD, "reasoning was split off: it is not scored"]
    return ResultsFile(path, "VLMEvalKit", "", "", "", answers, tuple(notes))


def _sheet(path: Path) -> Iterator[Sequence[Any]]:
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    reason = zip_bomb_problem(path)
    if reason:
        raise unreadable(path, f"it {reason}", "copy the file again, or write it as .json")
    try:
        book = openpyxl.load_workbook(path, read_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, ParseError, EOFError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise unreadable(path, f"it is no whole .xlsx file: {why}", "copy the file again") from None
    try:
        if len(book.worksheets) != 1:
            raise unreadable(
                path, f"it has {len(book.worksheets)} sheets", "leave only the predictions in it"
            )
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some programs write them wrongly, and cells beyond them would be left out
        for row in sheet.iter_rows():
            yield [_Formula(cell.value) if cell.data_type == "f" else cell.value for cell in row]
    except (zipfile.BadZipFile, ParseError, EOFError, ValueError, KeyError) as error:
        raise unreadable(path, f"it is no whole .xlsx file: {error}", "copy the file again") from None
    finally:
        book.close()


class _Formula(str):
    """A text that a spreadsheet took for a formula."""

    __slots__ = ()


def _records(path: Path) -> Iterator[Sequence[Any]]:
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise unreadable(path, f"it can't be read as JSON: {error}", "copy the file again") from None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise unreadable(path, "it is no list of predictions")
    header = list(dict.fromkeys(name for each in found for name in each))
    yield header
    for each in found:
        yield [None if each.get(name) != each.get(name) else each.get(name) for name in header]  # NaN


def _table(path: Path) -> Iterator[Sequence[Any]]:
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise unreadable(path, f"line {line} is no UTF-8 text", "save it as UTF-8") from None
    try:
        found = records(text, "\t")
    except ValueError as error:
        raise unreadable(path, str(error), "copy the file again") from None
    width = len(found[0][1]) if found else 0
    for line, cells in found:
        if len(cells) != width:
            why = f"the record up to line {line} has {len(cells)} cells, its header {width}"
            raise unreadable(path, why, "copy the file again, or mend that record")
        yield cells


def _answer(row: Mapping[str, Any], where: str) -> ForeignAnswer:
    text, problem, remarks = _prediction(row["prediction"])
    options = {
        letter: str(row[letter])
        for letter in sorted(name for name in row if _LETTER.fullmatch(name))
        if not _is_nothing(row[letter])
    }
    reference = row.get("answer")
    return ForeignAnswer(
        id=_plain(row["index"]),
        where=where,
        text=text,
        problem=problem,
        cut=len(text) >= _FULL,
        question=_plain(row.get("question")),
        options={name: _plain(row[name]) for name in options},
        reference=NOT_GIVEN if _is_nothing(reference) else listed(_plain(reference)),
        figures={"hit": float(row["hit"])} if _is_number(row.get("hit")) else {},
        remarks=remarks,
    )


def _prediction(cell: Any) -> tuple[str, str | None, tuple[str, ...]]:
    """The text of an answer, why there is none, and remarks on what the spreadsheet did to it."""
    if cell is None or cell == "":
        return "", _EMPTY, ()
    if isinstance(cell, bool | date | time | list | dict):
        kind = {bool: "a truth value", list: "a list", dict: "a record"}.get(type(cell), "a date")
        return "", f"its cell holds {kind}: which text it was can't be told", ()
    if isinstance(cell, int | float):
        if abs(cell) >= _DIGITS:
            return "", "its cell holds a number of more digits than a sheet keeps", ()
        return _plain(cell), None, (_NUMBER,)
    text = str(cell)
    if text.startswith(_FAILED):
        return "", f"VLMEvalKit got no answer: {text}", ()
    return text, None, (_FORMULA,) if isinstance(cell, _Formula) else ()


def _plain(cell: Any) -> str:
    """A cell as text; a whole number as it is written without a point.

    >>> _plain(12.0), _plain(0.5), _plain(None), _plain("012")
    ('12', '0.5', '', '012')
    """
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _is_nothing(cell: Any) -> bool:
    return cell is None or str(cell).strip() in ("", "nan")


def _is_number(cell: Any) -> bool:
    try:
        return cell is not None and not isinstance(cell, date | time) and float(cell) in (0.0, 1.0)
    except ValueError:
        return False
