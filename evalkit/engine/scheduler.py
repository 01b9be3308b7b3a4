"""The scheduler: requests in, responses out; preprocessing runs ahead, and decoding is a continuous batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import tee

from evalkit.core.errors import DeviceLost, EngineDied, OutOfMemory
from evalkit.core.types import Generation, Prepared, Request, Response
from evalkit.engine.config import EngineConfig
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.planner import Budget, plan_requests, prefix_groups_of
from evalkit.engine.preprocessing_pool import Preparation, PreparedGroup, RequestGroups, prepare_all
from evalkit.engine.responses import error_of, response_of
from evalkit.inference.base import MAX_PREFILL_TOKENS, Decoder, Finished, PrefixGroup, generate_all
from evalkit.inference.counters import EngineCounters
from evalkit.models.base import Model

OnBatch = Callable[[list[Response]], None]
ResponseStream = Generator[tuple[int, list[Response]], None, None]
"""Batches of responses, each with the number of the model that gave it."""

DELIVERY_SECONDS = 0.5
"""How often finished responses are handed over while others are decoded."""

IDLE_SECONDS = 0.02
"""How long to sleep when no model has anything to do, and no group is there at the moment."""

MAX_RUNNING_SEQUENCES = 256
"""Samples answered at a time where the memory sets the limit: more make no decoding step faster."""


def run_requests(
    model: Model,
    requests: Sequence[Request],
    *,
    on_batch: OnBatch,
    workers: int = 1,
    batch_tokens: int | None = None,
    batch_size: int | None = None,
    optimizations: Optimizations | None = None,
    deterministic: bool = False,
    stats: EngineCounters | None = None,
) -> None:
    """Answer every request exactly once; ``on_batch`` gets responses as they are finished.

    Failures stay with their sample: a request that can't be prepared or answered gets a response whose
    finish reason is ``error``. What doesn't fit into memory is split, and from then on less is tried at a
    time. What a request is answered depends on none of this.

    Args:
        model: answers.
        requests: in any order; they are run longest first, those about the same media together.
        on_batch: called in this process; when it returns, its responses are safe.
        workers: see :class:`~evalkit.engine.config.EngineConfig`, as the three that follow.
        batch_tokens: limit on tokens.
        batch_size: limit on samples.
        optimizations: all of them unless told otherwise.
        deterministic: see :class:`~evalkit.engine.config.EngineConfig`.
        stats: counts are added to it.

    Raises:
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    config = EngineConfig(
        workers=workers,
        batch_tokens=batch_tokens,
        batch_size=batch_size,
        optimizations=optimizations or Optimizations(),
        deterministic=deterministic,
    )
    groups = plan_requests(model.info.preprocessor, [requests], config)
    # Closed here and now if the run is interrupted: its worker processes must not outlive it.
    with closing(generate_groups([model], groups, config, stats)) as batches:
        for _, batch in batches:
            on_batch(batch)


def generate_groups(
    models: Sequence[Model],
    groups: RequestGroups,
    config: EngineConfig,
    stats: EngineCounters | None = None,
) -> ResponseStream:
    """Answer groups of requests with several models in lockstep, whose preprocessors are equal.

    Each request is prepared once for all models that ask it, and the model that is furthest behind goes on
    first, so that little has to be kept for the others. Groups are taken from ``groups`` when there is room
    for them, not before.

    Raises:
        DeviceLost: a model failed, and nothing can be computed on its device any more, whatever the sample.
        EnvironmentProblem: what every request needs is missing, such as the video decoder.
    """
    first, stats = models[0].info.preprocessor, stats or EngineCounters()
    with closing(prepare_all(first, groups, config.workers, config.media_seconds)) as prepared:
        schedulers = [
            Scheduler(
                model=model,
                budget=_budget(model, config, len(models)),
                optimizations=config.enabled,
                deterministic=config.deterministic,
                stats=stats,
                incoming=map(partial(_for_model, number), own),
            )
            for number, (model, own) in enumerate(zip(models, tee(prepared, len(models)), strict=True))
        ]
        step_loops = [scheduler.step_loop() for scheduler in schedulers]
        going = dict(enumerate(schedulers))
        while going:
            number = min(going, key=lambda each: going[each].groups_taken)
            batch = next(step_loops[number], None)
            if batch is None:
                del going[number]
            elif batch:
                with stats.stage("store"):
                    yield number, batch
            elif all(each.starved for each in going.values()):
                time.sleep(IDLE_SECONDS)


def _budget(model: Model, config: EngineConfig, models: int) -> Budget:
    """How much one of several models may answer at a time."""
    if config.batch_tokens is not None:
        return Budget(max(1, config.batch_tokens // models), config.batch_size)
    return Budget(model.token_budget(models), config.batch_size or MAX_RUNNING_SEQUENCES)


KeyedPreparation = tuple[tuple[str, ...], Preparation]
"""What became of a request, and the keys under which one model asks it."""


def _for_model(number: int, prepared: PreparedGroup) -> list[KeyedPreparation]:
    """The part of a group that one model asks."""
    members = zip(prepared.group.members, prepared.results, strict=True)
    return [(keys, result) for member, result in members if (keys := member.keys_of(number))]


@dataclass
class _Sequence:
    """A prompt with its answer in progress; ``shares_prefix``: it was prefilled together with others."""

    keys: tuple[str, ...]
    item: Prepared
    seconds: float = 0.0
    shares_prefix: bool = False


@dataclass(kw_only=True)
class Scheduler:
    """One model's run: what is still to come, what is being answered, and what is not handed over yet.

    Attributes:
        incoming: prepared requests, group by group; an empty list says that there are none at the moment.
        groups_taken: how many groups were taken from ``incoming``.
        waiting: groups that are not prefilled yet.
        sequences: all that is waiting or running, by the identity of its prepared prompt.
        undelivered: finished responses.
        deterministic: see :class:`EngineConfig`.
        admitting: whether groups may join the running batch.
        running_peak: sequences running after the last prefill.
    """

    model: Model
    budget: Budget
    optimizations: Optimizations
    deterministic: bool = False
    stats: EngineCounters
    incoming: Iterator[list[KeyedPreparation]]
    groups_taken: int = 0
    exhausted: bool = False
    waiting: deque[PrefixGroup] = field(default_factory=deque)
    sequences: dict[int, _Sequence] = field(default_factory=dict)
    undelivered: list[Response] = field(default_factory=list)
    admitting: bool = True
    no_work: bool = False
    idle: bool = False
    running_peak: int = 0
    delivered_at: float = field(default_factory=time.monotonic)

    def step_loop(self) -> Iterator[list[Response]]:
        """Prefill or decode one step at a time until every request is answered; yields after each step what
        is to be handed over, which may be nothing.
        """
        decoder = self._new_decoder()
        try:
            while decoder.running or self.waiting or not self.exhausted:
                prefix_groups = self._admit(decoder)
                if prefix_groups or decoder.running:
                    self._run_step(decoder, prefix_groups)
                self.idle = not (decoder.running or self.waiting)
                late = time.monotonic() - self.delivered_at > DELIVERY_SECONDS
                yield self._take_undelivered() if self.idle or late else []
        except (Exception, KeyboardInterrupt):
            yield self._take_undelivered()
            raise
        yield self._take_undelivered()

    @property
    def starved(self) -> bool:
        """Whether its last step had nothing to do."""
        return self.no_work and self.idle

    def _admit(self, decoder: Decoder) -> list[PrefixGroup]:
        """The groups to prefill now: none while most of the running batch goes on, then one prefill call's
        worth at a time until the budget is used up.
        """
        running = len(decoder.running)
        if not running or (self.optimizations.continuous and 4 * running <= 3 * self.running_peak):
            self.admitting = True
        admitted: list[PrefixGroup] = []
        kept, to_read = decoder.tokens, 0
        while self.admitting and self._refill():
            group = self.waiting[0]
            if not self.budget.can_admit(kept, running, group):
                self.admitting = False
            elif admitted and (to_read + group.tokens > MAX_PREFILL_TOKENS or not self.optimizations.packing):
                break
            else:
                admitted.append(self.waiting.popleft())
                kept += group.max_tokens
                to_read += group.tokens
                running += len(group.items)
        return admitted

    def _refill(self) -> bool:
        """Whether a group is waiting; takes the next prepared ones if none is."""
        if not self.waiting and not self.exhausted:
            with self.stats.stage("wait"):
                prepared = next(self.incoming, None)
            self.groups_taken += 1
            self.exhausted = prepared is None
            self.no_work = prepared == []
            self._enqueue(prepared or [])
        return bool(self.waiting)

    def _enqueue(self, prepared: Sequence[KeyedPreparation]) -> None:
        """Queue what could be prepared; what could not is answered by its error."""
        items = []
        for keys, result in prepared:
            if isinstance(result, Prepared):
                self.sequences[id(result)] = _Sequence(keys, result)
                self.stats.seconds["prepare"] += result.seconds
                items.append(result)
            else:
                self.undelivered += [error_of(key, result.error) for key in keys]
        shared = self.optimizations.prefix
        self.waiting.extend(prefix_groups_of(items, self.budget.samples, shared=shared))

    def _run_step(self, decoder: Decoder, prefix_groups: Sequence[PrefixGroup]) -> None:
        """Prefill groups, or decode one token where there are none; whatever happens, no sequence is lost."""
        began = time.perf_counter()
        involved = [item for group in prefix_groups for item in group.items] or list(decoder.running)
        try:
            finished = decoder.add(prefix_groups) if prefix_groups else decoder.step()
        except EngineDied:
            raise
        except OutOfMemory as error:
            problem, memory = str(error), True
        except Exception as error:  # noqa: BLE001 - a sample that breaks the model must not take others with it
            self._check_device()
            problem, memory = f"{type(error).__name__}: {error}", False
        else:
            for group in prefix_groups:
                for item in group.items:
                    self.sequences[id(item)].shares_prefix = len(group.items) > 1
            self._collect(finished, involved, time.perf_counter() - began)
            self.running_peak = len(decoder.running) if prefix_groups else self.running_peak
            return
        # Outside the handlers: the exception's frames held the failed tensors until here.
        if not memory:
            if not prefix_groups:
                decoder.preempt(0)
            self._isolate(involved)
        elif prefix_groups:
            self._split_prefill(decoder, prefix_groups, problem)
        else:
            self._preempt(decoder, problem)

    def _collect(self, finished: Finished, involved: Sequence[Prepared], seconds: float) -> None:
        """Take finished answers; the step's time is shared evenly by the sequences in it."""
        for item in involved:
            self.sequences[id(item)].seconds += seconds / len(involved)
        for item, generation in finished:
            sequence = self.sequences[id(item)]
            if generation.error is not None and sequence.shares_prefix:
                # Numbers that are not finite spread through what is shared: it is answered anew, alone.
                sequence.shares_prefix = False
                self.waiting.append(PrefixGroup((item,), item.prefix))
                continue
            self._finish(sequence, generation, sequence.seconds)
            self.stats.counts["requests"] += len(sequence.keys)

    def _split_prefill(self, decoder: Decoder, prefix_groups: Sequence[PrefixGroup], problem: str) -> None:
        """A prefill did not fit: try half as much, then the prompts of one group alone, then one prompt in an
        empty memory.
        """
        self.stats.counts["splits"] += 1
        if len(prefix_groups) > 1:
            self.budget.lower(decoder.tokens + sum(group.max_tokens for group in prefix_groups))
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
        """Answer sequences one by one, to find the one that broke the model."""
        for item in items:
            began = time.perf_counter()
            try:
                finished = generate_all(self._new_decoder(), [PrefixGroup((item,), item.prefix)])
            except OutOfMemory as error:
                self._fail(item, f"it does not fit into memory alone: {error}")
            except EngineDied:
                raise
            except Exception as error:  # noqa: BLE001 - this one it was
                self._check_device()
                self._fail(item, f"{type(error).__name__}: {error}")
            else:
                self._collect(finished, [item], time.perf_counter() - began)

    def _check_device(self) -> None:
        """See :func:`generate_groups` for what it raises."""
        problem = self.model.device_problem()
        if problem is not None:
            raise DeviceLost(
                "the device that the model computes on is lost",
                f"nothing can be computed on it by this process any more: {problem}",
                "give the same command again: what was answered is kept. If it stops again, `--executor ray` "
                "(after `ray start --head`) starts the engine anew and leaves out a sample that breaks it",
            ) from None

    def _new_decoder(self) -> Decoder:
        enabled = self.optimizations
        return self.model.decoder(
            self.stats,
            uncached_vision=not enabled.vision,
            graphs=enabled.graphs,
            deterministic=self.deterministic,
        )

    def _fail(self, item: Prepared, problem: str) -> None:
        self._finish(self.sequences[id(item)], Generation("", (), "error", error=problem))

    def _finish(self, sequence: _Sequence, generation: Generation, seconds: float | None = None) -> None:
        """Have a sequence's answer delivered under each of its keys."""
        del self.sequences[id(sequence.item)]
        self.undelivered += [response_of(key, sequence.item, generation, seconds) for key in sequence.keys]

    def _take_undelivered(self) -> list[Response]:
        """What is finished, once."""
        responses, self.undelivered = self.undelivered, []
        self.delivered_at = time.monotonic()
        return responses
