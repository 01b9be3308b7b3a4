"""The scheduler: requests in, responses out; preprocessing ahead, and one growing batch of answers."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import tee

from evalkit.core.errors import OutOfMemory
from evalkit.core.types import Prepared, Request, Response
from evalkit.data.media import MEDIA_SECONDS
from evalkit.engine.media_scan import map_with_timeout
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.planner import Budget, RequestGroup, group_requests, media_groups, prefix_groups_of
from evalkit.engine.preprocessing_pool import (
    GroupResult,
    PreparationFailure,
    PreparedGroup,
    RequestGroups,
    prepare_all,
)
from evalkit.engine.responses import error_of, response_of
from evalkit.inference.base import MAX_PREFILL_TOKENS, Decoder, Finished, PrefixGroup, generate_all
from evalkit.inference.counters import EngineCounters
from evalkit.models.base import Model, Preprocessor

OnBatch = Callable[[list[Response]], None]
ResponseStream = Generator[tuple[int, list[Response]], None, None]
"""Batches of responses, each with the number of the model that gave it."""

DELIVERY_SECONDS = 0.5

IDLE_SECONDS = 0.02
"""How long to sleep when there is nothing to answer, and nobody has more to ask at the moment."""

MAX_RUNNING_SEQUENCES = 256
"""Samples answered at a time where the memory sets the limit: more make no step of decoding faster."""


@dataclass(frozen=True)
class EngineConfig:
    """How requests are answered; what is answered depends on none of this.

    Attributes:
        workers: preprocessing processes; 0 prepares in this process.
        batch_tokens: upper limit on the tokens answered at a time, new tokens included, of all models
            shared_prefix; None leaves it to the free memory.
        batch_size: upper limit on the samples that each model answers at a time.
        optimizations: what the scheduler may do to be fast.
        media_seconds: how long a medium may take to be read, until its samples get an error.
    """

    workers: int = 1
    batch_tokens: int | None = None
    batch_size: int | None = None
    optimizations: Optimizations = field(default_factory=Optimizations)
    media_seconds: float = MEDIA_SECONDS


def run_requests(
    model: Model,
    requests: Sequence[Request],
    *,
    on_batch: OnBatch,
    workers: int = 1,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
    optimizations: Optimizations | None = None,
    stats: EngineCounters | None = None,
) -> None:
    """Answer every request exactly once; ``on_batch`` gets responses as they are finished.

    Args:
        model: answers.
        requests: in any order; they are run longest first, those about the same media shared_prefix.
        on_batch: called in this process; when it returns, its responses are safe.
        workers: see :class:`EngineConfig`, as the three that follow.
        batch_tokens: limit on tokens.
        batch_size: limit on samples.
        optimizations: everything unless told otherwise.
        stats: counts are added to it.

    Failures stay with their sample: a request that can't be prepared or answered gets a response whose
    finish reason is ``error``. What doesn't fit into memory is split, and from then on less is tried at a
    time. What a request is answered depends on none of this.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    settings = EngineConfig(workers, batch_tokens, batch_size, optimizations or Optimizations())
    # Closed here and now if the run is interrupted: its worker processes must not outlive it.
    with closing(generate([model], [requests], settings, stats)) as found:
        for _, batch in found:
            on_batch(batch)


def generate(
    models: Sequence[Model],
    requests: Sequence[Sequence[Request]],
    settings: EngineConfig,
    stats: EngineCounters | None = None,
) -> ResponseStream:
    """Responses of several models to the requests of each, in lockstep: with the number of the model.

    The preprocessors must make the same of a request. What several models are asked (requests that
    differ in nothing but their keys) is prepared once, and the model that is furthest behind goes on
    first, so that little has to be kept for the others. See :func:`run_requests` for the rest.
    """
    groups = plan_requests(models[0].preprocessor, requests, settings)
    return generate_groups(models, groups, settings, stats)


def plan_requests(
    preprocessor: Preprocessor, requests: Sequence[Sequence[Request]], settings: EngineConfig
) -> list[RequestGroup]:
    """The requests of several models as groups, in the order in which they are answered. What can't even be
    guessed at in time counts no tokens, and will fail by itself.
    """
    guess = partial(_estimate, preprocessor)
    asked = {replace(each, key=""): None for own in requests for each in own if each.media}
    groups = media_groups(asked)  # what a worker learns of a medium is of use for the next question
    shown = [request for group in groups for request in group]
    known = map_with_timeout(shown, guess, settings.workers, settings.media_seconds)
    tokens = dict(zip(shown, known, strict=True))

    def estimate(request: Request) -> int:
        bare = replace(request, key="")
        found = tokens.get(bare)
        return guess(request) if found is None else found if isinstance(found, int) else 0

    return group_requests(requests, estimate, by_media=settings.optimizations.media)


def generate_groups(
    models: Sequence[Model],
    groups: RequestGroups,
    settings: EngineConfig,
    stats: EngineCounters | None = None,
) -> ResponseStream:
    """See :func:`generate`; groups are taken when there is room for them, not before, and what is answered is
    handed over at once when there is nothing else to do.
    """
    first, enabled = models[0].preprocessor, settings.optimizations
    with closing(prepare_all(first, groups, settings.workers, settings.media_seconds)) as prepared_groups:
        schedulers = [
            _Scheduler(model, _budget(model, settings, len(models)), enabled, stats or EngineCounters(), own)
            for model, own in zip(models, _fan_out(prepared_groups, len(models)), strict=True)
        ]
        step_loop = [scheduler.step_loop() for scheduler in schedulers]
        going = dict(enumerate(schedulers))
        while going:
            number = min(going, key=lambda each: going[each].groups_taken)
            batch = next(step_loop[number], None)
            if batch is None:
                del going[number]
            elif batch:
                with schedulers[number].stats.stage("store"):
                    yield number, batch
            elif all(each.starved for each in going.values()):
                time.sleep(IDLE_SECONDS)


def _budget(model: Model, settings: EngineConfig, models: int) -> Budget:
    """What one of several models may answer at a time."""
    if settings.batch_tokens is not None:
        return Budget(max(1, settings.batch_tokens // models), settings.batch_size)
    return Budget(model.token_budget(models), settings.batch_size or MAX_RUNNING_SEQUENCES)


def _fan_out(done: Iterator[GroupResult], models: int) -> list[Iterator[PreparedGroup]]:
    """What was prepared, for every model under its own keys; it is kept until all have taken it."""

    def own(number: int, each: GroupResult) -> PreparedGroup:
        group, prepared_group = each

        def keys(key: str) -> list[str]:
            return [own_key for consumer, own_key in group.consumers[key] if consumer == number]

        return PreparedGroup(
            [replace(item, key=key) for item in prepared_group.prepared for key in keys(item.key)],
            [
                PreparationFailure(replace(each.request, key=key), each.error)
                for each in prepared_group.failed
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
class _Scheduler:
    """One model's run: what is still to come, what is being answered, and what is not handed over yet.

    ``groups_taken`` counts the groups of requests that were taken from ``prepared_groups``; ``shared_prefix`` are the prompts
    that are answered with others about the same media; ``no_work`` says that the last of ``prepared_groups`` was
    empty.
    """

    model: Model
    budget: Budget
    optimizations: Optimizations
    stats: EngineCounters
    prepared_groups: Iterator[PreparedGroup]
    groups_taken: int = 0
    exhausted: bool = False
    waiting: deque[PrefixGroup] = field(default_factory=deque)
    undelivered: list[Response] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    shared_prefix: set[int] = field(default_factory=set)
    admitting: bool = True
    no_work: bool = False
    idle: bool = False
    running_peak: int = 0
    delivered_at: float = field(default_factory=time.monotonic)

    def step_loop(self) -> Iterator[list[Response]]:
        """Go on until every request is answered, one call of the model at a turn; yields what was finished
        some time ago, which may be nothing.
        """
        decoder = self._new_decoder()
        try:
            while decoder.running or self.waiting or not self.exhausted:
                prefix_groups = self._admit(decoder)
                if prefix_groups:
                    self._run_step(decoder, prefix_groups)
                elif decoder.running:
                    self._run_step(decoder, None)
                self.idle = not (decoder.running or self.waiting)
                late = time.monotonic() - self.delivered_at > DELIVERY_SECONDS
                yield self._take_undelivered() if self.idle or late else []
        except (Exception, KeyboardInterrupt):
            yield self._take_undelivered()
            raise
        yield self._take_undelivered()

    @property
    def starved(self) -> bool:
        """Whether it had nothing to do at its last turn."""
        return self.no_work and self.idle

    def _admit(self, decoder: Decoder) -> list[PrefixGroup]:
        """What joins the answers that are being generated: nothing while most of these go on, and then a
        call's worth at a time until the budget is used up.
        """
        running = len(decoder.running)
        if not running or (self.optimizations.continuous and 4 * running <= 3 * self.running_peak):
            self.admitting = True
        prefix_groups: list[PrefixGroup] = []
        tokens, read = decoder.tokens, 0
        while self.admitting and self._refill():
            prefix_group = self.waiting[0]
            if not self.budget.can_admit(tokens, running, prefix_group):
                self.admitting = False
            elif prefix_groups and (
                read + prefix_group.tokens > MAX_PREFILL_TOKENS or not self.optimizations.packing
            ):
                break
            else:
                prefix_groups.append(self.waiting.popleft())
                tokens, read, running = (
                    tokens + prefix_group.max_tokens,
                    read + prefix_group.tokens,
                    running + len(prefix_group.items),
                )
        return prefix_groups

    def _refill(self) -> bool:
        """Whether there is a prefix_group waiting; takes in the next group if need be."""
        if not self.waiting and not self.exhausted:
            with self.stats.stage("wait"):
                prepared_group = next(self.prepared_groups, None)
            self.groups_taken += 1
            self.no_work = prepared_group is not None and not (
                prepared_group.prepared or prepared_group.failed
            )
            if prepared_group is None:
                self.exhausted = True
            else:
                self._enqueue(prepared_group)
        return bool(self.waiting)

    def _enqueue(self, prepared_group: PreparedGroup) -> None:
        self.undelivered += [
            Response(each.request.key, "", (), "error", each.error) for each in prepared_group.failed
        ]
        self.stats.seconds["prepare"] += sum(item.seconds for item in prepared_group.prepared)
        shared = self.optimizations.prefix
        self.waiting.extend(prefix_groups_of(prepared_group.prepared, self.budget.samples, shared=shared))

    def _run_step(self, decoder: Decoder, prefix_groups: Sequence[PrefixGroup] | None) -> None:
        """Add prefix_groups, or go on by one token where there are none; whatever happens, nothing is lost."""
        began = time.perf_counter()
        involved = (
            [item for prefix_group in prefix_groups for item in prefix_group.items]
            if prefix_groups
            else list(decoder.running)
        )
        try:
            finished = decoder.add(prefix_groups) if prefix_groups else decoder.step()
            self.shared_prefix |= {
                id(item)
                for prefix_group in prefix_groups or ()
                if len(prefix_group.items) > 1
                for item in prefix_group.items
            }
        except OutOfMemory as error:
            problem, memory = str(error), True
        except Exception as error:  # noqa: BLE001 - a sample that breaks the model must not take others with it
            problem, memory = f"{type(error).__name__}: {error}", False
        else:
            self._collect(finished, involved, time.perf_counter() - began)
            self.running_peak = len(decoder.running) if prefix_groups else self.running_peak
            return
        # Outside the handlers: the exception's frames held the failed tensors until here.
        if not memory:
            if prefix_groups is None:
                decoder.preempt(0)
            self._isolate(involved)
        elif prefix_groups:
            self._split_prefill(decoder, prefix_groups, problem)
        else:
            self._preempt(decoder, problem)

    def _collect(self, finished: Finished, involved: Sequence[Prepared], seconds: float) -> None:
        share = seconds / len(involved)
        for item in involved:
            self.seconds[id(item)] += share
        for item, generation in finished:
            if generation.error is not None and id(item) in self.shared_prefix:
                self._requeue_alone(item)
                continue
            self.shared_prefix.discard(id(item))
            self.undelivered.append(response_of(item, generation, self.seconds.pop(id(item))))
            self.stats.counts["requests"] += 1

    def _requeue_alone(self, item: Prepared) -> None:
        """Begin an answer anew without the prompts that had its media in common: numbers that are not finite
        spread from one of them to the others.
        """
        self.shared_prefix.discard(id(item))
        self.waiting.append(PrefixGroup((item,), item.prefix))

    def _split_prefill(self, decoder: Decoder, prefix_groups: Sequence[PrefixGroup], problem: str) -> None:
        """Units did not fit: try half as many, then the prompts of one alone, then one in an empty memory."""
        self.stats.counts["splits"] += 1
        if len(prefix_groups) > 1:
            self.budget.lower(decoder.tokens + sum(prefix_group.max_tokens for prefix_group in prefix_groups))
            self.waiting.extendleft(reversed(prefix_groups))
        elif len(prefix_groups[0].items) > 1:
            self.waiting.extendleft(PrefixGroup((item,), item.prefix) for item in prefix_groups[0].items)
        elif decoder.running:
            self.waiting.extendleft(prefix_groups)  # until others have finished
            self.budget.lower(decoder.tokens + prefix_groups[0].max_tokens)
            self.admitting = False
        else:
            self._fail(prefix_groups[0].items[0], f"it does not fit into memory alone: {problem}")

    def _preempt(self, decoder: Decoder, problem: str) -> None:
        """The answers outgrew the memory: begin half of them anew later."""
        self.stats.counts["splits"] += 1
        running = len(decoder.running)
        if running > 1:
            self.budget.lower(decoder.tokens)
        for item in decoder.preempt(running // 2):
            if running == 1:
                self._fail(item, f"it does not fit into memory alone: {problem}")
            else:
                self.waiting.append(PrefixGroup((item,), item.prefix))

    def _isolate(self, items: Sequence[Prepared]) -> None:
        """Find out which of the items broke the model."""
        for item in items:
            began = time.perf_counter()
            try:
                finished = generate_all(self._new_decoder(), [PrefixGroup((item,), item.prefix)])
            except OutOfMemory as error:
                self._fail(item, f"it does not fit into memory alone: {error}")
            except Exception as error:  # noqa: BLE001 - this one it was
                self._fail(item, f"{type(error).__name__}: {error}")
            else:
                self._collect(finished, [item], time.perf_counter() - began)

    def _new_decoder(self) -> Decoder:
        enabled = self.optimizations
        return self.model.decoder(self.stats, uncached_vision=not enabled.vision, graphs=enabled.graphs)

    def _fail(self, item: Prepared, problem: str) -> None:
        self.undelivered.append(error_of(item, problem))

    def _take_undelivered(self) -> list[Response]:
        """What is finished, once."""
        responses, self.undelivered = self.undelivered, []
        self.delivered_at = time.monotonic()
        return responses
