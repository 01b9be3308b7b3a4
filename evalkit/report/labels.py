"""Labels: what tables call arms. They are for display alone, and change neither an identity nor a score."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evalkit.config.model_option import check_unique
from evalkit.core.errors import UsageError
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.differences import find_arm

Labels = Mapping[str, str]
"""Labels by name, variant, model or beginning of the name of an arm."""

_UNIQUE = (
    "label one otherwise (`--label NAME=LABEL`); training seeds of one method go into one row by "
    "`--group-by label`"
)


def with_labels(arms: Sequence[Arm], labels: Labels, several: bool = False) -> list[Arm]:
    """The arms with labels from the command line over those of their runs. ``several``: a name may be a
    pattern, and one label may be given to many.

    Raises:
        UsageError: a name is that of no arm, or of several.
    """
    found = {arm.name: arm for arm in arms}
    for name, label in labels.items():
        matching = [arm for arm in arms if any(fnmatch.fnmatchcase(text, name) for text in _texts(arm))]
        chosen = matching if several and matching else [find_arm(arms, name)]
        found |= {arm.name: replace(found[arm.name], label=label) for arm in chosen}
    return list(found.values())


def shown_names(arms: Sequence[Arm]) -> dict[str, str]:
    """What tables show for each arm, by its name: its label if it has one.

    Raises:
        UsageError: two arms have one label, or one has another's name or variant for a label.
    """
    check_unique([(arm.name, arm.label) for arm in arms if arm.label], _UNIQUE)
    for arm in arms:
        other = next((each for each in arms if each is not arm and arm.label in (each.name, each.rope)), None)
        if arm.label and other is not None and arm.label != arm.rope:
            raise UsageError(
                f"label `{arm.label}` of `{arm.name}`",
                f"it is a name of `{other.name}`",
                "give another label",
            )
    return {arm.name: arm.label or arm.name for arm in arms}


def labelled(comparison: Comparison) -> Comparison:
    """The comparison of one run under its arms' labels; without them where they don't tell arms apart."""
    try:
        return comparison.renamed(shown_names(comparison.arms))
    except UsageError:
        return comparison


def _texts(arm: Arm) -> tuple[str, ...]:
    return arm.name, arm.rope, arm.model
