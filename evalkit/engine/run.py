"""The engine: requests in, responses out; preprocessing ahead, and one growing batch of answers."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from evalkit.engine.planner import Budget, longest_first, media_groups, units_of
from evalkit.engine.techniques import Techniques
from evalkit.engine.workers import Outcome, prepare_all
from evalkit.errors import OutOfMemory
from evalkit.models.base import Decoder, Finished, Model, Unit, answer
from evalkit.stats import Stats
from evalkit.types import Generation, Prepared, Request, Response

OnBatch = Callable[[list[Response]], None]

STORE_SECONDS = 0.5


def run_requests(
    model: Model,
    requests: Sequence[Request],
    *,
    on_batch: OnBatch,
    workers: int = 1,
    batch_tokens: int = 16384,
    batch_size: int | None = None,
    techniques: Techniques | None = None,
    stats: Stats | None = None,
) -> None:
    """Answer every request exactly once; ``on_batch`` gets responses as they are finished.

    Args:
        model: answers.
        requests: in any order; they are run longest first, those about the same media together.
        on_batch: called in this process; when it returns, its responses are safe.
        workers: preprocessing processes; 0 prepares in this process.
        batch_tokens: upper limit on the tokens answered at a time, new tokens included.
        batch_size: upper limit on the samples answered at a time.
        techniques: what the engine may do to be fast; everything unless told otherwise.
        stats: counts are added to it.

    Failures stay with their sample: a request that can't be prepared or answered gets a response whose
    finish reason is ``error``. What doesn't fit into memory is split, and from then on less is tried at a
    time. What a request is answered depends on none of this.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    ways, counted = techniques or Techniques(), stats or Stats()
    tokens = {request.key: _estimate(model, request) for request in requests}
    groups = media_groups(requests) if ways.media else [[request] for request in requests]
    ordered = longest_first(groups, tokens)
    costs = [max(tokens[request.key] for request in group) for group in ordered]
    # Closed here and now if the run is interrupted: its worker processes must not outlive it.
    with closing(prepare_all(model.preprocessor, ordered, costs, workers)) as outcomes:
        engine = _Engine(model, Budget(batch_tokens, batch_size), ways, counted, outcomes, on_batch)
        engine.run()


def _estimate(model: Model, request: Request) -> int:
    """The planner's guess of a request's tokens; what can't even be guessed at will fail by itself."""
    try:
        return model.preprocessor.estimate(request)
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged files; `prepare` reports it
        return 0


@dataclass
class _Engine:
    """One run: what is still to come, what is being answered, and what is not stored yet."""

    model: Model
    budget: Budget
    techniques: Techniques
    stats: Stats
    outcomes: Iterator[Outcome]
    on_batch: OnBatch
    waiting: deque[Unit] = field(default_factory=deque)
    unstored: list[Response] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    crowd: int = 0
    stored: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Go on until every request is answered."""
        decoder = self._new_decoder()
        try:
            while True:
                units = self._admitted(decoder)
                if units:
                    self._attempt(decoder, units)
                elif decoder.live:
                    self._attempt(decoder, None)
                else:
                    return
                if time.monotonic() - self.stored > STORE_SECONDS:
                    self._store()
        finally:
            self._store()

    def _admitted(self, decoder: Decoder) -> list[Unit]:
        """What joins the answers that are being generated: nothing while most of these go on."""
        live = len(decoder.live)
        if live and (not self.techniques.continuous or 4 * live > 3 * self.crowd):
            return []
        units: list[Unit] = []
        tokens = decoder.tokens
        while self._fill() and self.budget.admits(tokens, live, self.waiting[0]):
            units.append(self.waiting.popleft())
            tokens += units[-1].size
            live += len(units[-1].items)
            if not self.techniques.packing:
                break
        return units

    def _fill(self) -> bool:
        """Whether there is a unit waiting; takes in the next group if need be."""
        while not self.waiting:
            with self.stats.stage("wait"):
                outcome = next(self.outcomes, None)
            if outcome is None:
                return False
            self.unstored += [
                Response(each.request.key, "", (), "error", each.error) for each in outcome.failed
            ]
            self.stats.seconds["prepare"] += sum(item.seconds for item in outcome.prepared)
            shared = self.techniques.prefix
            self.waiting.extend(units_of(outcome.prepared, self.budget.samples, shared=shared))
        return True

    def _attempt(self, decoder: Decoder, units: Sequence[Unit] | None) -> None:
        """Add units, or go on by one token where there are none; whatever happens, nothing is lost."""
        began = time.perf_counter()
        involved = [item for unit in units for item in unit.items] if units else list(decoder.live)
        try:
            finished = decoder.add(units) if units else decoder.step()
        except OutOfMemory as error:
            problem, memory = str(error), True
        except Exception as error:  # noqa: BLE001 - a sample that breaks the model must not take others with it
            problem, memory = f"{type(error).__name__}: {error}", False
        else:
            self._take(finished, involved, time.perf_counter() - began)
            self.crowd = len(decoder.live) if units else self.crowd
            return
        # Outside the handlers: the exception's frames held the failed tensors until here.
        if not memory:
            if units is None:
                decoder.drop(0)
            self._one_by_one(involved)
        elif units:
            self._less_at_a_time(decoder, units, problem)
        else:
            self._fewer(decoder, problem)

    def _take(self, finished: Finished, involved: Sequence[Prepared], seconds: float) -> None:
        share = seconds / len(involved)
        for item in involved:
            self.seconds[id(item)] += share
        for item, generation in finished:
            self.unstored.append(_response(item, generation, self.seconds.pop(id(item))))
            self.stats.counts["requests"] += 1

    def _less_at_a_time(self, decoder: Decoder, units: Sequence[Unit], problem: str) -> None:
        """Units did not fit: try half as many, then the prompts of one alone, then one in an empty memory."""
        self.stats.counts["splits"] += 1
        if len(units) > 1:
            self.budget.lower(decoder.tokens + sum(unit.size for unit in units))
            self.waiting.extendleft(reversed(units))
        elif len(units[0].items) > 1:
            self.waiting.extendleft(units[0].alone())
        elif decoder.live:
            self.waiting.extendleft(units)
            self.budget.lower(decoder.tokens + units[0].size)
            self._fewer(decoder, problem)
        else:
            self._fail(units[0].items[0], f"it does not fit into memory alone: {problem}")

    def _fewer(self, decoder: Decoder, problem: str) -> None:
        """The answers outgrew the memory: begin half of them anew later."""
        self.stats.counts["splits"] += 1
        live = len(decoder.live)
        if live > 1:
            self.budget.lower(decoder.tokens)
        for item in decoder.drop(live // 2):
            if live == 1:
                self._fail(item, f"it does not fit into memory alone: {problem}")
            else:
                self.waiting.append(Unit((item,), item.prefix))

    def _one_by_one(self, items: Sequence[Prepared]) -> None:
        """Find out which of the items broke the model."""
        for item in items:
            began = time.perf_counter()
            try:
                finished = answer(self._new_decoder(), [Unit((item,), item.prefix)])
            except OutOfMemory as error:
                self._fail(item, f"it does not fit into memory alone: {error}")
            except Exception as error:  # noqa: BLE001 - this one it was
                self._fail(item, f"{type(error).__name__}: {error}")
            else:
                self._take(finished, [item], time.perf_counter() - began)

    def _new_decoder(self) -> Decoder:
        return self.model.decoder(self.stats, one_by_one=not self.techniques.vision)

    def _fail(self, item: Prepared, problem: str) -> None:
        self.unstored.append(_error(item, problem))

    def _store(self) -> None:
        """Hand over what is finished."""
        responses, self.unstored = self.unstored, []
        self.stored = time.monotonic()
        if responses:
            with self.stats.stage("store"):
                self.on_batch(responses)


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
        margin=generation.margin if generation.margin < float("inf") else None,
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
