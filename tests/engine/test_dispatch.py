"""Several engines without Ray: a pretended one, whose engines answer, die or lose their device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.core.errors import DeviceLost, EnvironmentProblem
from evalkit.core.types import Request, Response
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors import ray as ray_executor
from evalkit.engine.executors import ray_watch
from evalkit.engine.executors.ray import MAX_GIVEN_UP, _Dispatch
from evalkit.engine.executors.ray_watch import RayWatch, time_limit
from evalkit.engine.planner import group_requests
from evalkit.engine.responses import error_of
from evalkit.engine.work_queue import WorkQueue

ECC = "cuda:0: CUDA error: uncorrectable ECC error encountered"


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


RAY = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError))


class Remote:
    """An actor in this process."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=getattr(self._actor, name))


Engine = Callable[[int, str], str | None]
"""Answers to one request of an engine, by the engine's number and the request's key; None: an error."""


class Stream:
    """Batches of an engine, each one request; what it raises arrives as Ray hands it over."""

    def __init__(self, number: int, incarnation: int, queue: WorkQueue, engine: Engine) -> None:
        self._batches = self._answer(number, incarnation, queue, engine)

    def _answer(self, number: int, incarnation: int, queue: WorkQueue, engine: Engine) -> Iterator[Any]:
        while (group := queue.take(number, incarnation)[0]) is not None:
            for request in group.requests:
                text = engine(number, request.key)
                failed = error_of(request.key, "it can't be read")
                yield 0, [failed if text is None else Response(request.key, text, (), "stop")]

    def __next__(self) -> Any:
        try:
            return next(self._batches)
        except (DeviceLost, OSError) as error:
            raise RayTaskError(error) from None


def dispatched(engine: Engine, requests: int, engines: int = 2) -> tuple[list[Response], list[int]]:
    """All responses, and the numbers of the engines that were stopped."""
    asked = [
        Request(key=f"k{number}", task="t", sample_id="", prompt=f"{number}", media=(), max_new_tokens=1)
        for number in range(requests)
    ]
    queue = WorkQueue(group_requests([asked], lambda request: 1), engines)
    stopped: list[int] = []
    pool = SimpleNamespace(
        device_groups=[None] * engines,
        watch=SimpleNamespace(get=lambda reference: reference, wait=lambda streams: streams[0]),
        stop=stopped.append,
        start_stream=lambda number, config, work_queue, files, incarnation: Stream(
            number, incarnation, queue, engine
        ),
    )
    dispatch = _Dispatch(engines=pool, config=EngineConfig(), work_queue=Remote(queue), files=None)  # type: ignore[arg-type]
    found: list[Response] = []
    try:
        for _, batch in dispatch.batches(requests):
            found += batch
    except EnvironmentProblem as problem:
        raise Stopped(problem, found) from None
    return found, stopped


class Stopped(Exception):
    def __init__(self, problem: EnvironmentProblem, found: list[Response]) -> None:
        super().__init__(str(problem))
        self.found = found


@pytest.fixture(autouse=True)
def pretended_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_executor, "_imported", lambda: RAY)


@pytest.mark.filterwarnings("ignore:engine")
def test_an_engine_whose_device_is_lost_is_started_again_and_no_sample_pays() -> None:
    lost = ["k3", "k7"]

    def engine(number: int, key: str) -> str:
        if key in lost:
            lost.remove(key)
            raise DeviceLost("the device is lost", ECC, "again")
        return key

    found, stopped = dispatched(engine, 12)
    assert sorted(each.key for each in found) == sorted(f"k{number}" for number in range(12))
    assert not any(each.error for each in found)
    assert len(stopped) == 2


@pytest.mark.filterwarnings("ignore:engine")
def test_a_sample_that_loses_the_device_whenever_it_is_asked_is_that_samples_error() -> None:
    def engine(number: int, key: str) -> str:
        if key == "k5":
            raise DeviceLost("the device is lost", ECC, "again")
        return key

    found, _ = dispatched(engine, 12)
    assert [(each.key, ECC in str(each.error)) for each in found if each.error] == [("k5", True)]
    assert len(found) == 12


@pytest.mark.filterwarnings("ignore:engine")
@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize("unreadable", [0, 5])
@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DeviceLost("lost", ECC, "again"), ECC),
        (RayError("the actor died"), "the actor died"),
        (OSError("no such device"), "OSError: no such device"),
    ],
)
def test_engines_that_answer_nothing_stop_the_run_with_the_reason(
    error: Exception, says: str, unreadable: int, engines: int
) -> None:
    def engine(number: int, key: str) -> str | None:
        if int(key[1:]) % 10 < unreadable:
            return None  # an error of reading shows nothing of the device
        raise error

    with pytest.raises(Stopped, match="all engines died again and again") as stopped:
        dispatched(engine, 200, engines)
    assert says in str(stopped.value)
    burnt = [each for each in stopped.value.found if "died whenever" in str(each.error)]
    assert len(burnt) <= MAX_GIVEN_UP + 4  # of two hundred


class PretendedRay:
    """What is asked of Ray's control service; ``alive`` is what it says, None that it says nothing."""

    def __init__(self) -> None:
        self.alive: bool | None = True
        self.ready = False
        self.asked = threading.Event()
        self.released = threading.Event()

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def nodes(self) -> list[dict[str, Any]]:
        self.asked.set()
        if self.alive is None:
            self.released.wait()
        return [{"NodeID": "there", "Alive": True}, {"NodeID": "here", "Alive": self.alive}]

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        self.asked.clear()
        self.asked.wait(timeout)
        return (references[-1:], []) if self.ready else ([], references)

    def get(self, reference: Any) -> Any:
        return reference


@pytest.mark.parametrize(("alive", "says"), [(False, "raylet"), (None, "gcs_server")])
def test_a_ray_whose_own_processes_are_gone_is_not_waited_for(
    alive: bool | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_watch, "CHECK_SECONDS", 0.01)
    pretended = PretendedRay()
    watch = RayWatch(pretended)
    pretended.ready = True
    assert watch.wait(["a", "b"]) == watch.get("b") == "b"
    pretended.ready, pretended.alive = False, alive
    monkeypatch.setattr(ray_watch, "SILENT_SECONDS", 1e6 if alive is False else 0.05)
    with pytest.raises(EnvironmentProblem, match=says):
        watch.get("a")
    pretended.alive = True
    pretended.released.set()
    watch.stop()


def test_what_waits_in_ray_itself_is_ended_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(ray_watch.os, "_exit", end)
    with time_limit("starting it", 0.01):
        ended.wait()
    assert codes == [4]
    assert "starting it took more than 0.01 seconds" in capfd.readouterr().err
    with time_limit("starting it", 1e6):
        pass
    assert codes == [4]
