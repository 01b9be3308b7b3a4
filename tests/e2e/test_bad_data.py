"""Bad files cost their own samples, say so, and lose nothing that was already computed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fork_server
import pyarrow.parquet as pq
import pytest
from mirrors import build_chartqa_mirror, build_videomme_mirror, write_parquet

from evalkit.store import RunDir


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    more = ["--data-root", str(folder / "data"), "--output", str(folder / "out"), "--workers", "0"]
    return fork_server.evalkit("run", *words, *more)


def test_a_corrupt_image_is_one_error_and_mending_it_runs_one_sample(shared: Path, tmp_path: Path) -> None:
    rows = build_chartqa_mirror(shared, tmp_path / "data")
    path = tmp_path / "data/lmms-lab-encoder/ChartQA/data/test-00000-of-00001.parquet"
    schema = {field.name: field.type for field in pq.read_schema(path)}
    broken = [dict(row) for row in rows]
    image = rows[7]["image"]
    broken[7]["image"] = {**image, "bytes": image["bytes"][: len(image["bytes"]) // 2]}
    write_parquet(path, broken, schema)

    first = run(tmp_path, "--model", "mock", "--tasks", "chartqa")
    assert first.returncode == 3
    assert "1 failed" in first.stderr
    assert "can't be used" in first.stderr
    assert "Traceback" not in first.stderr
    assert "samples without a score: chartqa 1 of 60" in first.stdout
    records = RunDir.open(tmp_path / "out").records()
    failed = [record for record in records if record.failed]
    assert [record.index for record in failed] == [7]
    assert failed[0].score is not None
    assert failed[0].score.value is None

    write_parquet(path, rows, schema)
    second = run(tmp_path, "--model", "mock", "--tasks", "chartqa")
    assert second.returncode == 0, second.stderr
    journal = RunDir.open(tmp_path / "out").path / "journal/worker-000.jsonl"
    assert journal.read_text().count("\n") == 61  # 60 of the first try, one of them an error, and one more


@pytest.mark.slow
def test_a_truncated_video_is_one_error(shared: Path, tmp_path: Path) -> None:
    build_videomme_mirror(shared, tmp_path / "data", video="derived/yoga_faststart_truncated.mp4")
    done = run(tmp_path, "--model", "tiny", "--tasks", "videomme")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    records = RunDir.open(tmp_path / "out").records()
    assert sum(record.failed for record in records) == 3
    assert all("promises 300 frames" in str(record.error) for record in records if record.failed)
    assert all(record.score is not None for record in records)
