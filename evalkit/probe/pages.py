"""Abilities about pages of text: the order of reading, rows and columns, tables."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.stated import StatedNumber, StatedWord
from evalkit.probe.drawing import PAPER, save, write
from evalkit.probe.item import Ability, Drawing, Item, choice, quarter
from evalkit.probe.words import WORDS

COLUMN, LINE, MARGIN = 420, 34, 48
_PER_LINE = 3
_CELL = 56
_LETTERS = "ABCDEFGHKLMNPRSTUVWXYZ"
MONTHS = ("January", "February", "March", "April", "May")
_NAME, _FIGURE, _ROW = 160, 120, 34

Text = tuple[float, float, str]


def reading_order(rng: random.Random, count: int, number: int) -> Item:
    """``count`` words in two columns of lines; what comes after one of them."""
    words = rng.sample(WORDS, count)
    half = count // 2
    line_ends = [
        place for place in range(count - 1) if place % _PER_LINE == _PER_LINE - 1 and place != half - 1
    ]
    inside = [place for place in range(count - 1) if place % _PER_LINE != _PER_LINE - 1]
    place = ([half - 1], line_ends, inside)[number % 3]
    asked = rng.choice(place)
    lines = half // _PER_LINE
    size = (2 * COLUMN + MARGIN, 2 * MARGIN + lines * LINE)
    texts = []
    for line in range(count // _PER_LINE):
        x, y = MARGIN + COLUMN * (line // lines), MARGIN + (line % lines + 0.5) * LINE
        texts.append((x, y, "  ".join(words[line * _PER_LINE : (line + 1) * _PER_LINE])))
    rule = (COLUMN + MARGIN // 2 - 12, MARGIN, COLUMN + MARGIN // 2 - 12, size[1] - MARGIN)
    question = (
        "This page has two columns. Read the left one line by line from top to bottom, then the right one. "
        f'Which word comes directly after "{words[asked]}"?'
    )
    asks = f"{question}\nAnswer with that word only."
    scene = {"words": words, "asked": words[asked], "texts": texts}
    parts = (_page(size, texts, [rule], 24), asks)
    return Item(parts, words[asked + 1], question, scene=scene, size=size)


def row_or_column(rng: random.Random, count: int, number: int) -> Item:
    """A square of letters, ``count`` a side; which option is a row or a column of it."""
    while True:
        grid = [[rng.choice(_LETTERS) for _ in range(count)] for _ in range(count)]
        down = [list(column) for column in zip(*grid, strict=True)]
        is_row, line = number % 2 == 0, rng.randrange(count)
        own, crossing = (grid, down) if is_row else (down, grid)
        near = own[line - 1] if line else own[line + 1]
        found = [" ".join(each) for each in (own[line], crossing[line], own[line][::-1], near)]
        if len(set(found)) == 4:
            break
    size = (2 * MARGIN + count * _CELL,) * 2
    texts = [
        (MARGIN + (x + 0.5) * _CELL, MARGIN + (y + 0.5) * _CELL, letter)
        for y, row in enumerate(grid)
        for x, letter in enumerate(row)
    ]
    what, first, way = ("row", "top", "left to right") if is_row else ("column", "left", "top to bottom")
    question = (
        f"Number the {what}s of this square of letters from 1, beginning at the {first}. "
        f"What does {what} {line + 1} say, read from {way}?"
    )
    scene = {"grid": grid, "row": is_row, "line": line}
    picture = _page(size, texts, [], 30, "mm")
    return choice(rng, [picture], question, found[0], found[1:], scene=scene, size=size)


def table(rng: random.Random, count: int, number: int) -> Item:
    """A table of ``count`` rows and five columns; what stands in a cell."""
    names = [word.capitalize() for word in rng.sample(WORDS, count)]
    figures = rng.sample(range(100, 1000), count * len(MONTHS))
    rows = [figures[place : place + len(MONTHS)] for place in range(0, len(figures), len(MONTHS))]
    row, column = rng.randrange(count), rng.randrange(len(MONTHS))
    size = (2 * MARGIN + _NAME + _FIGURE * len(MONTHS), 2 * MARGIN + _ROW * (count + 1))
    texts: list[Text] = []
    for y, (name, cells) in enumerate(zip(["", *names], [MONTHS, *rows], strict=True)):
        middle = MARGIN + (y + 0.5) * _ROW
        texts.append((MARGIN + 8, middle, name))
        texts += [(MARGIN + _NAME + _FIGURE * x + 8, middle, str(each)) for x, each in enumerate(cells)]
    rules = [(MARGIN, MARGIN + y * _ROW, size[0] - MARGIN, MARGIN + y * _ROW) for y in (0, 1, count + 1)]
    question = f"Which number does the table give for {names[row]} in {MONTHS[column]}?"
    scene = {"names": names, "rows": rows, "name": names[row], "month": MONTHS[column]}
    parts = (_page(size, texts, rules, 20), f"{question}\nAnswer with the number only.")
    return Item(parts, str(rows[row][column]), question, scene=scene, size=size)


def _page(
    size: tuple[int, int],
    texts: Sequence[Text],
    rules: Sequence[tuple[float, float, float, float]],
    height: int,
    anchor: str = "lm",
) -> Drawing:
    return Drawing("image", partial(_draw_page, size, tuple(texts), tuple(rules), height, anchor))


def _draw_page(
    size: tuple[int, int], texts: Sequence[Text], rules: Sequence[Any], height: int, anchor: str, path: Path
) -> None:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", size, PAPER)
    canvas = ImageDraw.Draw(picture)
    for rule in rules:
        canvas.line(rule, fill=(120, 120, 120), width=2)
    for x, y, text in texts:
        write(canvas, (x, y), text, height, anchor)
    save(picture, path)


def _one_of(count: Callable[[int], int]) -> Callable[[int], float]:
    return lambda level: 1 / count(level)


ABILITIES = (
    Ability(
        "probe_reading_order",
        "words on the page",
        (12, 24, 36, 48, 72, 96, 144, 192),
        reading_order,
        StatedWord(),
        _one_of(lambda words: words - 1),
    ),
    Ability(
        "probe_row_column",
        "letters a side",
        (3, 4, 5, 6, 8, 10, 12, 16),
        row_or_column,
        MultipleChoice(),
        quarter,
    ),
    Ability(
        "probe_table",
        "rows",
        (2, 4, 6, 8, 12, 16, 24, 32),
        table,
        StatedNumber(),
        _one_of(lambda rows: rows * len(MONTHS)),
    ),
)
