"""Drawn abilities: every answer follows from what is drawn, and is read as models word it."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.registry import declared, load_task, resolve
from evalkit.core.types import Locate, MediaRef
from evalkit.data.cache import MediaCache
from evalkit.data.sampling import FrameRule, sample_frames
from evalkit.data.selection import choose_samples, ci_subset
from evalkit.data.video import probe as probe_video
from evalkit.metrics.base import Answer
from evalkit.probe.dataset import ABILITIES, ProbeDataset, ability
from evalkit.probe.drawing import COLOURS, PAPER, SHAPES, Thing
from evalkit.probe.film import Insert
from evalkit.probe.item import Ability, Drawing, Item
from evalkit.probe.motion import span_chance

NAMES = [each.name for each in ABILITIES]
items = st.tuples(st.sampled_from(ABILITIES), st.integers(0, 30), st.integers(0, 199), st.integers(1, 5))


def chosen(item: Item) -> str:
    """The text that an item holds for right."""
    return item.options[item.answer] if item.options else str(item.answer)


def things(item: Item) -> list[Thing]:
    found: list[Thing] = item.scene["things"]
    return found


def named(item: Item, name: str) -> Thing:
    (found,) = [each for each in things(item) if each.name == name]
    return found


def names_in(item: Item) -> list[str]:
    """Objects that a question names, in its order."""
    kinds = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    return sorted((each for each in kinds if each in item.question), key=item.question.index)


def _localisation(item: Item, level: int) -> Any:
    phrase = next(part for part in item.parts if isinstance(part, Locate)).phrase
    return list(named(item, phrase.removeprefix("the ")).box)


def _counting(item: Item, level: int) -> str:
    kind = " ".join(item.question.split()[2:4]).removesuffix("es" if "crosses" in item.question else "s")
    return str(sum(each.name == kind for each in things(item)))


def _relation2(item: Item, level: int) -> str:
    second, first = (named(item, name) for name in names_in(item))
    across, down = first.x - second.x, first.y - second.y
    if abs(across) > abs(down):
        return "to the left of it" if across < 0 else "to the right of it"
    return "above it" if down < 0 else "below it"


def _relation3(item: Item, level: int) -> str:
    axis = "x" if "from left to right" in item.question else "y"
    three = sorted((named(item, name) for name in names_in(item)), key=lambda each: getattr(each, axis))
    return ", ".join(each.name for each in three)


def _aspect(item: Item, level: int) -> str:
    (asked,) = names_in(item)
    axis = "x" if "to the right of" in item.question else "y"
    ordered = sorted(things(item), key=lambda each: getattr(each, axis))
    return ordered[ordered.index(named(item, asked)) + 1].name


def _reading(item: Item, level: int) -> str:
    middle = max(x for x, _, _ in item.scene["texts"]) / 2 + 1
    order = sorted(item.scene["texts"], key=lambda each: (each[0] > middle, each[1]))
    words = " ".join(text for _, _, text in order).split()
    return words[words.index(item.question.split('"')[1]) + 1]


def _letters(item: Item, level: int) -> str:
    grid, line = np.array(item.scene["grid"]), int(item.question.split(" say")[0].split()[-1]) - 1
    return " ".join(grid[line] if "What does row" in item.question else grid[:, line])


def _table(item: Item, level: int) -> str:
    words = item.question.rstrip("?").split()
    months = ["January", "February", "March", "April", "May"]
    return str(item.scene["rows"][item.scene["names"].index(words[-3])][months.index(words[-1])])


def _several(item: Item, level: int) -> str:
    having = [
        place
        for place, sheet in enumerate(item.scene["sheets"], 1)
        if item.scene["target"] in {t.name for t in sheet}
    ]
    (only,) = having
    return str(only)


def _fading(item: Item, level: int) -> str:
    words = " ".join(part for part in item.parts if isinstance(part, str) and "story that" in part).split()
    assert len(words) == (level + 12 if level else 0)
    down, across = item.question.split("at the ")[-1].split()[:2]
    (found,) = [
        t for t in things(item) if (t.y > 224) == (down == "bottom") and (t.x > 224) == (across == "right")
    ]
    return found.name


def _small(item: Item, level: int) -> str:
    (only,) = things(item)
    assert 2016 / (2 * only.radius) == level
    return f"a {only.name}".replace("a orange", "an orange")


def _direction(item: Item, level: int) -> str:
    paths = [[next(t for t in frame if t.name == item.scene["name"]) for frame in item.scene["frames"]]]
    ((first, *_, last),) = paths
    across, down = last.x - first.x, last.y - first.y
    if across:
        return "to the left" if across < 0 else "to the right"
    return "upwards" if down < 0 else "downwards"


def _speed(item: Item, level: int) -> str:
    first, *_, last = item.scene["frames"]
    ways = {a.name: b.x - a.x for a, b in zip(first, last, strict=True)}
    fastest, second = sorted(ways.values())[-1:-3:-1]
    assert abs(100 * second / fastest - level) < 0.5
    return max(ways, key=lambda name: ways[name])


def _order(item: Item, level: int) -> str:
    shown = item.scene["shown"]
    assert len(shown) == level
    return shown[shown.index(names_in(item)[0]) + 1]


def _time(item: Item, level: int) -> list[float]:
    start, end = item.scene["span"]
    assert 0 < start < end < level
    return [start, end]


def _inserts(item: Item) -> list[Insert]:
    found = sorted(item.scene["inserts"], key=lambda each: each.start)
    assert [(each.start, each.start + each.frames) for each in found if each in item.scene["inserts"]]
    assert all(a.start + a.frames <= b.start for a, b in itertools.pairwise(found))
    assert all(0 <= each.start <= item.scene["frames"] - each.frames for each in found)
    return found


def _needle(item: Item, level: int) -> str:
    if item.subtask in (None, "distractor"):
        shape = item.question.rstrip("?").split()[-1]
        (only,) = [each.things[0].colour for each in _inserts(item) if each.things[0].shape == shape]
        return only
    found = [each.things[0] for each in _inserts(item)]
    if item.subtask == "counting":
        return str(len(found))
    if item.subtask == "ordering":
        return ", ".join(each.shape for each in found)
    return next(
        text for text in item.options.values() if sorted(text.split(", ")) == sorted(t.colour for t in found)
    )


CHECKS = {
    "probe_localisation": _localisation, "probe_counting": _counting, "probe_relation2": _relation2,
    "probe_relation3": _relation3, "probe_small_object": _small, "probe_aspect_ratio": _aspect,
    "probe_reading_order": _reading, "probe_row_column": _letters, "probe_table": _table,
    "probe_several_images": _several, "probe_fading": _fading, "probe_motion_direction": _direction,
    "probe_motion_speed": _speed, "probe_event_order": _order, "probe_event_time": _time,
    "probe_needle": _needle, "probe_vniah": _needle, "probe_vruler": _needle,
}  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(items)
def test_the_answer_follows_from_what_is_drawn(drawn: tuple[Ability, int, int, int]) -> None:
    own, place, number, seed = drawn
    level = own.levels[place % len(own.levels)]
    item = own.item(level, number, seed)
    right = CHECKS[own.name](item, level)
    assert (item.answer if isinstance(right, list) else chosen(item)) == right
    assert len(item.options) in (0, 4)
    if item.options:
        asks = item.parts[-1]
        assert isinstance(asks, str)
        assert asks.endswith("Answer with the option's letter.")
        assert all(f"\n{letter}. {text}\n" in asks for letter, text in item.options.items())


def test_every_ability_has_a_check_a_task_and_as_many_levels_as_promised() -> None:
    assert set(CHECKS) == set(NAMES) == {info.name for info in declared() if info.name.startswith("probe_")}
    group = resolve(["probe"])
    assert sorted(group) == sorted(set(NAMES) - {"probe_vniah", "probe_vruler"})
    assert not set(resolve(["image", "video", "grounding"])) & set(NAMES)
    for own in ABILITIES:
        preset = own.name not in group
        assert list(own.levels) == sorted(set(own.levels))
        assert preset or 5 <= len(own.levels) <= 8
        assert own.items >= 30 if preset else 50 <= own.items <= 200
        assert all(0 <= own.chance(level) <= 0.5 for level in own.levels)


def test_right_options_stand_at_every_letter_about_equally_often() -> None:
    for own in ABILITIES:
        found = [str(own.item(level, n, 1).answer) for level in own.levels[:2] for n in range(own.items)]
        if found[0] in "ABCD":
            assert {letter for letter in found if found.count(letter) > 0.1 * len(found)} == set("ABCD"), (
                own.name
            )


def test_chance_of_spans_is_that_of_spans_drawn() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(1, 48 - 12, (2, 200_000))
    shared = np.clip(12 - abs(first - second), 0, None)
    assert abs(span_chance(48) - (shared / (12 + abs(first - second))).mean()) < 0.003


def pixels_of(name: str, level: int, number: int, folder: Path) -> str:
    """SHA-256 over the raw pixels of the first picture of an item, or of its frames before encoding."""
    own = ability(name)
    drawing = next(part for part in own.item(level, number, 1).parts if isinstance(part, Drawing))
    found = hashlib.sha256()
    if drawing.kind == "image":
        path = folder / "drawn.png"
        drawing.draw(path)
        with Image.open(path) as opened:
            found.update(repr(opened.size).encode() + opened.convert("RGB").tobytes())
    else:
        frames, _ = drawing.draw.args  # type: ignore[attr-defined]
        for frame in frames():
            found.update(repr(frame.shape).encode() + frame.tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "level", "digest"),
    [
        ("probe_localisation", 448, "7b9f9d8f0a8a5c9b"),
        ("probe_counting", 8, "3b9b61e0364d10f0"),
        ("probe_aspect_ratio", 16, "bbec4d71364eb897"),
        ("probe_table", 8, "0770cbd20f689cd5"),
        ("probe_reading_order", 24, "01e35a507d60620b"),
        ("probe_row_column", 5, "ae4bd13fd4d1196b"),
        ("probe_small_object", 72, "c48da1ea8eefc537"),
        ("probe_fading", 375, "af722f0771adefed"),
        ("probe_motion_direction", 3, "7c0c7751ba5c9ccc"),
        ("probe_motion_speed", 70, "a0a73de5d3c3187c"),
        ("probe_event_order", 8, "c3b6c2c2f490cd6f"),
        ("probe_event_time", 8, "bcf072a56daf52e8"),
        ("probe_needle", 32, "797d5c9e8474f77c"),
        ("probe_vruler", 300, "f6481176410110cc"),
    ],
)
def test_pixels_are_the_same_on_every_machine(name: str, level: int, digest: str, tmp_path: Path) -> None:
    assert pixels_of(name, level, 3, tmp_path) == digest


def test_nothing_is_drawn_before_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    task = load_task("probe_row_column")
    samples = list(task.samples(None))
    assert not any(tmp_path.rglob("*.png"))
    assert len(samples) == task.size
    subset = ci_subset(samples, task.ci)
    levels = {str(level) for level in ability("probe_row_column").levels}
    numbers = {name.split("-")[1] for name in subset}
    assert subset == {f"{level}-{number}" for level in levels for number in numbers}
    assert len(numbers) == 10
    found = choose_samples(samples, 20, MediaCache(tmp_path / "media"))
    assert len(list(tmp_path.rglob("*.png"))) == len(found) == 16
    places = {(each.sample.id.split("-")[0], each.sample.unit) for each in found}
    assert places == set(
        itertools.product(levels, {unit for _, unit in places})
    )  # the same items of every level
    refs = [part for each in found for part in each.sample.parts if isinstance(part, MediaRef)]
    assert all(ref.drawn is None and Path(str(ref.path)).is_file() for ref in refs)


def test_text_is_at_least_twelve_pixels_high_and_black_on_white(tmp_path: Path) -> None:
    for name in ("probe_table", "probe_reading_order", "probe_row_column"):
        own = ability(name)
        drawing = next(part for part in own.item(own.levels[-1], 0, 1).parts if isinstance(part, Drawing))
        drawing.draw(tmp_path / "page.png")
        with Image.open(tmp_path / "page.png") as opened:
            grey = np.asarray(opened.convert("L"))
        lines = np.flatnonzero(np.diff((grey < 100).any(axis=1).astype(int), prepend=0, append=0))
        heights = np.diff(lines)[::2]
        assert np.median(heights) >= 12, name
        assert grey.min() < 40
    assert min(PAPER) > 240


def test_all_frames_of_a_film_are_shown_up_to_the_limit_on_frames(tmp_path: Path) -> None:
    own = ability("probe_needle")
    for level in (16, 64):
        item = own.item(level, 0, 1)
        drawing = next(part for part in item.parts if isinstance(part, Drawing))
        path = tmp_path / f"{level}.mp4"
        drawing.draw(path)
        shown = sample_frames(probe_video(str(path)).timestamps, FrameRule())
        assert shown.indices == tuple(range(level))
        with av.open(str(path)) as opened:
            frames = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
        ((start, end),) = item.needles
        posters = [place for place, frame in enumerate(frames) if frame[20:60, 20:60].mean() > 240]
        assert posters == list(range(start, end))
        colour = np.array(COLOURS[chosen(item)], int)
        assert abs(frames[start][126, 224].astype(int) - colour).max() < 40


WORDED = {
    "letter": ["{letter}", "{letter}.", "({letter})", "The answer is {letter}.", "{letter}. {text}",
               "**{letter}**", "{text}"],
    "word": ["{text}", "{text}.", "The answer is {text}.", '"{text}"', "**{text}**"],
    "span": ["from {a} to {b} seconds", "The lamp is on from {a}s to {b}s.", "{a} - {b} seconds",
             "[{a}, {b}]"],
    "box": ['[{{"bbox_2d": {box}, "label": "it"}}]', "{box}"],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_read_as_models_word_them(name: str) -> None:
    own = ability(name)
    for level in (own.levels[0], own.levels[-1]):
        item = own.item(level, 2, 1)
        kind = (
            "letter"
            if item.options
            else {"SpanIou": "span", "BoxAccuracy": "box"}.get(type(own.metric).__name__, "word")
        )
        a, b = item.answer if kind == "span" else (0, 0)
        for form in WORDED[kind]:
            text = form.format(letter=item.answer, text=chosen(item), a=a, b=b, box=item.answer)
            asked = Answer(
                text, item.answer, item.question, item.options, image_size=item.size, box_space="abs"
            )
            score = own.metric.score(asked)
            assert (score.value, score.parse_error) == (1.0, None), text


def test_the_presets_take_a_film_of_the_users(tmp_path: Path) -> None:
    folder = tmp_path / "probe"
    folder.mkdir()
    data = ProbeDataset("probe_vniah")
    assert data.open(str(tmp_path)) == data
    (folder / "haystack.mp4").write_bytes(b"no film")
    broken = data.open(str(tmp_path))
    row = next(iter(broken.rows()))
    with pytest.raises(EnvironmentProblem, match="haystack film"):
        row["media"][0].drawn(tmp_path / "out.mp4")
    source = next(
        part for part in ability("probe_event_time").item(8, 0, 1).parts if isinstance(part, Drawing)
    )
    source.draw(folder / "haystack.mp4")
    own = data.open(str(tmp_path))
    assert own.describe()["haystack"] != broken.describe()["haystack"]
    unopened = next(iter(data.rows(str(tmp_path))))  # as the pictures of a report are drawn
    assert unopened["media"][0].path == next(iter(own.rows()))["media"][0].path
    assert own.sources(str(tmp_path)) == (folder / "haystack.mp4",)
    assert ProbeDataset("probe_needle").open(str(tmp_path)) == ProbeDataset("probe_needle")
    next(iter(own.rows()))["media"][0].drawn(tmp_path / "out.mp4")
    assert len(probe_video(str(tmp_path / "out.mp4")).timestamps) == 100


def test_unknown_abilities_are_refused() -> None:
    with pytest.raises(UsageError, match="probe_nothing"):
        ability("probe_nothing")


def test_the_presets_have_the_published_parameters() -> None:
    for name in ("probe_vniah", "probe_vruler"):
        assert ability(name).levels == tuple(range(100, 3001, 200))
    niah, ruler = ability("probe_vniah"), ability("probe_vruler")
    depths = [niah.item(2900, number, 1).needles[0][0] / 2898 for number in range(niah.items)]
    assert [round(each, 2) for each in depths] == [depth / 10 for depth in range(0, 11, 2) for _ in range(5)]
    assert {ruler.item(300, n, 1).subtask for n in range(8)} == {
        "distractor",
        "counting",
        "ordering",
        "multi_key",
    }
    for number in range(0, 120, 4):
        first, second = (each.start for each in ruler.item(500, number, 1).scene["inserts"])
        assert abs(first - second) == 200


@pytest.mark.parametrize(
    ("name", "question", "right", "texts"),
    [
        (
            "probe_several_images",
            "One of these 24 images shows a red circle. Which one?",
            "3",
            [
                "Image 3",
                "image 3.",
                "The red circle is in image 3.",
                "Image **3**",
                "Image 3 shows a red circle.",
            ],
        ),
        (
            "probe_table",
            "Which number does the table give for Lake in May?",
            "417",
            ["The number is 417.", "The table gives 417 for Lake in May.", "Lake in May: 417", "$417$"],
        ),
        (
            "probe_reading_order",
            'Which word comes directly after "owl"?',
            "lamp",
            [
                'The word that comes directly after "owl" is "lamp".',
                "The next word is **lamp**.",
                "The word is lamp.",
            ],
        ),
    ],
)
def test_open_answers_are_read_in_sentences(name: str, question: str, right: str, texts: list[str]) -> None:
    metric = ability(name).metric
    for text in texts:
        assert metric.score(Answer(text, right, question)).value == 1.0, text
    for unread in (
        "I can't tell.",
        "Images 3 and 4" if right == "3" else "none of them, or all",
        "owl and lamp",
    ):
        score = metric.score(Answer(unread, right, question))
        assert (score.value, score.parsed) == (0.0, None), unread
        assert score.parse_error
