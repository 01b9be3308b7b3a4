"""MHRoPE or MRoPE-I for the tasks of stored runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evalkit.diagnose.choice import Choice, choose
from evalkit.diagnose.choice_inputs import head_of_arms, read_diagnosis
from evalkit.report.gather import gather


def choose_for_runs(
    *runs: str | Path,
    weights: Mapping[str, float] | None = None,
    allow_mismatch: bool = False,
    diagnostics: Sequence[str | Path] = (),
    kv_heads: int | None = None,
    context: int | None = None,
) -> Choice:
    """What :func:`~evalkit.diagnose.choice.choose` says of finished runs.

    ``diagnostics`` are files that ``evalkit diagnose`` wrote, ``kv_heads`` the model's key-value heads, if
    they are not those of the runs' checkpoints, ``context`` the tokens that are needed.

    Raises:
        UsageError: as for :func:`evalkit.api.advise`, or a file is no diagnosis.
    """
    stored = [read_diagnosis(Path(path)) for path in diagnostics]
    gathered = gather(runs, allow_mismatch)
    head = head_of_arms(gathered.comparison.arms, kv_heads)
    return choose(gathered, weights, head, kv_heads, context, stored)
