"""The curves of drawn abilities in finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalkit.core.errors import UsageError
from evalkit.report.ability import Ability, abilities
from evalkit.report.differences import find_arm
from evalkit.report.gather import gather


def probe(
    *runs: str | Path,
    baseline: str | None = None,
    allow_mismatch: bool = False,
    labels: Mapping[str, str] | None = None,
) -> list[Ability]:
    """The curves of all drawn abilities (``--tasks probe``) of finished runs, the area under them, and the
    level at which they fall halfway to chance (:mod:`evalkit.report.ability`).

    With a ``baseline`` (a system's name or variant), differences to it are added. ``allow_mismatch`` and
    ``labels`` are as for :func:`evalkit.api.compare`.

    Raises:
        UsageError: as for :func:`evalkit.api.compare`, or no benchmark of the runs has a knob.
    """
    gathered = gather(runs, allow_mismatch, labels or {})
    found = gathered.comparison
    base = None if baseline is None else find_arm(found.arms, baseline).name
    curves = abilities(found.columns, gathered.records, base)
    if not curves:
        raise UsageError(
            "no curve to show",
            "no benchmark of these runs has a knob",
            "run some that do: `evalkit run ... --tasks probe`",
        )
    return curves
