"""The audit: whether an answer with a small margin depends on the batch that it was generated in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace

from evalkit.core.types import Request
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import Executor
from evalkit.engine.optimizations import Optimizations


def audit(
    executor: Executor,
    requests: Sequence[Sequence[Request]],
    tokens: Mapping[str, tuple[int, ...]],
    config: EngineConfig,
) -> list[list[str]]:
    """Answer requests again, each alone and without any optimization of the engine.

    Args:
        executor: has the models loaded.
        requests: for every model.
        tokens: the ids that were generated for each request, by key.
        config: how they were answered before; of this only the preprocessing stays.

    Returns:
        For every model, the keys of the answers that came out differently.
    """
    again: list[dict[str, tuple[int, ...]]] = [{} for _ in requests]
    config = replace(config, batch_tokens=None, batch_size=1, optimizations=Optimizations.without("all"))
    with closing(executor.generate(requests, config)) as batches:
        for number, batch in batches:
            again[number] |= {each.key: each.token_ids for each in batch}
    return [
        [each.key for each in own if found[each.key] != tokens[each.key]]
        for own, found in zip(requests, again, strict=True)
    ]
