"""What never ends, and what ends its process, costs the samples concerned and no others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image
from test_run import FakeModel, FakePreprocessor

from evalkit.core.types import MediaRef, Prepared, Request, Response
from evalkit.data.cache import MediaCache
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.local import LocalExecutor
from evalkit.engine.media_scan import UNREADABLE, digest_files, join_frames, map_with_timeout
from evalkit.engine.worker_pool import (
    JobResult,
    JobRunner,
    ProcessRunner,
    StepTimeout,
    ThreadRunner,
    WorkerDied,
    WorkerPool,
)

FOREVER = 3600.0
SECONDS = 3.0


def steps(*values: Any, then: str = "") -> Iterator[Any]:
    yield from values
    if then == "hang":
        time.sleep(FOREVER)
    if then == "die":
        os._exit(3)
    if then == "raise":
        raise ZeroDivisionError("of the job")


def pid() -> Iterator[int]:
    yield os.getpid()


@pytest.mark.parametrize("runner", [ThreadRunner(), ProcessRunner()])
def test_what_was_done_before_the_end_is_kept(runner: JobRunner) -> None:
    try:
        late = JobResult.of(runner, partial(steps, 1, 2, then="hang"), SECONDS)
        assert (late.steps, type(late.problem)) == ([1, 2], StepTimeout)
        assert JobResult.of(runner, partial(steps, 3), 60) == JobResult([3])
        with pytest.raises(ZeroDivisionError, match="of the job"):
            JobResult.of(runner, partial(steps, then="raise"), 60)
        assert JobResult.of(runner, partial(steps, 4), 60) == JobResult([4])
    finally:
        if isinstance(runner, ProcessRunner):
            runner.end()


def test_only_what_hangs_is_replaced_and_the_rest_goes_on_meanwhile() -> None:
    with WorkerPool(2) as pool:
        before = {pool.submit(pid, 60).result().steps[0] for _ in range(8)}
        stuck = pool.submit(partial(steps, then="hang"), SECONDS)
        others = [pool.submit(partial(steps, number), 60) for number in range(20)]
        assert [each.result().steps for each in others] == [[number] for number in range(20)]
        assert not stuck.done()  # the others were done while it was being waited for
        assert isinstance(stuck.result().problem, StepTimeout)
        dead = pool.submit(partial(steps, 1, then="die"), 60).result()
        assert (dead.steps, type(dead.problem)) == ([1], WorkerDied)
        after = {pool.submit(pid, 60).result().steps[0] for _ in range(8)}
    assert after
    assert not any(psutil.pid_exists(each) for each in before | after)


def test_results_of_any_size_pass_and_those_that_cannot_are_told_of() -> None:
    with WorkerPool(1) as pool:
        big = os.urandom(20 << 20)
        assert pool.submit(partial(steps, big), 60).result().steps == [big]
        with pytest.raises(Exception, match="pickle"):
            pool.submit(partial(map, _unpicklable, [1]), 60).result()
        assert pool.submit(partial(steps, 1), 60).result() == JobResult([1])


def _unpicklable(number: int) -> Any:
    return lambda: number


@dataclass(frozen=True)
class Hanging(FakePreprocessor):
    """Some media never end, nor do some prompts; one medium ends its process."""

    def estimate(self, request: Request) -> int:
        _look(request.media, "estimate")
        return len(request.prompt)

    def process_media(self, media: Sequence[MediaRef]) -> None:
        _look(media, "show")

    def prepare(self, request: Request, shown: None = None) -> Prepared:
        if "hang" in request.prompt:
            time.sleep(FOREVER)
        return super().prepare(request)


def _look(media: Sequence[MediaRef], what: str) -> None:
    for ref in media:
        if str(ref.path) == f"hang in {what}":
            time.sleep(FOREVER)
        if str(ref.path) == f"die in {what}":
            os._exit(1)


def asked(*questions: tuple[str, str]) -> list[Request]:
    return [
        Request(
            key=f"k{number}",
            task="t",
            sample_id=str(number),
            prompt=prompt,
            media=(MediaRef("video", path),) if path else (),
            max_new_tokens=4,
        )
        for number, (prompt, path) in enumerate(questions)
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_every_request_is_answered_once(workers: int) -> None:
    requests = asked(
        *((f"fine {number}", f"{number % 5}.mp4") for number in range(10)),
        ("one", "hang in show"),
        ("two", "hang in show"),
        ("three", "hang in estimate"),
        ("this will hang", "good.mp4"),
        ("but this not", "good.mp4"),
        ("nor this", ""),
        *([("four", "die in show"), ("five", "die in estimate")] if workers else []),
    )
    executor = LocalExecutor([FakeModel(preprocessor=Hanging())])  # type: ignore[list-item]
    found: list[Response] = []
    for _, batch in executor.generate([requests], EngineConfig(workers=workers, media_seconds=SECONDS)):
        found += batch
    assert Counter(each.key for each in found) == Counter(each.key for each in requests)
    by_prompt = {requests[int(each.key[1:])].prompt: each for each in found}
    for prompt in ("one", "two", "this will hang"):
        assert f"more than {SECONDS:g} seconds" in str(by_prompt[prompt].error)
        assert "--media-timeout" in str(by_prompt[prompt].error)
    assert "hang in show" in str(by_prompt["one"].error)
    if workers:
        assert "worker died" in str(by_prompt["four"].error)
    failed = {prompt for prompt, each in by_prompt.items() if each.error}
    assert failed == {"one", "two", "this will hang", *(["four"] if workers else [])}


def test_each_medium_of_a_question_has_its_time() -> None:
    media = tuple(MediaRef("image", f"{number}.png") for number in range(3))

    @dataclass(frozen=True)
    class Slow(FakePreprocessor):
        def process_media(self, media: Sequence[MediaRef]) -> None:
            time.sleep(0.6 * len(media))

    found: list[Response] = []
    request = Request(key="k", task="t", sample_id="s", prompt="slow", media=media, max_new_tokens=4)
    executor = LocalExecutor([FakeModel(preprocessor=Slow())])  # type: ignore[list-item]
    for _, batch in executor.generate([[request]], EngineConfig(workers=0, media_seconds=1.0)):
        found += batch
    assert [each.text for each in found] == ["SLOW"]


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Path]:
    """A regular file that no process reads to its end: 8 TB of nothing."""
    path = tmp_path / "endless.mp4"
    with path.open("wb") as file:
        file.truncate(8 << 40)
    yield path
    os.truncate(path, 0)  # what was left behind in this process ends now


@pytest.mark.parametrize("workers", [0, 1])
def test_digests_have_their_time_too(endless: Path, tmp_path: Path, workers: int) -> None:
    good = tmp_path / "good.mp4"
    good.write_bytes(b"good")
    refs = [MediaRef("video", str(path)) for path in (endless, good, tmp_path / "gone", good)]
    found = digest_files(refs, workers, SECONDS)
    assert [each.text == UNREADABLE.text for each in found.values()] == [True, False, True]
    assert [path for path, each in found.items() if each.problem] == [str(endless)]
    assert "more than 3 seconds" in str(found[str(endless)].problem)
    assert digest_files([], workers, SECONDS) == {}


def _odd(number: int) -> int:
    if number == 7:
        os._exit(1)
    if number == 11:
        time.sleep(FOREVER)
    return number * number


def test_results_stay_in_their_places() -> None:
    found = map_with_timeout(range(100), _odd, 2, SECONDS)
    assert [found[7].__class__, found[11].__class__] == [WorkerDied, StepTimeout]
    assert [each for each in found if isinstance(each, int)] == [
        n * n for n in range(100) if n not in (7, 11)
    ]


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="no fork server here")
def test_a_fork_server_that_is_killed_is_no_fault_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    process, killed = multiprocessing.get_context("forkserver").Process, []
    start = process.start

    def start_while_it_is_killed(self: Any) -> None:
        from multiprocessing.forkserver import _forkserver

        if not killed:
            _forkserver.ensure_running()
            killed.append(_forkserver._forkserver_pid)
            os.kill(killed[0], signal.SIGKILL)
        start(self)

    monkeypatch.setattr(process, "start", start_while_it_is_killed)
    with WorkerPool(1) as pool:
        assert pool.submit(partial(steps, 5), 60).result() == JobResult([5])
    assert killed


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(104, "reset by peer")])
def test_a_process_that_never_starts_is_said(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any) -> None:
        raise error

    monkeypatch.setattr(multiprocessing.get_context("forkserver").Process, "start", fail)
    monkeypatch.setattr("evalkit.engine.worker_pool.START_ATTEMPTS", 2)
    with WorkerPool(1) as pool:
        found = pool.submit(partial(steps, 5), 60)
        if isinstance(error, OSError):
            with pytest.raises(ConnectionResetError):
                found.result()
        else:
            assert isinstance(found.result().problem, WorkerDied)


class SlowCache(MediaCache):
    """A cache whose disk doesn't answer for some folders."""

    def to_file(self, ref: MediaRef) -> MediaRef:
        if "slow" in str(ref.path):
            threading.Event().wait()
        return super().to_file(ref)


def test_folders_of_frames_have_their_time_too(tmp_path: Path) -> None:
    for name in ("slow", "good"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (28, 28)).save(tmp_path / name / "1.png")
    clips = [
        MediaRef("video", path=str(tmp_path / name), start=start, frame_rate=3.0)
        for name in ("slow", "good")
        for start in (0.0, 1.0)
    ]
    found = join_frames(clips, SlowCache(tmp_path / "cache"), 0, 1.0)
    slow, good = (found[str(tmp_path / name), 3.0] for name in ("slow", "good"))
    assert "took more than 1 seconds" in slow
    assert Path(good.path).suffix == ".mp4"
