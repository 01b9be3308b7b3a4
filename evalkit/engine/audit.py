"""Whether close calls were decided by the company they were answered in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from evalkit.engine.executors.base import Executor
from evalkit.engine.run import Settings
from evalkit.engine.techniques import Techniques
from evalkit.types import Request, Response


@dataclass(frozen=True)
class Audit:
    """Keys of the answers that were given again, and of those that came out differently."""

    repeated: list[str]
    different: list[str]


def audit(
    executor: Executor,
    requests: Sequence[Mapping[str, Request]],
    tokens: Sequence[Mapping[str, tuple[int, ...]]],
    settings: Settings,
) -> list[Audit]:
    """Answer requests again, each alone and without any technique of the engine.

    Args:
        executor: has the models loaded.
        requests: for every model, by key.
        tokens: the ids that were generated for each.
        settings: how they were answered before; of these only the preprocessing stays.
    """
    found: list[dict[str, Response]] = [{} for _ in requests]
    settings = replace(settings, batch_tokens=None, batch_size=1, techniques=Techniques.without("all"))
    with closing(executor.answers([list(each.values()) for each in requests], settings)) as answers:
        for number, batch in answers:
            found[number] |= {each.key: each for each in batch}
    return [
        Audit(list(asked), [key for key in asked if given[key].token_ids != ids[key]])
        for asked, given, ids in zip(requests, found, tokens, strict=True)
    ]
