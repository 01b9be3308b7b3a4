"""A run with a medium that never ends goes to its end, and says which it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from evalkit import evaluate
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.store import RunDir

TASK = """
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import Rows, Task, image, text

task = Task(
    name="mine",
    category="image",
    title="Mine",
    dataset=Rows("rows.jsonl", media="."),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: row["answer"],
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    groups={},
    metric=RelaxedAccuracy(),
    max_new_tokens=8,
    ci=2,
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A task with two pictures, one of them of 8 TB."""
    Image.new("RGB", (28, 28), "red").save(tmp_path / "good.png")
    with (tmp_path / "endless.png").open("wb") as file:
        file.truncate(8 << 40)
    names = ("good", "endless")
    rows = [{"id": name, "image": f"{name}.png", "question": "colour?", "answer": "red"} for name in names]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.py").write_text(TASK)
    yield tmp_path
    for path in tmp_path.glob("endless.*"):
        os.truncate(path, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_it_is_an_error_of_its_sample(folder: Path, workers: int) -> None:
    order = {"output": folder / "out", "tasks_dirs": folder, "workers": workers, "media_timeout": 3}
    for _ in range(2):  # the second time it is tried again, and stays one record
        outcome = evaluate("mock:fixed=red", "mine", **order)
        assert outcome.failed == 1
        records = list(RunDir.open(folder / "out").records())
        assert sorted(record.sample_id for record in records) == ["endless", "good"]
        failed = {record.sample_id: str(record.error) for record in records if record.failed}
        assert list(failed) == ["endless"]
        assert "took more than 3 seconds" in failed["endless"]
    os.truncate(folder / "endless.png", 0)
    Image.new("RGB", (28, 28), "red").save(folder / "endless.png")
    outcome = evaluate("mock:fixed=red", "mine", **order)
    assert outcome.failed == 0
    assert {record.sample_id for record in RunDir.open(folder / "out").records()} == {"endless", "good"}


def test_a_dry_run_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--model", "mock", "--tasks", "mine", "--tasks-dir", str(folder), "--workers", "0"]
    assert run_cli([*words, "--media-timeout", "3", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "can't be asked: image" in said
    assert "took more than 3 seconds" in said


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "long"])
def test_times_that_make_no_sense(value: object) -> None:
    with pytest.raises(UsageError, match="media_timeout"):
        evaluate("mock", "mini", media_timeout=value)


def test_a_report_does_not_wait_for_a_picture(folder: Path) -> None:
    """Thumbnails are drawn as media of a run are read: in worker processes, each in its time."""
    for name in ("good", "endless"):
        with av.open(str(folder / f"{name}.h264"), "w", format="h264") as film:
            stream: Any = film.add_stream("libx264", rate=25)
            stream.width = stream.height = 32
            film.mux([*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode()])
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text().replace(".png", ".h264"))
    task = TASK.replace("image(row", "video(row").replace("Task, image, text", "Task, text, video")
    (folder / "mine.py").write_text(task)
    assert evaluate("mock:fixed=red", "mine", output=folder / "out", tasks_dirs=folder, workers=0).failed == 0
    os.truncate(folder / "endless.h264", 8 << 40)
    page = folder / "page.html"
    assert run_cli(["report", str(folder / "out"), "-o", str(page), "--media-timeout", "5"]) == 0
    assert page.read_text().count("data:image/jpeg") == 1
