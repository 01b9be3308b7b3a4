"""An engine in another process, here without that process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalkit.engine.dealer import Dealer
from evalkit.engine.executors.base import Order
from evalkit.engine.executors.worker import Files, Worker, local
from evalkit.engine.planner import plan
from evalkit.engine.run import Settings
from evalkit.errors import UsageError
from evalkit.types import MediaRef, Request

REQUESTS = [Request(f"k{number}", "t", str(number), f"word {number}", (), 8) for number in range(30)]


def missing(path: str) -> bytes | None:
    raise AssertionError(f"{path} is here")


def test_workers_share_what_a_dealer_has() -> None:
    dealer = Dealer(plan([REQUESTS, REQUESTS], lambda request: 2), 2)
    orders = [Order("mock"), Order("mock:fixed=yes")]
    found: dict[tuple[int, str], str] = {}
    streams = []
    for number in range(2):
        worker = Worker(None, None)
        streams.append(worker.answers(orders, Settings(0), lambda own=number: dealer.take(own, 0), missing))
    shares = [0, 0]
    while len(found) < 60:
        for engine, stream in enumerate(streams):
            batch: Any = next(stream, None)
            if batch is not None:
                dealer.delivered(engine, [(batch[0], each.key) for each in batch[1]])
                found |= {(batch[0], each.key): each.text for each in batch[1]}
                shares[engine] += len(batch[1])
    expected = {(0, each.key): each.prompt for each in REQUESTS} | {(1, each.key): "yes" for each in REQUESTS}
    assert found == expected
    assert min(shares) >= 10


def test_a_worker_loads_what_it_is_asked_for_once() -> None:
    worker = Worker(None, None)
    assert [card.name for card in worker.load([Order("mock"), Order("mock:loop")], True)] == [
        "mock",
        "mock:loop",
    ]
    models = worker._local.models
    done = Dealer([], 1)
    list(worker.answers([Order("mock"), Order("mock:loop")], Settings(0), lambda: done.take(0, 0), missing))
    assert worker._local.models is models
    with pytest.raises(UsageError):
        next(worker.answers([Order("mock:nonsense")], Settings(0), lambda: done.take(0, 0), missing))


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
    request = Request("k", "t", "s", "prompt", media, 8)
    first, second, third = local(request, read).media
    assert first == media[0]
    assert (Path(str(second.path)).read_bytes(), second.start) == (b"film", 1.0)
    assert Path(str(second.path)).is_relative_to(tmp_path / "cache")
    assert third == media[2]  # decoding it will say what is wrong
    assert asked == [there, "gone"]
    assert Files().read(str(here)) == b"picture"
    assert Files().read("gone") is None
