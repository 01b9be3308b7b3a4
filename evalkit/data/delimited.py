"""A strict CSV and TSV reader."""

from __future__ import annotations

import csv
import io

_LONGEST = 2**31 - 1


def records(text: str, mark: str) -> list[tuple[int, list[str]]]:
    r"""The records that aren't blank, each with the line that it ends in; cells stand between ``mark``.

    >>> records('a,b\n\n1,"x\ny"\n', ",")
    [(1, ['a', 'b']), (4, ['1', 'x\ny'])]

    Raises:
        ValueError: a quote isn't closed, or something follows one; says in which line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    # Python's own limit is for the whole process, and shorter than what a model that repeats itself says.
    before = csv.field_size_limit(_LONGEST)
    try:
        return [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is no record: {error}") from None
    finally:
        csv.field_size_limit(before)
