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

from evalkit.metrics.base import Answer
from evalkit.types import Locate
from evalkit.zoo.boards import BLANK, CELL, COLOURS, DIGITS, LETTERS, NAMES, colour, glyph, pixels, tiles
from evalkit.zoo.minisuite import VIDEO_FPS, MiniDataset, png
from evalkit.zoo.scenes import MAKERS, MOVES, generator

TASKS = Path(__file__).parents[2] / "tasks"
FILES = {
    "mini_docvqa": "image/mini_docvqa.py",
    "mini_chartqa": "image/mini_chartqa.py",
    "mini_refcoco": "grounding/mini_refcoco.py",
    "mini_video": "video/mini_video.py",
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
        "from tests_zoo_fingerprint import fingerprint; from evalkit.zoo.minisuite import MiniDataset;"
        "print(fingerprint(MiniDataset('mini_chartqa', n=20).rows()))"
    )
    code = code.replace("from tests_zoo_fingerprint import fingerprint; ", "") .replace(
        "fingerprint(", "repr(["
    ).replace(".rows()))", ".rows()] if 0 else [r['answer'] for r in MiniDataset('mini_chartqa', n=20).rows()]))")
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == repr([row["answer"] for row in MiniDataset("mini_chartqa", n=20).rows()])
