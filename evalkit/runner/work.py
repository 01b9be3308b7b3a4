"""The work of a run in estimated tokens, for its progress."""

from __future__ import annotations

from collections.abc import Container, Sequence

from evalkit.core.types import Request
from evalkit.models.base import Preprocessor
from evalkit.runner.planned import PlannedRequest, PlannedSystem
from evalkit.runner.reporter import TaskWork

_ESTIMATED = 4
"""How many requests of a task are estimated: headers of their media are read for it."""

_ANSWER = 64
"""Tokens that an answer is taken to have at most: limits are far above what most answers take."""


def work_of(systems: Sequence[PlannedSystem], answered: Container[str]) -> list[TaskWork]:
    """What is asked of every system and task; ``answered`` are the keys with a stored answer."""
    found: list[TaskWork] = []
    known: list[tuple[Preprocessor, dict[str, float]]] = []
    for system in systems:
        preprocessor = system.model_info.preprocessor
        tokens = next((each for other, each in known if other == preprocessor), None)
        if tokens is None:
            tokens = {}
            known.append((preprocessor, tokens))
        for task, planned in _by_task(system).items():
            if task not in tokens:
                tokens[task] = _tokens(preprocessor, [each for each in planned if not each.problem])
            done = sum(bool(each.problem) or each.request.key in answered for each in planned)
            found.append(TaskWork(system.name, task, len(planned), done, tokens[task]))
    return found


def _by_task(system: PlannedSystem) -> dict[str, list[PlannedRequest]]:
    found: dict[str, list[PlannedRequest]] = {}
    for each in system.requests.values():
        found.setdefault(each.task.name, []).append(each)
    return found


def _tokens(preprocessor: Preprocessor, planned: Sequence[PlannedRequest]) -> float:
    """Tokens of a request of a task, on average over a few of them."""
    step = max(1, len(planned) // _ESTIMATED)
    few = [each.request for each in planned[::step][:_ESTIMATED]]
    counts = [count for request in few if (count := _estimate(preprocessor, request)) is not None]
    return sum(counts) / len(counts) if counts else 1.0


def _estimate(preprocessor: Preprocessor, request: Request) -> int | None:
    try:
        return preprocessor.estimate(request) + min(request.max_new_tokens, _ANSWER)
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged files; the run says so
        return None
