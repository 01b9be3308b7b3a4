"""Engines in processes of their own, on the GPUs of this machine or of a Ray cluster.

The engines know nothing of each other: each takes groups of requests from one dealer and streams its
answers to the driver, which keeps none. One that dies is started again, and its groups are dealt anew.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evalkit.engine.dealer import Dealer
from evalkit.engine.executors.base import Order
from evalkit.engine.executors.seats import Seat
from evalkit.engine.executors.worker import Files, Worker, remote
from evalkit.engine.planner import Asker
from evalkit.engine.run import Answers, Settings, planned
from evalkit.errors import EnvironmentProblem, EvalkitError, UsageError
from evalkit.models.base import Card
from evalkit.provenance import usable_cores
from evalkit.types import Request, Response

Batch = tuple[int, list[Response]]

VAIN_DEATHS = 4
"""Deaths of an engine, one after another without an answer between, until its place is left empty."""

STORE_BYTES = 512 << 20
"""Shared memory of a Ray of our own: requests and answers pass through it, pixels don't."""


@dataclass
class RayEngines:
    """See :class:`evalkit.engine.executors.base.Executor`.

    Attributes:
        seats: one for each engine; none means all of a cluster.
        cluster: whether to go to a running cluster (``RAY_ADDRESS``) rather than to start one here.
        gpus_per_engine: GPUs of each engine in a cluster.
    """

    seats: list[Seat]
    cluster: bool = False
    gpus_per_engine: int = 1
    _started: bool = False
    _actors: dict[int, Any] = field(default_factory=dict)
    _orders: list[Order] = field(default_factory=list)
    _cards: list[Card] = field(default_factory=list)

    @property
    def cores(self) -> float:
        """See :class:`evalkit.engine.executors.base.Executor`; a cluster's machines are taken to be alike."""
        ray = self._ray()
        cores = ray.cluster_resources().get("CPU", 1) if self.cluster else usable_cores()
        return float(cores / len(self.seats))

    def load(self, orders: Sequence[Order], *, lockstep: bool) -> list[Card]:
        """See :class:`evalkit.engine.executors.base.Executor`; the other engines load when they begin."""
        self._ray()
        for number in range(len(self.seats)):
            self._actor(number)
        cards: list[Card] = self._asked("load", orders[0], self._taken(0, orders), lockstep)
        self._cards = cards
        self._orders = [
            replace(order, identity=card.identity) for order, card in zip(orders, cards, strict=False)
        ]
        return list(cards)

    def describe(self, order: Order) -> Card:
        """See :class:`evalkit.engine.executors.base.Executor`: what the first engine says, since the dtype
        may depend on its device.
        """
        self._ray()
        card: Card = self._asked("describe", order, *self._taken(0, [order]))
        return card

    def _asked(self, method: str, order: Order, *words: Any) -> Any:
        """What the first engine returns."""
        ray = self._ray()
        try:
            return ray.get(getattr(self._actor(0), method).remote(*words))
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except ray.exceptions.RayActorError as error:
            self.stop(0)
            raise EnvironmentProblem(
                f"the engine died while it loaded `{order.model}`",
                str(error).splitlines()[0],
                "give it more memory, or run with `--executor local` to see why",
            ) from None

    def answers(self, requests: Sequence[Sequence[Request]], settings: Settings) -> Answers:
        """See :func:`evalkit.engine.run.answers`; order and batches depend on which engine is free."""
        groups = planned(self._cards[0].preprocessor, requests, settings)
        dealer = self._here(Dealer, groups, len(self.seats))
        run = _Run(self, settings, dealer, self._here(Files))
        try:
            yield from run.answers(sum(map(len, requests)))
        except BaseException as error:  # interrupted, too: what still runs would answer for nobody
            for number in list(self._actors):
                self.stop(number)
            if isinstance(error, _imported().exceptions.RayError):
                raise _broken(error) from None
            raise

    def close(self) -> None:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        for number in list(self._actors):
            self.stop(number)
        if self._started:
            self._ray().shutdown()
            self._started = False

    def begin(self, number: int, settings: Settings, dealer: Any, files: Any, life: int) -> Any:
        """Have an engine answer; returns the stream of its batches."""
        orders = self._taken(number, self._orders)
        groups = remote(dealer.take, number, life)
        method = self._actor(number).answers.options(num_returns="streaming")
        return method.remote(orders, settings, groups, remote(files.read))

    def _taken(self, number: int, orders: Sequence[Order]) -> list[Order]:
        return [self.seats[number].taken_by(order) for order in orders]

    def _actor(self, number: int) -> Any:
        """The engine in a place."""
        if number not in self._actors:
            seat = self.seats[number]
            cpus = int(self.cluster)
            maker = self._ray().remote(num_cpus=cpus, num_gpus=seat.gpus, max_restarts=0)(Worker)
            self._actors[number] = maker.remote(seat.visible, self._threads(seat))
        return self._actors[number]

    def _threads(self, seat: Seat) -> int | None:
        """Threads of an engine's arithmetic; Ray itself would leave it one."""
        own = os.environ.get("OMP_NUM_THREADS")
        return int(own) if own else max(1, int(self.cores)) if seat.device == "cpu" else None

    def stop(self, number: int) -> None:
        """End an engine, however it is; the next thing asked of it starts it anew."""
        self._ray().kill(self._actors.pop(number))

    def _here(self, kind: type, *words: Any) -> Any:
        """An actor on the driver's machine, which takes no processor of its own."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = self._ray()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ray.remote(num_cpus=0, scheduling_strategy=here)(kind).remote(*words)

    def _ray(self) -> Any:
        """Ray, running."""
        ray = _imported()
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # clusters have no internet
            _connect(ray, self.cluster)
            self._started = True
        if not self.seats:
            self.seats = _places(ray, self.gpus_per_engine)
        return ray


@dataclass
class _Run:
    """One call of :meth:`RayEngines.answers`: which engines are at work, and how often each died."""

    engines: RayEngines
    settings: Settings
    dealer: Any
    files: Any
    streams: dict[Any, int] = field(default_factory=dict)
    lives: dict[int, int] = field(default_factory=dict)
    vain: dict[int, int] = field(default_factory=dict)
    problem: EvalkitError | None = None

    def answers(self, left: int) -> Answers:
        """Batches of all engines, as they come, until ``left`` answers are there."""
        ray = _imported()
        self.lives = dict.fromkeys(range(len(self.engines.seats)), 0)
        self._begin_all()
        while left:
            if not self.streams:
                raise self.problem or EnvironmentProblem(
                    "all engines died again and again",
                    "out of memory, or a crash in a library",
                    "see the logs of Ray's workers, or run with `--executor local`",
                )
            stream = ray.wait(list(self.streams), num_returns=1)[0][0]
            for number, batch in self._received(stream):
                left -= len(batch)
                yield number, batch

    def _received(self, stream: Any) -> list[Batch]:
        """What one engine has to say."""
        ray, engine = _imported(), self.streams[stream]
        try:
            number, batch = ray.get(next(stream))
        except StopIteration:
            del self.streams[stream]
            if ray.get(self.dealer.waiting.remote()):  # what another engine held when it died
                self._begin_all()
            return []
        except ray.exceptions.RayTaskError as error:
            del self.streams[stream]
            cause = _cause(error)
            if isinstance(cause, EvalkitError):
                return self._left(engine, cause)
            return self._died(engine, f"{type(cause).__name__}: {cause}")
        except ray.exceptions.RayError as error:
            del self.streams[stream]
            return self._died(engine, str(error).splitlines()[0])
        self.vain[engine] = 0
        self.dealer.delivered.remote(engine, [(number, response.key) for response in batch])
        return [(number, batch)]

    def _died(self, engine: int, why: str) -> list[Batch]:
        """Start an engine again, have its groups dealt anew, and give errors to what killed it too often."""
        given_up: list[Asker] = _imported().get(self.dealer.lost.remote(engine))
        self.lives[engine] += 1
        self.vain[engine] = 0 if given_up else self.vain.get(engine, 0) + 1
        self.engines.stop(engine)
        if self.vain[engine] >= VAIN_DEATHS:
            warnings.warn(f"engine {engine} died again and is given up: {why}", stacklevel=2)
            del self.lives[engine]
        else:
            warnings.warn(f"engine {engine} died and is started again: {why}", stacklevel=2)
        self._begin_all()
        text = f"an engine died whenever it was answered (out of memory, or a crash in a library): {why}"
        return [(number, [Response(key, "", (), "error", text)]) for number, key in given_up]

    def _left(self, engine: int, problem: EvalkitError) -> list[Batch]:
        """Go on without an engine whose machine lacks something."""
        _imported().get(self.dealer.lost.remote(engine, blame=False))
        del self.lives[engine]
        self.problem = problem
        if self.lives:
            warnings.warn(f"engine {engine} is left out: {problem.what}: {problem.why}", stacklevel=2)
        self._begin_all()
        return []

    def _begin_all(self) -> None:
        """Have all engines at work that aren't."""
        busy = set(self.streams.values())
        for engine, life in self.lives.items():
            if engine not in busy:
                stream = self.engines.begin(engine, self.settings, self.dealer, self.files, life)
                self.streams[stream] = engine


def _imported() -> Any:
    try:
        import ray
    except ImportError:
        raise EnvironmentProblem(
            "several engines need Ray", "it is not installed", "pip install 'evalkit[ray]'"
        ) from None
    return ray


def _connect(ray: Any, cluster: bool) -> None:
    if not cluster:
        ray.init(
            address="local",
            num_cpus=usable_cores(),
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=STORE_BYTES,
        )
        return
    address = os.environ.get("RAY_ADDRESS", "auto")
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS is `{address}`",
            "answers can't be streamed through Ray's client",
            "start evalkit on a machine of the cluster (`ray job submit`), with `RAY_ADDRESS=auto`",
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EnvironmentProblem(
            f"no Ray cluster at `{address}`",
            str(error).splitlines()[0],
            "start one by `ray start --head`, and say where it is in RAY_ADDRESS",
        ) from None


def _places(ray: Any, gpus: int) -> list[Seat]:
    """As many engines as a cluster has GPUs for; without GPUs, one on each machine."""
    total = int(ray.cluster_resources().get("GPU", 0))
    if total == 0:
        return [Seat("cpu") for node in ray.nodes() if node["Alive"]]
    if total < gpus:
        raise UsageError(
            f"`--gpus-per-engine {gpus}`", f"the cluster has {total} GPUs", "ask for fewer, or add machines"
        )
    return [Seat("cuda", gpus=gpus)] * (total // gpus)


def _broken(error: BaseException) -> EnvironmentProblem:
    return EnvironmentProblem(
        "Ray, which the engines run on, broke down",
        str(error).splitlines()[0],
        "give the same command again: what was answered is kept",
    )


def _cause(error: Any) -> BaseException:
    """What was raised in the other process."""
    cause: BaseException = error.cause if isinstance(error.cause, BaseException) else error
    return cause
