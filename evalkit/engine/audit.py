"""The audit: whether an answer with a small margin depends on the batch that it was generated in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from evalkit.core.types import Request, Response
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import Executor
from evalkit.engine.optimizations import Optimizations


@dataclass(frozen=True)
class AuditResult:
    """Keys of the answers that were given again, and of those that came out differently."""

    repeated: list[str]
    different: list[str]


def audit(
    executor: Executor,
    requests: Sequence[Mapping[str, Request]],
    tokens: Sequence[Mapping[str, tuple[int, ...]]],
    config: EngineConfig,
) -> list[AuditResult]:
    """Answer requests again, each alone and without any optimization of the engine.

    Args:
        executor: has the models loaded.
        requests: for every model, by key.
        tokens: the ids that were generated for each.
        config: how they were answered before; of this only the preprocessing stays.
    """
    found: list[dict[str, Response]] = [{} for _ in requests]
    config = replace(config, batch_tokens=None, batch_size=1, optimizations=Optimizations.without("all"))
    with closing(executor.generate([list(each.values()) for each in requests], config)) as answers:
        for number, batch in answers:
            found[number] |= {each.key: each for each in batch}
    return [
        AuditResult(list(asked), [key for key in asked if given[key].token_ids != ids[key]])
        for asked, given, ids in zip(requests, found, tokens, strict=True)
    ]
