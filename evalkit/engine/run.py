"""The engine: requests in, responses out; preprocessing ahead, and one growing batch of answers."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import tee

from evalkit.data.media import MEDIA_SECONDS
from evalkit.engine.planner import Budget, Group, media_groups, plan, units_of
from evalkit.engine.reading import each_within
from evalkit.engine.responses import error_of, response_of
from evalkit.engine.techniques import Techniques
from evalkit.engine.workers import Done, Failed, Groups, Outcome, prepare_all
from evalkit.errors import OutOfMemory
from evalkit.models.base import PREFILL_TOKENS, Decoder, Finished, Model, Preprocessor, Unit, answer
from evalkit.stats import Stats
from evalkit.types import Prepared, Request, Response

OnBatch = Callable[[list[Response]], None]
Answers = Generator[tuple[int, list[Response]], None, None]
"""Batches of responses, each with the number of the model that gave it."""

STORE_SECONDS = 0.5

IDLE_SECONDS = 0.02
"""How long to sleep when there is nothing to answer, and nobody has more to ask at the moment."""

MOST_SAMPLES = 256
"""Samples answered at a time where the memory sets the limit: more make no step of decoding faster."""


@dataclass(frozen=True)
class Settings:
    """How requests are answered; what is answered depends on none of this.

    Attributes:
        workers: preprocessing processes; 0 prepares in this process.
        batch_tokens: upper limit on the tokens answered at a time, new tokens included, of all models
            together; None leaves it to the free memory.
        batch_size: upper limit on the samples that each model answers at a time.
        techniques: what the engine may do to be fast.
        media_seconds: how long a medium may take to be read, until its samples get an error.
    """

    workers: int = 1
    batch_tokens: int | None = None
    batch_size: int | None = None
    techniques: Techniques = field(default_factory=Techniques)
    media_seconds: float = MEDIA_SECONDS


def run_requests(
    model: Model,
    requests: Sequence[Request],
    *,
    on_batch: OnBatch,
    workers: int = 1,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
    techniques: Techniques | None = None,
    stats: Stats | None = None,
) -> None:
    """Answer every request exactly once; ``on_batch`` gets responses as they are finished.

    Args:
        model: answers.
        requests: in any order; they are run longest first, those about the same media together.
        on_batch: called in this process; when it returns, its responses are safe.
        workers: see :class:`Settings`, as the three that follow.
        batch_tokens: limit on tokens.
        batch_size: limit on samples.
        techniques: everything unless told otherwise.
        stats: counts are added to it.

    Failures stay with their sample: a request that can't be prepared or answered gets a response whose
    finish reason is ``error``. What doesn't fit into memory is split, and from then on less is tried at a
    time. What a request is answered depends on none of this.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    settings = Settings(workers, batch_tokens, batch_size, techniques or Techniques())
    # Closed here and now if the run is interrupted: its worker processes must not outlive it.
    with closing(answers([model], [requests], settings, stats)) as found:
        for _, batch in found:
            on_batch(batch)


def answers(
    models: Sequence[Model],
    requests: Sequence[Sequence[Request]],
    settings: Settings,
    stats: Stats | None = None,
) -> Answers:
    """Responses of several models to the requests of each, in lockstep: with the number of the model.

    The preprocessors must make the same of a request. What several models are asked (requests that
    differ in nothing but their keys) is prepared once, and the model that is furthest behind goes on
    first, so that little has to be kept for the others. See :func:`run_requests` for the rest.
    """
    groups = planned(models[0].preprocessor, requests, settings)
    return answer_groups(models, groups, settings, stats)


def planned(
    preprocessor: Preprocessor, requests: Sequence[Sequence[Request]], settings: Settings
) -> list[Group]:
    """The requests of several models as groups, in the order in which they are answered. What can't even be
    guessed at in time counts no tokens, and will fail by itself.
    """
    guess = partial(_estimate, preprocessor)
    asked = {replace(each, key=""): None for own in requests for each in own if each.media}
    groups = media_groups(asked)  # what a worker learns of a medium is of use for the next question
    shown = [request for group in groups for request in group]
    known = each_within(shown, guess, settings.workers, settings.media_seconds)
    tokens = dict(zip(shown, known, strict=True))

    def estimate(request: Request) -> int:
        bare = replace(request, key="")
        found = tokens.get(bare)
        return guess(request) if found is None else found if isinstance(found, int) else 0

    return plan(requests, estimate, by_media=settings.techniques.media)


def answer_groups(
    models: Sequence[Model], groups: Groups, settings: Settings, stats: Stats | None = None
) -> Answers:
    """See :func:`answers`; groups are taken when there is room for them, not before, and what is answered is
    handed over at once when there is nothing else to do.
    """
    first, ways = models[0].preprocessor, settings.techniques
    with closing(prepare_all(first, groups, settings.workers, settings.media_seconds)) as outcomes:
        engines = [
            _Engine(model, _budget(model, settings, len(models)), ways, stats or Stats(), own)
            for model, own in zip(models, _dealt(outcomes, len(models)), strict=True)
        ]
        turns = [engine.turns() for engine in engines]
        going = dict(enumerate(engines))
        while going:
            number = min(going, key=lambda each: going[each].taken)
            batch = next(turns[number], None)
            if batch is None:
                del going[number]
            elif batch:
                with engines[number].stats.stage("store"):
                    yield number, batch
            elif all(each.starved for each in going.values()):
                time.sleep(IDLE_SECONDS)


def _budget(model: Model, settings: Settings, models: int) -> Budget:
    """What one of several models may answer at a time."""
    if settings.batch_tokens is not None:
        return Budget(max(1, settings.batch_tokens // models), settings.batch_size)
    return Budget(model.token_budget(models), settings.batch_size or MOST_SAMPLES)


def _dealt(done: Iterator[Done], models: int) -> list[Iterator[Outcome]]:
    """What was prepared, for every model under its own keys; it is kept until all have taken it."""

    def own(number: int, each: Done) -> Outcome:
        group, outcome = each

        def keys(key: str) -> list[str]:
            return [own_key for asker, own_key in group.askers[key] if asker == number]

        return Outcome(
            [replace(item, key=key) for item in outcome.prepared for key in keys(item.key)],
            [
                Failed(replace(each.request, key=key), each.error)
                for each in outcome.failed
                for key in keys(each.request.key)
            ],
        )

    return [map(partial(own, number), each) for number, each in enumerate(tee(done, models))]


def _estimate(preprocessor: Preprocessor, request: Request) -> int:
    """The planner's guess of a request's tokens; what can't even be guessed at will fail by itself."""
    try:
        return preprocessor.estimate(request)
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged files; `prepare` reports it
        return 0


@dataclass
class _Engine:
    """One model's run: what is still to come, what is being answered, and what is not handed over yet.

    ``taken`` counts the groups of requests that were taken from ``outcomes``; ``together`` are the prompts
    that are answered with others about the same media; ``nothing`` says that the last of ``outcomes`` was
    empty.
    """

    model: Model
    budget: Budget
    techniques: Techniques
    stats: Stats
    outcomes: Iterator[Outcome]
    taken: int = 0
    ended: bool = False
    waiting: deque[Unit] = field(default_factory=deque)
    unstored: list[Response] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    together: set[int] = field(default_factory=set)
    filling: bool = True
    nothing: bool = False
    idle: bool = False
    crowd: int = 0
    stored: float = field(default_factory=time.monotonic)

    def turns(self) -> Iterator[list[Response]]:
        """Go on until every request is answered, one call of the model at a turn; yields what was finished
        some time ago, which may be nothing.
        """
        decoder = self._new_decoder()
        try:
            while decoder.live or self.waiting or not self.ended:
                units = self._admitted(decoder)
                if units:
                    self._attempt(decoder, units)
                elif decoder.live:
                    self._attempt(decoder, None)
                self.idle = not (decoder.live or self.waiting)
                late = time.monotonic() - self.stored > STORE_SECONDS
                yield self._handed_over() if self.idle or late else []
        except (Exception, KeyboardInterrupt):
            yield self._handed_over()
            raise
        yield self._handed_over()

    @property
    def starved(self) -> bool:
        """Whether it had nothing to do at its last turn."""
        return self.nothing and self.idle

    def _admitted(self, decoder: Decoder) -> list[Unit]:
        """What joins the answers that are being generated: nothing while most of these go on, and then a
        call's worth at a time until the budget is used up.
        """
        live = len(decoder.live)
        if not live or (self.techniques.continuous and 4 * live <= 3 * self.crowd):
            self.filling = True
        units: list[Unit] = []
        tokens, read = decoder.tokens, 0
        while self.filling and self._fill():
            unit = self.waiting[0]
            if not self.budget.admits(tokens, live, unit):
                self.filling = False
            elif units and (read + unit.tokens > PREFILL_TOKENS or not self.techniques.packing):
                break
            else:
                units.append(self.waiting.popleft())
                tokens, read, live = tokens + unit.size, read + unit.tokens, live + len(unit.items)
        return units

    def _fill(self) -> bool:
        """Whether there is a unit waiting; takes in the next group if need be."""
        if not self.waiting and not self.ended:
            with self.stats.stage("wait"):
                outcome = next(self.outcomes, None)
            self.taken += 1
            self.nothing = outcome is not None and not (outcome.prepared or outcome.failed)
            if outcome is None:
                self.ended = True
            else:
                self._take_in(outcome)
        return bool(self.waiting)

    def _take_in(self, outcome: Outcome) -> None:
        self.unstored += [Response(each.request.key, "", (), "error", each.error) for each in outcome.failed]
        self.stats.seconds["prepare"] += sum(item.seconds for item in outcome.prepared)
        shared = self.techniques.prefix
        self.waiting.extend(units_of(outcome.prepared, self.budget.samples, shared=shared))

    def _attempt(self, decoder: Decoder, units: Sequence[Unit] | None) -> None:
        """Add units, or go on by one token where there are none; whatever happens, nothing is lost."""
        began = time.perf_counter()
        involved = [item for unit in units for item in unit.items] if units else list(decoder.live)
        try:
            finished = decoder.add(units) if units else decoder.step()
            self.together |= {id(item) for unit in units or () if len(unit.items) > 1 for item in unit.items}
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
            if generation.error is not None and id(item) in self.together:
                self._alone(item)
                continue
            self.together.discard(id(item))
            self.unstored.append(response_of(item, generation, self.seconds.pop(id(item))))
            self.stats.counts["requests"] += 1

    def _alone(self, item: Prepared) -> None:
        """Begin an answer anew without the prompts that had its media in common: numbers that are not finite
        spread from one of them to the others.
        """
        self.together.discard(id(item))
        self.waiting.append(Unit((item,), item.prefix))

    def _less_at_a_time(self, decoder: Decoder, units: Sequence[Unit], problem: str) -> None:
        """Units did not fit: try half as many, then the prompts of one alone, then one in an empty memory."""
        self.stats.counts["splits"] += 1
        if len(units) > 1:
            self.budget.lower(decoder.tokens + sum(unit.size for unit in units))
            self.waiting.extendleft(reversed(units))
        elif len(units[0].items) > 1:
            self.waiting.extendleft(units[0].alone())
        elif decoder.live:
            self.waiting.extendleft(units)  # until others have finished
            self.budget.lower(decoder.tokens + units[0].size)
            self.filling = False
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
        ways = self.techniques
        return self.model.decoder(self.stats, one_by_one=not ways.vision, graphs=ways.graphs)

    def _fail(self, item: Prepared, problem: str) -> None:
        self.unstored.append(error_of(item, problem))

    def _handed_over(self) -> list[Response]:
        """What is finished, once."""
        responses, self.unstored = self.unstored, []
        self.stored = time.monotonic()
        return responses
