"""An engine in another process, here without that process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.core.errors import UsageError
from evalkit.core.types import MediaRef, Request
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.worker import DriverFiles, Worker, with_local_media
from evalkit.engine.planner import group_requests
from evalkit.engine.work_queue import WorkQueue

REQUESTS = [
    Request(
        key=f"k{number}", task="t", sample_id=str(number), prompt=f"word {number}", media=(), max_new_tokens=8
    )
    for number in range(30)
]


def missing(path: str) -> bytes | None:
    raise AssertionError(f"{path} is here")


def test_workers_share_a_work_queue() -> None:
    work_queue = WorkQueue(group_requests([REQUESTS, REQUESTS], lambda request: 2), 2)
    specs = [ModelSpec("mock"), ModelSpec("mock:fixed=yes")]
    found: dict[tuple[int, str], str] = {}
    streams = []
    for number in range(2):
        worker = Worker(None, None)
        streams.append(
            worker.generate(
                specs, EngineConfig(workers=0), lambda own=number: work_queue.take(own, 0), missing
            )
        )
    shares = [0, 0]
    while len(found) < 60:
        for engine, stream in enumerate(streams):
            batch: Any = next(stream, None)
            if batch is not None:
                work_queue.complete(engine, [(batch[0], each.key) for each in batch[1]])
                found |= {(batch[0], each.key): each.text for each in batch[1]}
                shares[engine] += len(batch[1])
    expected = {(0, each.key): each.prompt for each in REQUESTS} | {(1, each.key): "yes" for each in REQUESTS}
    assert found == expected
    assert min(shares) >= 10


def test_a_worker_loads_what_it_is_asked_for_once() -> None:
    worker = Worker(None, None)
    assert [
        model_info.name for model_info in worker.load([ModelSpec("mock"), ModelSpec("mock:loop")], True)
    ] == [
        "mock",
        "mock:loop",
    ]
    models = worker._executor.models
    done = WorkQueue([], 1)
    list(
        worker.generate(
            [ModelSpec("mock"), ModelSpec("mock:loop")],
            EngineConfig(workers=0),
            lambda: done.take(0, 0),
            missing,
        )
    )
    assert worker._executor.models is models
    with pytest.raises(UsageError):
        next(
            worker.generate(
                [ModelSpec("mock:nonsense")], EngineConfig(workers=0), lambda: done.take(0, 0), missing
            )
        )


def test_media_of_another_machine_are_copied_into_the_cache_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    here, there = tmp_path / "here.png", str(tmp_path / "there.mp4")
    here.write_bytes(b"picture")
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return b"film" if path == there else None

    media = (MediaRef("image", str(here)), MediaRef("video", there, start=1.0), MediaRef("video", "gone"))
    request = Request(key="k", task="t", sample_id="s", prompt="prompt", media=media, max_new_tokens=8)
    first, second, third = with_local_media(request, read).media
    assert first == media[0]
    assert (Path(str(second.path)).read_bytes(), second.start) == (b"film", 1.0)
    assert Path(str(second.path)).is_relative_to(tmp_path / "cache")
    assert third == media[2]  # decoding it will say what is wrong
    assert asked == [there, "gone"]
    assert DriverFiles().read(str(here)) == b"picture"
    assert DriverFiles().read("gone") is None
