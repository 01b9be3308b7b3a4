"""Escapes texts for Markdown and CSV: nothing in a name acts as markup or as a formula.

:mod:`evalkit.core.tex` is for LaTeX.
"""

from __future__ import annotations

import csv
import re
from itertools import chain
from typing import TYPE_CHECKING

from evalkit.core.console import inline

if TYPE_CHECKING:
    import pandas as pd

# An underscore within a word is no markup.
_MARKS = re.compile(r"[\\`*\[\]<&|~$#]|^>|(?<![^\W_])_|_(?![^\W_])|(?<=http):|(?<=https):|(?<=www)\.")
# How a formula begins in a spreadsheet, also in full-width forms.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def markdown(text: str) -> str:
    r"""A text within a line or a cell of GitHub's Markdown.

    >>> print(markdown("mini_docvqa|<b>[a](http://b)*\n"))
    mini_docvqa\|\<b>\[a\](http\://b)\*\\n
    """
    return _MARKS.sub(r"\\\g<0>", inline(text))


def code(text: str) -> str:
    r"""A text within a line of Markdown, as code.

    >>> code("a_b"), code("a`b")
    ('`a_b`', '`` a`b ``')
    """
    shown = inline(text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    return f"{'`' * (longest + 1)} {shown} {'`' * (longest + 1)}" if longest else f"`{shown}`"


def csv_cell(value: object) -> object:
    """A cell of CSV: a text that a spreadsheet would take for a formula gets an apostrophe in front. Numbers,
    and texts that are numbers, stay as they are.

    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell("@rope")
    ("'=1+1", '-0.5', -0.5, "'@rope")
    """
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def csv_text(cell: str) -> str:
    """The text of a cell that :func:`csv_cell` made.

    >>> csv_text("'=1+1"), csv_text("it's"), csv_text("'quoted'")
    ('=1+1', "it's", "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def csv_table(table: pd.DataFrame) -> str:
    """A frame as CSV, texts and column names escaped by :func:`csv_cell`."""
    import pandas as pd

    # Columns keep their type: one with gaps would turn its counts into 4.0.
    columns = {name: table[name] for name in table.columns}
    cells = pd.DataFrame(
        {
            csv_cell(name): pd.Series(list(map(csv_cell, column)), column.index, column.dtype)
            for name, column in columns.items()
        }
    )
    texts = chain(cells.columns, *(cells[name] for name in cells.columns))
    # Python quotes a carriage return, which pandas then reads, only where it quotes all texts.
    returns = any(isinstance(text, str) and "\r" in text for text in texts)
    return cells.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL)


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text.lstrip("'"))
