"""Whether close calls were decided by the company they were answered in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalkit.engine.run import run_requests
from evalkit.engine.techniques import Techniques
from evalkit.models.base import Model
from evalkit.types import Request, Response


@dataclass(frozen=True)
class Audit:
    """Keys of the answers that were given again, and of those that came out differently."""

    repeated: list[str]
    different: list[str]


def audit(
    model: Model, requests: Mapping[str, Request], tokens: Mapping[str, tuple[int, ...]], workers: int
) -> Audit:
    """Answer requests again, each alone and without any technique of the engine.

    Args:
        model: what answered them.
        requests: by key.
        tokens: the ids that were generated for each.
        workers: preprocessing processes.
    """
    found: dict[str, Response] = {}
    run_requests(
        model,
        list(requests.values()),
        on_batch=lambda batch: found.update({each.key: each for each in batch}),
        workers=workers,
        batch_size=1,
        techniques=Techniques.without("all"),
    )
    different = [key for key in requests if found[key].token_ids != tokens[key]]
    return Audit(list(requests), different)
