"""The engine: requests in, responses out, a batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

from evalkit.engine.planner import Budget, batches, longest_first
from evalkit.engine.workers import Failed, prepare_all
from evalkit.errors import OutOfMemory
from evalkit.models.base import Model
from evalkit.types import Generation, Prepared, Request, Response

OnBatch = Callable[[list[Response]], None]


def run_requests(
    model: Model,
    requests: Sequence[Request],
    *,
    on_batch: OnBatch,
    workers: int = 1,
    batch_tokens: int = 16384,
    batch_size: int | None = None,
) -> None:
    """Answer every request exactly once; ``on_batch`` gets the responses of each finished batch.

    Args:
        model: answers batches.
        requests: in any order; they are run longest first.
        on_batch: called in this process, once per batch; when it returns, the batch is safe.
        workers: preprocessing processes; 0 prepares in this process.
        batch_tokens: upper limit on a batch's tokens, padding and new tokens included.
        batch_size: upper limit on its samples.

    Failures stay with their sample: a request that can't be prepared or answered gets a
    response whose finish reason is ``error``. A batch that doesn't fit into memory is split and later
    batches are smaller. What a request is answered depends on none of this.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    estimates = {request.key: _estimate(model, request) for request in requests}
    ordered = longest_first(requests, lambda request: estimates[request.key])
    costs = [estimates[request.key] for request in ordered]
    budget = Budget(batch_tokens, batch_size)
    # Closed here and now if the run is interrupted: its worker processes must not outlive it.
    with closing(prepare_all(model.preprocessor, ordered, costs, workers)) as outcomes:
        for batch in batches(_only_prepared(outcomes, on_batch), budget):
            for responses in _answer(model, batch, budget):
                on_batch(responses)


def _estimate(model: Model, request: Request) -> int:
    """The planner's guess of a request's tokens; what can't even be guessed at will fail by itself."""
    try:
        return model.preprocessor.estimate(request)
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged files; `prepare` reports it
        return 0


def _only_prepared(
    outcomes: Iterator[tuple[Request, Prepared] | Failed], on_batch: OnBatch
) -> Iterator[Prepared]:
    """Pass on what could be prepared; report the rest at once."""
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            on_batch([Response(outcome.request.key, "", (), "error", outcome.error)])
        else:
            yield outcome[1]


def _answer(model: Model, batch: Sequence[Prepared], budget: Budget) -> Iterator[list[Response]]:
    """Answer a batch whole if that is possible, else in parts."""
    began = time.perf_counter()
    half = (len(batch) + 1) // 2
    try:
        generations = model.generate(batch)
    except OutOfMemory as error:
        problem = f"it does not fit into memory alone: {error}"
        parts = [batch[:half], batch[half:]]
        if len(batch) > 1:
            budget.lower(batch)
    except Exception as error:  # noqa: BLE001 - a sample that breaks the model must not take others with it
        problem = f"{type(error).__name__}: {error}"
        parts = [[item] for item in batch]
    else:
        seconds = (time.perf_counter() - began) / len(batch)
        yield [_response(*pair, seconds) for pair in zip(batch, generations, strict=True)]
        return
    # Outside the handlers: the exception's frames held the failed batch's tensors until here.
    if len(batch) == 1:
        yield [_error(batch[0], problem)]
        return
    for part in parts:
        yield from _answer(model, part, budget)


def _response(item: Prepared, generation: Generation, seconds: float) -> Response:
    return Response(
        key=item.key,
        text=generation.text,
        token_ids=generation.token_ids,
        finish_reason=generation.finish_reason,
        prompt_tokens=item.length,
        visual_tokens=sum(medium.tokens for medium in item.media),
        media=item.media,
        seconds={"prepare": round(item.seconds, 6), "generate": round(seconds, 6)},
    )


def _error(item: Prepared, error: str) -> Response:
    return Response(
        key=item.key,
        text="",
        token_ids=(),
        finish_reason="error",
        error=error,
        prompt_tokens=item.length,
        visual_tokens=sum(medium.tokens for medium in item.media),
        media=item.media,
        seconds={"prepare": round(item.seconds, 6)},
    )
