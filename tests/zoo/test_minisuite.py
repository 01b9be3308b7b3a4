"""The mini-suite: seeded, in the real schemas, and true to its own pixels."""

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.types import Locate
from evalkit.metrics.base import Answer
from evalkit.zoo.minisuite import VIDEO_FPS, MiniDataset, png
from evalkit.zoo.scenes import LARGER_SCENES, MOVES, SCENES, generator
from evalkit.zoo.token_grids import (
    CELL,
    COLOURS,
    DIGITS,
    LETTERS,
    NAMES,
    cell_images,
    colour,
    glyph,
    pixels,
)

TASKS = Path(__file__).parents[2] / "tasks"
FILES = {
    "mini_docvqa": "image/mini_docvqa.py",
    "mini_chartqa": "image/mini_chartqa.py",
    "mini_refcoco": "grounding/mini_refcoco.py",
    "mini_video": "video/mini_video.py",
    "mini_docvqa_large": "image/mini_docvqa_large.py",
    "mini_video_long": "video/mini_video_long.py",
}
SCHEMA = {
    "mini_docvqa": {"questionId", "question", "question_types", "image", "docId", "answers"},
    "mini_chartqa": {"type", "question", "answer", "image"},
    "mini_refcoco": {"question_id", "image", "answer", "bbox", "file_name"},
    "mini_video": {
        *("video_id", "duration", "domain", "sub_category", "videoID", "question_id", "task_type"),
        *("question", "options", "answer"),
    },
}
LARGER = {"mini_docvqa_large": "mini_docvqa", "mini_video_long": "mini_video"}
SCHEMA |= {name: SCHEMA[smaller] for name, smaller in LARGER.items()}
seeds = st.integers(0, 10**6)


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def load_task(name):
    spec = importlib.util.spec_from_file_location(name, TASKS / FILES[name])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.task


def fingerprint(rows):
    """A hash of all but the pixels, which depend on Pillow's version."""
    plain = [{k: v for k, v in row.items() if k not in ("image", "video")} for row in rows]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", FILES)
def test_rows_are_a_function_of_the_seed(name):
    first, again = (list(MiniDataset(name, n=30).rows()) for _ in range(2))
    assert first == again
    assert fingerprint(first) == fingerprint(again) != fingerprint(MiniDataset(name, n=30, seed=2).rows())
    assert list(MiniDataset(name, n=10).rows()) == first[: len(list(MiniDataset(name, n=10).rows()))]


def test_rows_do_not_depend_on_the_process():
    code = (
        "from evalkit.zoo.minisuite import MiniDataset\n"
        "print([row['answer'] for row in MiniDataset('mini_chartqa', n=20).rows()])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == str([row["answer"] for row in MiniDataset("mini_chartqa", n=20).rows()])


@pytest.mark.parametrize("name", FILES)
def test_no_evaluation_scene_was_trained_on_by_construction(name):
    trained = generator("train", name, 0, 0).random()
    assert trained != generator("evaluate", name, 1, 0).random()


@pytest.mark.parametrize("name", FILES)
def test_schema_and_size(name):
    rows = list(MiniDataset(name, n=60).rows())
    assert all(SCHEMA[name] <= row.keys() for row in rows)
    count = sum(len(row["answer"]) for row in rows) if name == "mini_refcoco" else len(rows)
    assert 60 <= count < 64


@pytest.mark.parametrize("name", FILES)
def test_task_gives_full_marks_to_the_reference_and_none_to_nonsense(name):
    task = load_task(name)
    assert task.name == name
    assert "mini" in task.tags
    samples = list(task.samples(None))
    assert len({sample.id for sample in samples}) == len(samples)
    assert task.size in (None, len(samples))
    for sample in samples[:40]:
        right = sample.reference[0] if name.startswith("mini_docvqa") else sample.reference
        size = tuple(sample.meta["image_size"]) if name == "mini_refcoco" else None
        known = {
            "options": sample.meta.get("options", {}),
            "image_size": size,
            "input_size": size,
            "box_space": "abs_resized",
        }
        assert task.metric.score(Answer(str(right), sample.reference, **known)).value == 1.0
        assert task.metric.score(Answer("zzz", sample.reference, **known)).value == 0.0


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_scenes_of_the_larger_tasks_are_larger_than_any_that_is_trained_on(seed):
    sizes = {
        name: scene(generator("test", seed)).token_grid.size
        for name, scene in {**SCENES, **LARGER_SCENES}.items()
    }
    assert sizes["mini_docvqa"] <= 25 < 35 <= sizes["mini_docvqa_large"] <= 49
    assert sizes["mini_video"] <= 36 < 48 <= sizes["mini_video_long"] <= 72


def test_every_shape_stays_as_it_is_in_the_processor():
    """Pictures are whole cells, so `smart resize` at 28 pixels leaves them alone."""
    for name in ("mini_docvqa", "mini_chartqa", "mini_refcoco"):
        for row in MiniDataset(name, n=30).rows():
            with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
                assert image.width % CELL == image.height % CELL == 0
                assert 4 * CELL**2 <= image.width * image.height <= 1024 * CELL**2


def read_cell(cell):
    """What a cell shows, told from its pixels alone: by the nearest drawing."""
    distance = np.abs(cell_images().astype(int) - cell.astype(int)).mean(axis=(1, 2, 3))
    kind = int(distance.argmin())
    assert distance[kind] < 8
    return kind


def read_png(data):
    """The token grid behind an encoded image."""
    with Image.open(io.BytesIO(data)) as image:
        array = np.asarray(image.convert("RGB"))
    rows, columns = array.shape[0] // CELL, array.shape[1] // CELL
    cells = array.reshape(rows, CELL, columns, CELL, 3).swapaxes(1, 2)
    return np.array([[read_cell(cell) for cell in line] for line in cells])


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_pixels_show_the_board(seed):
    for name in ("mini_docvqa", "mini_chartqa", "mini_refcoco"):
        token_grid = SCENES[name](generator("test", seed)).token_grid
        assert (read_png(png(token_grid)) == token_grid).all()


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_codes_can_be_read_in_the_pixels(seed):
    scene = SCENES["mini_docvqa"](generator("test", seed))
    token_grid = read_png(png(scene.token_grid))
    for question in scene.questions:
        line = question.text.rstrip("?").split()[-1]
        seen = token_grid if question.kind == "row" else token_grid.T
        (at,) = [i for i in range(len(seen)) if seen[i, 0] == glyph(line)]
        assert "".join((LETTERS + DIGITS)[kind - 1] for kind in seen[at, 1:4]) == question.answer


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_bars_can_be_read_in_the_pixels(seed):
    scene = SCENES["mini_chartqa"](generator("test", seed))
    token_grid = read_png(png(scene.token_grid))
    height = {name: int((token_grid == colour(name)).sum()) for name in NAMES}
    for question in scene.questions:
        if question.kind == "augmented_test":
            (name,) = [name for name in NAMES if f" {name} " in question.text]
            assert question.answer == str(height[name])
        else:
            value = int(question.text.rstrip("?").split()[-1])
            assert [name for name in NAMES if height[name] == value] == [question.answer]


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_boxes_hold_their_colour_and_words_tell_them_apart(seed):
    scene = SCENES["mini_refcoco"](generator("test", seed))
    token_grid = read_png(png(scene.token_grid))
    for question in scene.questions:
        x1, y1, x2, y2 = (edge // CELL for edge in question.box)
        *words, name, _ = question.text.split()
        assert (token_grid[y1:y2, x1:x2] == colour(name)).all()
        other = np.argwhere((token_grid == colour(name)) & ~_inside(token_grid.shape, x1, y1, x2, y2))
        assert bool(words) == bool(len(other))
        if words:
            beyond = {
                "left": other[:, 1] >= x2,
                "right": other[:, 1] < x1,
                "top": other[:, 0] >= y2,
                "bottom": other[:, 0] < y1,
            }
            assert beyond[words[0]].all()


def _inside(shape, x1, y1, x2, y2):
    mask = np.zeros(shape, bool)
    mask[y1:y2, x1:x2] = True
    return mask


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_clips_show_what_their_answers_say(seed):
    scene = SCENES["mini_video"](generator("test", seed))
    token_grid = scene.token_grid
    for question in scene.questions:
        assert len(set(question.options)) == 4
        answer = question.options["ABCD".index(question.answer)]
        if question.kind == "Order":
            seconds = {
                name: [t for t in range(len(token_grid)) if (token_grid[t] == colour(name)).any()]
                for name in NAMES
            }
            shown = sorted((name for name in NAMES if seconds[name]), key=lambda name: seconds[name][0])
            assert answer == (shown[0] if "first" in question.text else shown[-1])
        else:
            (name,) = [name for name in NAMES if f" {name} " in question.text]
            places = np.array([np.argwhere(frame == colour(name))[0] for frame in token_grid])
            dy, dx = MOVES[answer]
            steps = np.diff(places, axis=0)
            assert steps.any()
            assert all(tuple(step) in ((dy, dx), (0, 0)) for step in steps)


def test_clip_files_hold_the_frames(monkeypatch, tmp_path):
    av = pytest.importorskip("av")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    rows = {row["videoID"]: row for row in MiniDataset("mini_video", n=12).rows()}
    for number, row in enumerate(rows.values()):
        token_grid = SCENES["mini_video"](generator("evaluate", "mini_video", 1, number)).token_grid
        with av.open(row["video"]) as container:
            assert container.streams.video[0].average_rate == VIDEO_FPS
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        wanted = np.repeat(pixels(token_grid), VIDEO_FPS, axis=0)
        assert len(frames) == len(wanted)
        assert np.abs(np.stack(frames).astype(int) - wanted).mean() < 3
        assert len(token_grid) == {"short": 3, "medium": 4, "long": 6}[row["duration"]]


def test_clips_are_encoded_once(monkeypatch, tmp_path):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    first = {row["video"] for row in MiniDataset("mini_video", n=4).rows()}
    stamps = {path: Path(path).stat().st_mtime_ns for path in first}
    assert {row["video"] for row in MiniDataset("mini_video", n=4).rows()} == first
    assert {path: Path(path).stat().st_mtime_ns for path in first} == stamps
    assert not list(tmp_path.rglob(".evalkit-tmp-*"))


def test_boards_draw_their_colours():
    token_grid = np.array([[colour("red"), 0]])
    drawn = pixels(token_grid)
    assert drawn.shape == (CELL, 2 * CELL, 3)
    assert (drawn[:, :CELL] == COLOURS["red"]).all()
    assert (drawn[:, CELL:] == 255).all()


def test_referring_prompts_are_phrases():
    task = load_task("mini_refcoco")
    parts = [sample.parts[1] for sample in task.samples(None)]
    assert all(isinstance(part, Locate) and part.phrase.endswith(" box") for part in parts)
