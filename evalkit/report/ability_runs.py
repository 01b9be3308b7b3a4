"""The curves of drawn abilities in finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from evalkit.core.errors import UsageError
from evalkit.report.ability import Ability, abilities, ability
from evalkit.report.ability_seeds import grouped
from evalkit.report.differences import find_arm
from evalkit.report.gather import gather
from evalkit.report.seed_rows import GroupBy, group_seeds


def probe(
    *runs: str | Path,
    baseline: str | None = None,
    allow_mismatch: bool = False,
    labels: Mapping[str, str] | None = None,
    group_by: GroupBy | None = None,
) -> list[Ability]:
    """The curves of all drawn abilities (``--tasks probe``) of finished runs, the area under them, and the
    level at which they fall halfway to chance (:mod:`evalkit.report.ability`).

    With a ``baseline`` (a system's name or variant), differences to it are added. ``allow_mismatch``,
    ``labels`` and ``group_by`` (training seeds as one curve, :mod:`evalkit.report.ability_seeds`) are as for
    :func:`evalkit.api.compare`.

    Raises:
        UsageError: as for :func:`evalkit.api.compare`, or no benchmark of the runs has a knob.
    """
    gathered = gather(runs, allow_mismatch, {} if group_by else labels or {})
    found = gathered.comparison
    groups = group_seeds(gathered, group_by, labels or {}) if group_by else None
    base = None if baseline is None else find_arm(groups.arms if groups else found.arms, baseline).name
    make = grouped(groups.members, base) if groups else partial(ability, baseline=base)
    curves = abilities(found.columns, gathered.records, make)
    if not curves:
        raise UsageError(
            "no curve to show",
            "no benchmark of these runs has a knob",
            "run some that do: `evalkit run ... --tasks probe`",
        )
    return curves
