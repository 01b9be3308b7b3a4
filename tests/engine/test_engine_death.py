"""An engine whose own process died is started again; one whose machine lacks something is left out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from evalkit.core.errors import EngineDied, EnvironmentProblem
from evalkit.engine.executors import ray as ray_executor


class TaskError(Exception):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Stream:
    def __init__(self, cause: Exception) -> None:
        self.cause = cause

    def __next__(self) -> Any:
        raise TaskError(self.cause)


@pytest.mark.parametrize(("kind", "method"), [(EngineDied, "_restart"), (EnvironmentProblem, "_drop")])
def test_what_becomes_of_an_engine(
    kind: type[Exception], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = SimpleNamespace(RayTaskError=TaskError, RayError=LookupError)
    monkeypatch.setattr(
        ray_executor, "_imported", lambda: SimpleNamespace(exceptions=errors, get=lambda x: x)
    )
    called: list[str] = []
    for name in ("_restart", "_drop"):
        monkeypatch.setattr(
            ray_executor._Dispatch, name, lambda self, engine, why, name=name: called.append(name) or []
        )
    stream = Stream(kind("the vLLM process", "signal 9 ended it", "again"))
    nothing: Any = None
    watched: Any = SimpleNamespace(watch=SimpleNamespace(get=lambda stream: stream))
    dispatch = ray_executor._Dispatch(
        engines=watched, config=nothing, work_queue=nothing, files=nothing, streams={stream: 0}
    )
    assert dispatch._receive(stream) == []
    assert called == [method]
    assert not dispatch.streams
