"""Seeded scenes of the mini-suite: a token grid, and the questions that can be asked about it.

The four kinds exercise what a position design must express. Documents read along a row or down a
column, charts carry a bar's top over to the axis, boxes turn a place into coordinates, and clips
need the order of time. Token grids come in several shapes with equal or nearly equal numbers of tokens, so
that a one-dimensional position doesn't tell how wide a row is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from evalkit.zoo.token_grids import CELL, DIGITS, LETTERS, NAMES, TokenGrid, colour, glyph

IMAGE_SHAPES = ((4, 6), (6, 4), (5, 5), (4, 5), (5, 4))
CLIP_SHAPES: Mapping[str, tuple[int, tuple[tuple[int, int], ...]]] = MappingProxyType(
    {
        "short": (3, ((3, 3), (3, 4), (4, 3))),
        "medium": (4, ((3, 3), (2, 4), (4, 2))),
        "long": (6, ((2, 3), (3, 2))),
    }
)
LARGE_SHAPES = ((6, 6), (5, 7), (7, 5), (6, 7), (7, 6), (7, 7))
"""Of pages larger than any that the zoo is trained on."""

LONG_SHAPES: Mapping[str, tuple[int, tuple[tuple[int, int], ...]]] = MappingProxyType(
    {"8 seconds": (8, ((2, 3), (3, 2))), "12 seconds": (12, ((2, 3), (3, 2)))}
)
"""Of clips longer than any that the zoo is trained on."""

CODE_LENGTH = 3
PRACTICE = "reading"
"""Kind of the questions that are asked in training only."""

MOVES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
)

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class SceneQuestion:
    """One question with its answer, in the words of the real benchmark's answers.

    ``options`` are the texts of a multiple choice (``answer`` is then the letter); ``box`` is
    ``(x1, y1, x2, y2)`` in pixels (``text`` is then the referring expression).
    """

    kind: str
    text: str
    answer: str
    options: tuple[str, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class Scene:
    """A token grid and everything that may be asked about it, in random order.

    ``practice`` is asked in training only: to read everything aloud teaches to follow lines.
    """

    token_grid: TokenGrid
    questions: tuple[SceneQuestion, ...]
    label: str = ""
    practice: SceneQuestion | None = None


def generator(*seed: object) -> random.Random:
    """A random generator, the same for the same ``seed`` on every machine."""
    return random.Random("/".join(str(part) for part in seed))  # noqa: S311 (nothing secret here)


def _shuffled(rng: random.Random, questions: list[SceneQuestion]) -> tuple[SceneQuestion, ...]:
    rng.shuffle(questions)
    return tuple(questions)


def document(rng: random.Random, shapes: Sequence[tuple[int, int]] = IMAGE_SHAPES) -> Scene:
    """Lines of a number and a code, written along the rows or down the columns."""
    rows, columns = rng.choice(shapes)
    kind = rng.choice(("row", "column"))
    lines, width = (rows, columns) if kind == "row" else (columns, rows)
    token_grid = np.zeros((lines, width), np.int64)
    labels = rng.sample(DIGITS, lines)
    codes = ["".join(rng.choices(LETTERS, k=CODE_LENGTH)) for _ in labels]
    questions = []
    for line, (label, code) in enumerate(zip(labels, codes, strict=True)):
        token_grid[line, : 1 + CODE_LENGTH] = [glyph(c) for c in label + code]
        questions.append(SceneQuestion(kind, f"What is the code in {kind} {label}?", code))
    everything = "".join(label + code for label, code in zip(labels, codes, strict=True))
    reading = SceneQuestion(PRACTICE, f"Read the {kind}s.", everything)
    if kind == "column":
        token_grid = np.ascontiguousarray(token_grid.T)
    return Scene(token_grid, _shuffled(rng, questions), kind, reading)


def chart(rng: random.Random) -> Scene:
    """Coloured bars beside an axis that counts from one at the bottom."""
    rows, columns = rng.choice(IMAGE_SHAPES)
    token_grid = np.zeros((rows, columns), np.int64)
    token_grid[:, 0] = [glyph(str(rows - row)) for row in range(rows)]
    names = rng.sample(NAMES, columns - 1)
    heights = [rng.randint(1, rows) for _ in names]
    questions = []
    for column, (name, height) in enumerate(zip(names, heights, strict=True), 1):
        token_grid[rows - height :, column] = colour(name)
        value = str(height)
        questions.append(SceneQuestion("augmented_test", f"What is the value of the {name} bar?", value))
        if heights.count(height) == 1:
            questions.append(SceneQuestion("human_test", f"Which bar has the value {value}?", name))
    values = "".join(f"{name}{height}" for name, height in zip(names, heights, strict=True))
    return Scene(
        token_grid, _shuffled(rng, questions), practice=SceneQuestion(PRACTICE, "Read the bars.", values)
    )


def _place(rng: random.Random, token_grid: TokenGrid, rows: int, columns: int) -> tuple[int, int] | None:
    """Row and column of a free place that touches nothing; None after twenty attempts."""
    for _ in range(20):
        row, column = (
            rng.randint(0, token_grid.shape[0] - rows),
            rng.randint(0, token_grid.shape[1] - columns),
        )
        around = token_grid[max(0, row - 1) : row + rows + 1, max(0, column - 1) : column + columns + 1]
        if not around.any():
            return row, column
    return None


def _relations(one: Box, other: Box) -> list[str]:
    """Words that tell a box from another of its colour, for the axes on which the two don't overlap."""
    words = []
    for axis, (low, high) in enumerate((("left", "right"), ("top", "bottom"))):
        if one[axis + 2] <= other[axis]:
            words.append(low)
        elif other[axis + 2] <= one[axis]:
            words.append(high)
    return words


def _expressions(colours: list[str], boxes: list[Box]) -> list[SceneQuestion]:
    questions = []
    for name, box in zip(colours, boxes, strict=True):
        twins = [b for n, b in zip(colours, boxes, strict=True) if n == name and b != box]
        answer = "[{}, {}, {}, {}]".format(*box)
        if not twins:
            questions.append(SceneQuestion("colour", f"{name} box", answer, box=box))
        words = _relations(box, twins[0]) if twins else []
        questions += [SceneQuestion("relation", f"{word} {name} box", answer, box=box) for word in words]
    return questions


def boxes(rng: random.Random) -> Scene:
    """Two to four rectangles; two of them may share a colour and are told apart by their places."""
    while True:
        token_grid = np.zeros(rng.choice(IMAGE_SHAPES), np.int64)
        names = rng.sample(NAMES, 3)
        wanted = rng.choice((names[:2], names[:1] * 2, names[:1] * 2 + names[1:2], names))
        found: list[Box] = []
        for name in wanted:
            rows, columns = rng.randint(1, 3), rng.randint(1, 3)
            place = _place(rng, token_grid, rows, columns)
            if place is None:
                break
            row, column = place
            token_grid[row : row + rows, column : column + columns] = colour(name)
            found.append((column * CELL, row * CELL, (column + columns) * CELL, (row + rows) * CELL))
        if len(found) == len(wanted):
            seen = sorted(zip(found, wanted, strict=True), key=lambda item: (item[0][1], item[0][0]))
            places = "".join("{}[{}, {}, {}, {}]".format(name, *box) for box, name in seen)
            reading = SceneQuestion(PRACTICE, "Read the boxes.", places)
            return Scene(token_grid, _shuffled(rng, _expressions(wanted, found)), practice=reading)


def _choice(rng: random.Random, kind: str, text: str, answer: str, others: list[str]) -> SceneQuestion:
    options = [answer, *others]
    rng.shuffle(options)
    return SceneQuestion(kind, text, "ABCD"[options.index(answer)], tuple(options))


def _path(rng: random.Random, steps: int, shape: tuple[int, int], move: str) -> list[tuple[int, int]]:
    """One cell a second until the border; the start leaves room for at least one step."""
    axis = 0 if MOVES[move][0] else 1
    sign = MOVES[move][axis]
    at = [rng.randrange(shape[0]), rng.randrange(shape[1])]
    at[axis] = rng.randrange(shape[axis] - 1) + (1 if sign < 0 else 0)
    path = []
    for _ in range(steps):
        path.append((at[0], at[1]))
        at[axis] = min(max(at[axis] + sign, 0), shape[axis] - 1)
    return path


def _motion(rng: random.Random, token_grid: TokenGrid) -> tuple[list[SceneQuestion], str] | None:
    """Questions, and the answer to the practice question; None if two squares meet."""
    questions, told = [], []
    for name in rng.sample(NAMES, rng.choice((1, 2))):
        move = rng.choice(tuple(MOVES))
        for second, (row, column) in enumerate(_path(rng, len(token_grid), token_grid.shape[1:], move)):
            if token_grid[second, row, column]:
                return None
            token_grid[second, row, column] = colour(name)
        others = [m for m in MOVES if m != move]
        text = f"Which way does the {name} square move?"
        questions += [_choice(rng, "Motion", text, move, list(others)) for _ in range(2)]
        told += [name, move]
    return questions, ",".join(told)


def _order(rng: random.Random, token_grid: TokenGrid) -> tuple[list[SceneQuestion], str]:
    """Squares of different colours shown one at a time, each for a second, with pauses."""
    seconds, rows, columns = token_grid.shape
    shown = rng.sample(NAMES, min(4, seconds))
    for second, name in zip(sorted(rng.sample(range(seconds), len(shown))), shown, strict=True):
        token_grid[second, rng.randrange(rows), rng.randrange(columns)] = colour(name)
    spare = [name for name in NAMES if name not in shown]
    questions = []
    for word, answer in (("first", shown[0]), ("last", shown[-1])) * 2:
        others = [name for name in shown if name != answer]
        others += rng.sample(spare, 3 - len(others))
        questions.append(_choice(rng, "Order", f"Which square appears {word}?", answer, others))
    return questions, ",".join(shown)


def clip(
    rng: random.Random, durations: Mapping[str, tuple[int, tuple[tuple[int, int], ...]]] = CLIP_SHAPES
) -> Scene:
    """Squares that move, or that appear one after the other."""
    duration = rng.choice(tuple(durations))
    seconds, shapes = durations[duration]
    motion = rng.random() < 0.5
    while True:
        token_grid = np.zeros((seconds, *rng.choice(shapes)), np.int64)
        made = _motion(rng, token_grid) if motion else _order(rng, token_grid)
        if made is not None:
            practice = SceneQuestion(PRACTICE, "Read the clip.", made[1])
            return Scene(token_grid, _shuffled(rng, made[0]), duration, practice)


SCENES: Mapping[str, Callable[[random.Random], Scene]] = MappingProxyType(
    {"mini_docvqa": document, "mini_chartqa": chart, "mini_refcoco": boxes, "mini_video": clip}
)
"""By task; the zoo is trained on scenes of these shapes."""

LARGER_SCENES: Mapping[str, Callable[[random.Random], Scene]] = MappingProxyType(
    {
        "mini_docvqa_large": partial(document, shapes=LARGE_SHAPES),
        "mini_video_long": partial(clip, durations=LONG_SHAPES),
    }
)
"""By task; no training sees scenes as large."""
