"""What runs in another process or on another machine: an engine that asks for work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.regular import read_regular
from evalkit.engine.crew import get_ready
from evalkit.engine.executors.base import Order
from evalkit.engine.executors.local import Local
from evalkit.engine.planner import Group
from evalkit.engine.run import Answers, Settings, answer_groups
from evalkit.errors import EnvironmentProblem
from evalkit.models.base import Card, Model
from evalkit.types import MediaRef, Request

ASK_SECONDS = 0.02
"""How long to leave a dealer alone that had nothing to give."""

Read = Callable[[str], bytes | None]


class Worker:
    """An engine; Ray makes an actor of it."""

    def __init__(self, visible: Sequence[str] | None, threads: int | None) -> None:
        if visible is not None:  # before torch looks for GPUs
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible)
        if threads is not None:  # before torch counts cores, and without importing it for a mock
            os.environ["OMP_NUM_THREADS"] = str(threads)
        self._local = Local()
        self._orders: list[Order] = []

    def describe(self, order: Order) -> Card:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        return self._local.describe(order)

    def load(self, orders: Sequence[Order], lockstep: bool) -> list[Card]:
        """See :class:`evalkit.engine.executors.base.Executor`."""
        self._orders = []
        get_ready()
        cards = self._local.load(orders, lockstep=lockstep)
        self._orders = list(orders[: len(cards)])
        return cards

    def answers(
        self,
        orders: Sequence[Order],
        settings: Settings,
        groups: Callable[[], tuple[Group | None, bool]],
        read: Read,
    ) -> Answers:
        """Load what isn't loaded, and answer groups until there are no more.

        ``groups`` gives the next group and whether to ask again, ``read`` what a file of the driver's
        machine holds.
        """
        plain = [replace(order, identity=None) for order in orders]
        if self._orders != plain:
            loaded = self.load(plain, lockstep=len(orders) > 1)
            if len(loaded) < len(orders):
                raise EnvironmentProblem(
                    f"{len(orders)} models fit side by side into another engine's memory",
                    f"into this one's only {len(loaded)} do",
                    "give engines of one size, or switch this off by `--without lockstep`",
                )
        for order, model in zip(orders, self._local.models, strict=True):
            _check_same(order, model)
        yield from answer_groups(self._local.models, _asked(groups, read), settings)


def _check_same(order: Order, model: Model) -> None:
    """What this engine loaded is what its fellows did: a path or a branch may mean another thing here."""
    known = order.identity if order.identity is not None else model.identity
    different = [name for name in {**known, **model.identity} if known.get(name) != model.identity.get(name)]
    if different:
        raise EnvironmentProblem(
            f"model `{order.model}` is not the same for every engine",
            f"they differ in {', '.join(different)}, so their answers may",
            "give all machines the same files and versions, or leave this one out",
        )


def _asked(groups: Callable[[], tuple[Group | None, bool]], read: Read) -> Iterator[Group | None]:
    """Groups as they are given, their media on this machine; None while there are none."""
    refused = 0.0
    while True:
        if time.monotonic() - refused < ASK_SECONDS:
            yield None
            continue
        group, more = groups()
        if group is None and not more:
            return
        if group is None:
            refused = time.monotonic()
            yield None
        else:
            yield replace(group, requests=[local(request, read) for request in group.requests])


def local(request: Request, read: Read) -> Request:
    """A request whose media are files of this machine: what isn't here is copied into its cache."""
    return replace(request, media=tuple(_local(ref, read) for ref in request.media))


def _local(ref: MediaRef, read: Read) -> MediaRef:
    if ref.path is None or Path(ref.path).exists():
        return ref
    cache = MediaCache(cache_root() / "media")
    data = read(ref.path)
    return ref if data is None else cache.to_file(replace(ref, path=None, data=data))


class Files:
    """Files of the driver's machine, for others; Ray makes an actor of it."""

    def read(self, path: str) -> bytes | None:
        """What a file holds; None if there is none, which is told when the medium is decoded."""
        try:
            return read_regular(path)
        except OSError:
            return None


def remote(method: Any, *words: Any) -> Callable[..., Any]:
    """An actor's method as a function that waits for its result."""
    import ray

    def call(*more: Any) -> Any:
        return ray.get(method.remote(*words, *more))

    return call
