"""Abilities as benchmarks."""

from __future__ import annotations

from functools import partial

from evalkit.core.task import Row, Task
from evalkit.core.types import Category
from evalkit.probe.dataset import ProbeDataset, ability, meta, place, prompt


def probe_task(
    *,
    name: str,
    category: Category,
    title: str,
    notes: str,
    tags: tuple[str, ...] = ("probe",),
    citation: str = "",
) -> Task:
    """The benchmark of an ability.

    Items with the same number make a unit over all levels, so that a limit takes the same ones of each.
    """
    own = ability(name)
    levels = ", ".join(f"{level:,}" for level in own.levels)
    low, high = (own.chance(level) for level in (own.levels[0], own.levels[-1]))
    chance = f"{low:.3g}" if low == high else f"{low:.3g} at the first level, {high:.3g} at the last"
    groups = {own.knob: lambda row: str(row["level"])}
    if name == "probe_vruler":
        groups["subtask"] = lambda row: str(row["item"].subtask)
    return Task(
        name=name,
        category=category,
        title=title,
        dataset=ProbeDataset(name),
        prompt=prompt,
        reference=lambda row: row["item"].answer,
        id=_id,
        cluster=_id,
        unit=lambda row: f"{name}-{row['number']}",
        groups=groups,
        meta=meta,
        links={"probe": partial(place, own)},
        metric=own.metric,
        max_new_tokens=own.max_new_tokens,
        size=len(own.levels) * own.items,
        ci=10 * len(own.levels),
        tags=tags,
        licence="Apache-2.0",
        citation=citation,
        notes=f"{notes} Knob: {own.knob} ({levels}); {own.items} items a level; chance: {chance}.",
    )


def _id(row: Row) -> str:
    return f"{row['level']}-{row['number']}"
