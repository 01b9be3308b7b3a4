"""The executor with several engines: Ray actors on the GPUs of this machine or of a cluster.

The engines know nothing of each other: each leases groups of requests from one work queue and streams its
answers to the driver. One that dies is started again, and its groups return to the queue.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evalkit.core.errors import DeviceLost, EngineDied, EnvironmentProblem, EvalkitError, UsageError
from evalkit.core.provenance import usable_cores
from evalkit.core.types import Request, Response
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.device_groups import DeviceGroup
from evalkit.engine.executors.ray_watch import SETTINGS, START_SECONDS, RayWatch, ray_failure, time_limit
from evalkit.engine.executors.worker import DriverFiles, Worker, blocking_call
from evalkit.engine.planner import Consumer, plan_requests
from evalkit.engine.responses import error_of
from evalkit.engine.scheduler import ResponseStream
from evalkit.engine.work_queue import WorkQueue
from evalkit.models.base import ModelInfo

Batch = tuple[int, list[Response]]

MAX_FRUITLESS_DEATHS = 4
"""Deaths of an engine in a row, without an answer between, until it is not started again."""

MAX_GIVEN_UP = 8
"""Requests given up in a row, without an answer between, until not they but the engines are the cause."""

STORE_BYTES = 512 << 20
"""Shared memory of a Ray of our own: requests and answers pass through it, pixels don't."""


@dataclass
class RayExecutor:
    """See :class:`evalkit.engine.executors.base.Executor`.

    Attributes:
        device_groups: one for each engine; none means all of a cluster.
        cluster: whether to go to a running cluster (``RAY_ADDRESS``) rather than to start one here.
        gpus_per_engine: GPUs of each engine in a cluster.
    """

    device_groups: list[DeviceGroup]
    cluster: bool = False
    gpus_per_engine: int = 1
    _started: bool = False
    _watch: RayWatch | None = None
    _actors: dict[int, Any] = field(default_factory=dict)
    _specs: list[ModelSpec] = field(default_factory=list)
    _model_infos: list[ModelInfo] = field(default_factory=list)

    @property
    def cores(self) -> float:
        """See :class:`evalkit.engine.executors.base.Executor`; a cluster's machines are taken to be alike."""
        if self.cluster:
            with time_limit("asking for the cluster's processors", START_SECONDS):
                cores = self._ray().cluster_resources().get("CPU", 1)
        else:
            cores = usable_cores()
        return float(cores / len(self.device_groups))

    def load(self, specs: Sequence[ModelSpec], *, lockstep: bool) -> list[ModelInfo]:
        """See :class:`evalkit.engine.executors.base.Executor`; the other engines load when they begin."""
        self._ray()
        for number in range(len(self.device_groups)):
            self._actor(number)
        model_infos: list[ModelInfo] = self._call_first("load", specs[0], self._placed(0, specs), lockstep)
        self._model_infos = model_infos
        self._specs = [
            replace(spec, identity=model_info.identity)
            for spec, model_info in zip(specs, model_infos, strict=False)
        ]
        return list(model_infos)

    def describe(self, spec: ModelSpec) -> ModelInfo:
        """See :class:`evalkit.engine.executors.base.Executor`: what the first engine says, since the dtype
        may depend on its device.
        """
        self._ray()
        model_info: ModelInfo = self._call_first("describe", spec, *self._placed(0, [spec]))
        return model_info

    def _call_first(self, method: str, spec: ModelSpec, *words: Any) -> Any:
        """What the first engine returns."""
        ray = self._ray()
        try:
            return self.watch.get(getattr(self._actor(0), method).remote(*words))
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from None
        except ray.exceptions.RayActorError as error:
            self.stop(0)
            raise EnvironmentProblem(
                f"the engine died while it loaded `{spec.model}`",
                _first_line(error),
                "give it more memory, or run with `--executor local` to see why",
            ) from None

    def generate(self, requests: Sequence[Sequence[Request]], config: EngineConfig) -> ResponseStream:
        """See :class:`evalkit.engine.executors.base.Executor`; batches depend on which engine is free."""
        groups = plan_requests(self._model_infos[0].preprocessor, requests, config)
        work_queue = self._on_driver(WorkQueue, groups, len(self.device_groups))
        dispatch = _Dispatch(
            engines=self, config=config, work_queue=work_queue, files=self._on_driver(DriverFiles)
        )
        try:
            yield from dispatch.batches(sum(map(len, requests)))
        except BaseException as error:  # an interrupt, too: engines must not go on without a driver
            for number in list(self._actors):
                self.stop(number)
            if isinstance(error, _imported().exceptions.RayError):
                raise ray_failure(_first_line(error)) from None
            raise

    def close(self) -> None:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        for number in list(self._actors):
            self.stop(number)
        if self._started:
            self.watch.stop()
            with time_limit("ending it", START_SECONDS):
                _imported().shutdown()
            self._started, self._watch = False, None

    def start_stream(
        self, number: int, config: EngineConfig, *, work_queue: Any, files: Any, incarnation: int
    ) -> Any:
        """Have an engine answer; returns the stream of its batches."""
        specs = self._placed(number, self._specs)
        take = blocking_call(work_queue.take, number, incarnation)
        method = self._actor(number).generate.options(num_returns="streaming")
        return method.remote(specs, config, take, blocking_call(files.read))

    def _placed(self, number: int, specs: Sequence[ModelSpec]) -> list[ModelSpec]:
        return [self.device_groups[number].assign(spec) for spec in specs]

    def _actor(self, number: int) -> Any:
        """The engine on a device group, started if it isn't."""
        if number not in self._actors:
            device_group = self.device_groups[number]
            cpus = int(self.cluster)
            maker = self._ray().remote(num_cpus=cpus, num_gpus=device_group.gpus, max_restarts=0)(Worker)
            with time_limit("starting an engine", START_SECONDS):
                self._actors[number] = maker.remote(device_group.visible_devices, self._threads(device_group))
        return self._actors[number]

    def _threads(self, device_group: DeviceGroup) -> int | None:
        """Threads of an engine's arithmetic; Ray itself would leave it one."""
        own = os.environ.get("OMP_NUM_THREADS")
        return int(own) if own else max(1, int(self.cores)) if device_group.device == "cpu" else None

    def stop(self, number: int) -> None:
        """End an engine, however it is; the next thing asked of it starts it anew."""
        with time_limit("ending an engine", START_SECONDS):
            self._ray().kill(self._actors.pop(number))

    def _on_driver(self, kind: type, *words: Any) -> Any:
        """An actor on the driver's machine, which reserves no processor."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ray = self._ray()
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        with time_limit("starting the work queue", START_SECONDS):
            return ray.remote(num_cpus=0, scheduling_strategy=here)(kind).remote(*words)

    @property
    def watch(self) -> RayWatch:
        """What waits for Ray, running."""
        ray = self._ray()
        if self._watch is None:
            self._watch = RayWatch(ray)
        return self._watch

    def _ray(self) -> Any:
        """Ray, running."""
        ray = _imported()
        with time_limit("starting it", START_SECONDS):
            if not ray.is_initialized():
                _connect(ray, self.cluster)
                self._started = True
            if not self.device_groups:
                self.device_groups = _cluster_device_groups(ray, self.gpus_per_engine)
        return ray


@dataclass(kw_only=True)
class _Dispatch:
    """One call of :meth:`RayExecutor.generate`: which engines are at work (by their streams), how often each
    died, and how often in a row without an answer; requests ``given_up`` since the last answer, and why the
    last engine died.
    """

    engines: RayExecutor
    config: EngineConfig
    work_queue: Any
    files: Any
    streams: dict[Any, int] = field(default_factory=dict)
    incarnations: dict[int, int] = field(default_factory=dict)
    fruitless: dict[int, int] = field(default_factory=dict)
    given_up: int = 0
    why: str = ""
    problem: EvalkitError | None = None

    def batches(self, left: int) -> ResponseStream:
        """Batches of all engines, as they come, until ``left`` answers are there."""
        self.incarnations = dict.fromkeys(range(len(self.engines.device_groups)), 0)
        self._start_idle()
        while left:
            if not self.streams:
                raise self.problem or self._death_of_all()
            for number, batch in self._receive(self.engines.watch.wait(list(self.streams))):
                left -= len(batch)
                yield number, batch

    def _receive(self, stream: Any) -> list[Batch]:
        """The next batch of one engine, or what comes of its end."""
        ray, engine = _imported(), self.streams[stream]
        try:
            number, batch = self.engines.watch.get(next(stream))
        except StopIteration:
            del self.streams[stream]
            if self.engines.watch.get(
                self.work_queue.unleased.remote()
            ):  # what another engine held when it died
                self._start_idle()
            return []
        except ray.exceptions.RayTaskError as error:
            del self.streams[stream]
            cause = _cause(error)
            if isinstance(cause, DeviceLost):  # a new process may use it again
                return self._restart(engine, cause.why)
            if isinstance(cause, EvalkitError) and not isinstance(cause, EngineDied):
                return self._drop(engine, cause)
            return self._restart(engine, f"{type(cause).__name__}: {cause}")
        except ray.exceptions.RayError as error:
            del self.streams[stream]
            return self._restart(engine, _first_line(error))
        if not all(response.error for response in batch):
            self.fruitless[engine] = self.given_up = 0
        self.work_queue.complete.remote(engine, [(number, response.key) for response in batch])
        return [(number, batch)]

    def _restart(self, engine: int, why: str) -> list[Batch]:
        """Start an engine again and return its groups to the queue; a request that killed it too often gets
        an error.

        Raises:
            EnvironmentProblem: so did one request after the other: no engine answers any.
        """
        given_up: list[Consumer] = self.engines.watch.get(self.work_queue.release.remote(engine))
        self.incarnations[engine] += 1
        self.fruitless[engine] = 0 if given_up else self.fruitless.get(engine, 0) + 1
        self.given_up += len(given_up)
        self.why = why
        self.engines.stop(engine)
        if self.given_up > MAX_GIVEN_UP:
            raise self._death_of_all()
        if self.fruitless[engine] >= MAX_FRUITLESS_DEATHS:
            warnings.warn(f"engine {engine} died again and is given up: {why}", stacklevel=2)
            del self.incarnations[engine]
        else:
            warnings.warn(f"engine {engine} died and is started again: {why}", stacklevel=2)
        self._start_idle()
        text = f"an engine died whenever it was answered (out of memory, or a crash in a library): {why}"
        return [(number, [error_of(key, text)]) for number, key in given_up]

    def _death_of_all(self) -> EnvironmentProblem:
        return EnvironmentProblem(
            "all engines died again and again",
            f"none answers anything more; the last said: {self.why}",
            "see to the device and to the logs of Ray's workers, and give the same command again: what was "
            "answered is kept",
        )

    def _drop(self, engine: int, problem: EvalkitError) -> list[Batch]:
        """Go on without an engine whose machine lacks something."""
        self.engines.watch.get(self.work_queue.release.remote(engine, count_death=False))
        del self.incarnations[engine]
        self.problem = problem
        if self.incarnations:
            warnings.warn(f"engine {engine} is left out: {problem.what}: {problem.why}", stacklevel=2)
        self._start_idle()
        return []

    def _start_idle(self) -> None:
        """Have all engines at work that aren't."""
        busy = set(self.streams.values())
        for engine, incarnation in self.incarnations.items():
            if engine not in busy:
                stream = self.engines.start_stream(
                    engine,
                    self.config,
                    work_queue=self.work_queue,
                    files=self.files,
                    incarnation=incarnation,
                )
                self.streams[stream] = engine


def _imported() -> Any:
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise EnvironmentProblem(
            "several engines need Ray", "it is not installed", "pip install 'evalkit[ray]'"
        ) from None
    return ray


def _connect(ray: Any, cluster: bool) -> None:
    if not cluster:
        try:
            ray.init(
                address="local",
                num_cpus=usable_cores(),
                num_gpus=0,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                object_store_memory=STORE_BYTES,
            )
        except Exception as error:  # noqa: BLE001 - Ray raises a bare one when its own processes don't start
            raise EnvironmentProblem(
                "Ray, which the engines run on, did not start",
                _first_line(error),
                "repeat the command; the logs in Ray's session folder say more",
            ) from None
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
            _first_line(error),
            "start one by `ray start --head`, and say where it is in RAY_ADDRESS",
        ) from None


def _cluster_device_groups(ray: Any, gpus: int) -> list[DeviceGroup]:
    """As many engines as a cluster has GPUs for; without GPUs, one on each machine."""
    total = int(ray.cluster_resources().get("GPU", 0))
    if total == 0:
        return [DeviceGroup("cpu") for node in ray.nodes() if node["Alive"]]
    if total < gpus:
        raise UsageError(
            f"`--gpus-per-engine {gpus}`", f"the cluster has {total} GPUs", "ask for fewer, or add machines"
        )
    return [DeviceGroup("cuda", gpus=gpus)] * (total // gpus)


def _first_line(error: BaseException) -> str:
    """What an error says in one line; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _cause(error: Any) -> BaseException:
    """What was raised in the other process."""
    cause: BaseException = error.cause if isinstance(error.cause, BaseException) else error
    return cause
