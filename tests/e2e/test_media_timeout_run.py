"""A run with a medium that never ends goes to its end, and says which it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

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


def endless_film() -> bytes:
    """A GIF of two million frames: to count them takes many times longer than the limit here."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 2_000_000 + b";"


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
    os.truncate(tmp_path / "endless.png", 0)


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


def test_a_report_does_not_wait_for_a_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thumbnails are drawn as media of a run are read: in worker processes, each in its time."""
    os.truncate(folder / "endless.png", 0)
    (folder / "endless.gif").write_bytes(endless_film())
    Image.new("RGB", (28, 28), "red").save(
        folder / "good.gif", save_all=True, append_images=[Image.new("RGB", (28, 28))]
    )
    (folder / "rows.jsonl").write_text((folder / "rows.jsonl").read_text().replace(".png", ".gif"))
    (folder / "mine.py").write_text(
        TASK.replace("image(row", "video(row").replace("Task, image", "Task, video")
    )
    order = {"output": folder / "out", "tasks_dirs": folder, "workers": 1, "media_timeout": 1}
    assert evaluate("mock:fixed=red", "mine", **order).failed == 1
    page = folder / "page.html"
    assert run_cli(["report", str(folder / "out"), "-o", str(page), "--media-timeout", "1"]) == 0
    assert page.read_text().count("data:image/jpeg") == 1
