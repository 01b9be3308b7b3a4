"""The planner: which requests are preprocessed together, which share a prefix, and in what order they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from evalkit.core.types import Prepared, Request
from evalkit.engine.config import EngineConfig
from evalkit.engine.media_scan import map_with_timeout
from evalkit.inference.base import PrefixGroup
from evalkit.models.base import Preprocessor, preprocessor_for

Consumer = tuple[int, str]
"""Number of a model, and the key under which it asks a request."""


@dataclass(frozen=True)
class SharedRequest:
    """A request and everyone who asks it: it is preprocessed once, and answered under each consumer's key."""

    request: Request
    consumers: tuple[Consumer, ...]

    def keys_of(self, model: int) -> tuple[str, ...]:
        """The keys under which one model asks it; usually one, none if only other models do."""
        return tuple(key for number, key in self.consumers if number == model)


@dataclass(frozen=True)
class RequestGroup:
    """Requests about the same media, preprocessed by one worker in one job.

    Attributes:
        members: at least one.
        prompt_tokens: of the longest prompt, as estimated.
        max_tokens: of the longest prompt with its new tokens.
    """

    members: tuple[SharedRequest, ...]
    prompt_tokens: int = 0
    max_tokens: int = 0

    @property
    def requests(self) -> list[Request]:
        """The requests alone."""
        return [member.request for member in self.members]


def plan_requests(
    preprocessor: Preprocessor, requests: Sequence[Sequence[Request]], config: EngineConfig
) -> list[RequestGroup]:
    """Group the requests of several models, in the order in which they are answered.

    Prompt lengths are estimated from the media's headers, in worker processes with a time limit. A request
    that can't be estimated in time counts no tokens: its preprocessing will fail and say why.
    """
    estimate = partial(_estimate, preprocessor)
    distinct = dict.fromkeys(request for own in requests for request in own if request.media)
    # Requests about one medium go to one worker, which remembers its header.
    by_media = [request for group in media_groups(distinct) for request in group]
    tokens = map_with_timeout(by_media, estimate, config.workers, config.media_seconds)
    known = dict(zip(by_media, tokens, strict=True))

    def tokens_of(request: Request) -> int:
        found = known[request] if request.media else estimate(request)
        return found if isinstance(found, int) else 0

    return group_requests(requests, tokens_of, by_media=config.optimizations.media)


def group_requests(
    requests: Sequence[Sequence[Request]], estimate: Callable[[Request], int], *, by_media: bool = True
) -> list[RequestGroup]:
    """The requests of several models (one sequence each) in groups: equal ones once, those about the same
    media together.

    Groups are in descending order of their longest request, so that what doesn't fit into memory shows at
    once, and neighbours in a batch are of similar length; ties keep their order. ``estimate`` gives the
    tokens of a prompt.
    """
    consumers: dict[Request, list[Consumer]] = {}
    for number, own in enumerate(requests):
        for request in own:
            consumers.setdefault(request, []).append((number, request.key))
    groups = []
    for members in media_groups(consumers) if by_media else [[each] for each in consumers]:
        tokens = [estimate(each) for each in members]
        most = max(count + each.max_new_tokens for count, each in zip(tokens, members, strict=True))
        shared = tuple(SharedRequest(each, tuple(consumers[each])) for each in members)
        groups.append(RequestGroup(shared, prompt_tokens=max(tokens), max_tokens=most))
    return sorted(groups, key=lambda group: -group.max_tokens)


def media_groups(requests: Iterable[Request]) -> list[list[Request]]:
    """Requests about the same media, shown in the same way, together, in the order of each group's first; a
    request without media is a group of its own.
    """
    groups: dict[object, list[Request]] = {}
    for request in requests:
        groups.setdefault((request.media, request.limits) if request.media else request, []).append(request)
    return list(groups.values())


def prefix_groups_of(
    items: Sequence[Prepared], max_samples: int | None, *, shared: bool = True
) -> Iterator[PrefixGroup]:
    """Prompts in groups with a common prefix: with ``shared``, those whose tokens are equal up to the last
    visual one, else each alone. A group has at most ``max_samples`` prompts.
    """
    alike: dict[object, list[Prepared]] = {}
    for item in items:
        prefix = item.input_ids[: item.prefix].tobytes() if shared and item.prefix else id(item)
        alike.setdefault(prefix, []).append(item)
    for members in alike.values():
        step = max_samples or len(members)
        for begin in range(0, len(members), step):
            yield PrefixGroup(tuple(members[begin : begin + step]), members[0].prefix)


def _estimate(preprocessor: Preprocessor, request: Request) -> int:
    """Estimated prompt tokens of a request; 0 where that fails: preprocessing will fail, too, and say why."""
    try:
        return preprocessor_for(preprocessor, request).estimate(request)
    except Exception:  # noqa: BLE001 - decoders raise anything on damaged files
        return 0


@dataclass
class Budget:
    """How much one model answers at a time: tokens (prompt and new ones) and samples; None is no limit.

    ``tokens`` only ever shrinks, when something didn't fit into memory.
    """

    tokens: int | None
    samples: int | None = None

    def can_admit(self, tokens: int, samples: int, prefix_group: PrefixGroup) -> bool:
        """Whether a group may join ``samples`` running ones that take up ``tokens``; the first always may."""
        if samples == 0:
            return True
        if self.samples is not None and samples + len(prefix_group.items) > self.samples:
            return False
        return self.tokens is None or tokens + prefix_group.max_tokens <= self.tokens

    def lower(self, tokens: int) -> None:
        """Note that ``tokens`` didn't fit: from now on at most half as many are tried."""
        half = max(1, tokens // 2)
        self.tokens = half if self.tokens is None else min(self.tokens, half)
