"""The real pipeline on real charts, photos and video, through the command line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import fork_server
import pytest
from mirrors import build_chartqa_mirror, build_refcoco_mirror, build_videomme_mirror
from PIL import Image

from evalkit.store import Record, RunDir


def run(tmp_path: Path, tasks: str, *extra: str, model: str = "tiny") -> tuple[list[Record], dict[str, Any]]:
    """Run through the CLI on the mirror at ``tmp_path / data``; return the records and the JSON."""
    words = ["run", "--model", model, "--tasks", tasks, "--data-root", str(tmp_path / "data")]
    words += [
        "--output",
        str(tmp_path / "out"),
        "--json",
        "--rate-limit",
        "unparsed=1,truncated=1,repeating=1",
        *extra,
    ]
    done = fork_server.evalkit(*words)
    assert done.returncode == 0, done.stderr
    return RunDir.open(tmp_path / "out").records(), json.loads(done.stdout)


@pytest.mark.slow
def test_chartqa_on_real_charts(shared: Path, tmp_path: Path) -> None:
    rows = build_chartqa_mirror(shared, tmp_path / "data")
    records, printed = run(tmp_path, "chartqa", "--limit", "12", "--rope", "mrope,mrope-i")
    assert len(records) == 24
    for record in records:
        row = rows[record.index]
        assert row["question"] in record.prompt
        assert record.reference == row["answer"]
        with Image.open(shared / "media/chartqa/images" / row["image"]["path"]) as image:
            assert record.media[0].size == image.size
        assert record.media[0].tokens == record.visual_tokens > 0
        assert record.score is not None
        assert record.score.value in (0.0, 1.0)
    arms = {arm["name"]: arm["tasks"]["chartqa"] for arm in printed["arms"]}
    assert set(arms) == {"tiny@mrope", "tiny@mrope-i"}
    assert all(cell["n"] == cell["expected"] == 12 for cell in arms.values())
    assert all(set(cell["breakdown"]["split"]) == {"human", "augmented"} for cell in arms.values())


@pytest.mark.slow
def test_videomme_on_real_videos(shared: Path, tmp_path: Path) -> None:
    build_videomme_mirror(shared, tmp_path / "data", video="univtg_charades.mp4")
    records, printed = run(tmp_path, "videomme")
    assert len(records) == 6
    for record in records:
        (clip,) = record.media
        assert clip.kind == "video"
        assert len(clip.frames) == len(clip.timestamps) > 0
        assert len(clip.frames) % 2 == 0
        assert list(clip.frames) == sorted(set(clip.frames))
    seconds = next(record.media[0].timestamps for record in records if record.sample_id.startswith("001"))
    steps = [b - a for a, b in pairwise(seconds)]
    assert sum(steps) / len(steps) == pytest.approx(0.5, abs=0.02)  # two frames a second
    assert set(printed["arms"][0]["tasks"]["videomme"]["breakdown"]["duration"]) == {"short", "medium"}


@pytest.mark.slow
def test_refcoco_on_real_photos_scores_a_known_box(shared: Path, tmp_path: Path) -> None:
    build_refcoco_mirror(shared, tmp_path / "data")
    records, _ = run(tmp_path, "refcoco_val", "--workers", "0")
    assert records
    for record in records:
        assert record.box_space == "abs_resized"
        assert "bbox coordinates in JSON format" in record.prompt
        width, height = record.media[0].size
        x1, y1, x2, y2 = record.reference
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
