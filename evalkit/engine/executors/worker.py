"""The worker: an engine in another process or on another machine, which leases groups from the work queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.types import MediaRef, Request
from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.regular_files import read_regular
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.local import LocalExecutor
from evalkit.engine.planner import RequestGroup
from evalkit.engine.scheduler import ResponseStream, generate_groups
from evalkit.engine.worker_pool import start_fork_server
from evalkit.models.base import Model, ModelInfo

POLL_SECONDS = 0.02
"""How long to wait before asking a work queue again that had no group to lease."""

ReadFile = Callable[[str], bytes | None]
TakeGroup = Callable[[], tuple[RequestGroup | None, bool]]


class Worker:
    """An engine; Ray makes an actor of it."""

    def __init__(self, visible_devices: Sequence[str] | None, threads: int | None) -> None:
        if visible_devices is not None:  # before torch looks for GPUs
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible_devices)
        if threads is not None:  # before torch counts cores, and without importing it for a mock
            os.environ["OMP_NUM_THREADS"] = str(threads)
        self._executor = LocalExecutor()
        self._specs: list[ModelSpec] = []

    def describe(self, spec: ModelSpec) -> ModelInfo:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return self._executor.describe(spec)

    def load(self, specs: Sequence[ModelSpec], lockstep: bool) -> list[ModelInfo]:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        self._specs = []
        start_fork_server()
        model_infos = self._executor.load(specs, lockstep=lockstep)
        self._specs = list(specs[: len(model_infos)])
        return model_infos

    def generate(
        self,
        specs: Sequence[ModelSpec],
        config: EngineConfig,
        take: TakeGroup,
        read: ReadFile,
    ) -> ResponseStream:
        """Load what isn't loaded, and answer groups until there are no more.

        ``take`` leases the next group and says whether to ask again; ``read`` returns the content of a file
        on the driver's machine.
        """
        plain = [replace(spec, identity=None) for spec in specs]
        if self._specs != plain:
            loaded = self.load(plain, lockstep=len(specs) > 1)
            if len(loaded) < len(specs):
                raise EnvironmentProblem(
                    f"{len(specs)} models fit side by side into another engine's memory",
                    f"into this one's only {len(loaded)} do",
                    "give engines of one size, or switch this off by `--without lockstep`",
                )
        for spec, model in zip(specs, self._executor.models, strict=True):
            _check_same(spec, model)
        yield from generate_groups(self._executor.models, _leased_groups(take, read), config)


def _check_same(spec: ModelSpec, model: Model) -> None:
    """Refuse a model that is not the one the other engines loaded: a path may lead elsewhere here."""
    known, found = (model.info.identity if spec.identity is None else spec.identity), model.info.identity
    different = [name for name in {**known, **found} if known.get(name) != found.get(name)]
    if different:
        raise EnvironmentProblem(
            f"model `{spec.model}` is not the same for every engine",
            f"they differ in {', '.join(different)}, so their answers may",
            "give all machines the same files and versions, or leave this one out",
        )


def _leased_groups(take: TakeGroup, read: ReadFile) -> Iterator[RequestGroup | None]:
    """Groups as they are leased, their media on this machine; None while there are none."""
    refused = 0.0
    while True:
        if time.monotonic() - refused < POLL_SECONDS:
            yield None
            continue
        group, more = take()
        if group is None and not more:
            return
        if group is None:
            refused = time.monotonic()
            yield None
        else:
            here = (replace(each, request=with_local_media(each.request, read)) for each in group.members)
            yield replace(group, members=tuple(here))


def with_local_media(request: Request, read: ReadFile) -> Request:
    """The request with media on this machine: files that aren't are copied into its media cache."""
    return replace(request, media=tuple(_local_file(ref, read) for ref in request.media))


def _local_file(ref: MediaRef, read: ReadFile) -> MediaRef:
    if ref.path is None or Path(ref.path).exists():
        return ref
    cache = MediaCache(cache_root() / "media")
    data = read(ref.path)
    return ref if data is None else cache.to_file(replace(ref, path=None, data=data))


class DriverFiles:
    """Serves files of the driver's machine to workers on others; Ray makes an actor of it."""

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if it can't be read, which is reported when the medium is decoded."""
        try:
            return read_regular(path)
        except OSError:
            return None


def blocking_call(method: Any, *words: Any) -> Callable[..., Any]:
    """An actor's method as a function that waits for its result."""
    import ray

    def call(*more: Any) -> Any:
        return ray.get(method.remote(*words, *more))

    return call
