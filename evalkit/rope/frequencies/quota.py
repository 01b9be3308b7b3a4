"""Check that an allocation fits the heads it is laid out on."""

from __future__ import annotations

from evalkit.rope.parameters import Allocation, BadParameter


def check_allocation(counts: Allocation, total: int, unit: str, *, all_used: bool = True) -> None:
    """Raise BadParameter unless the counts add up to ``total`` (or at most, if not ``all_used``)."""
    used = sum(counts)
    if used > total or (all_used and used < total):
        raise BadParameter(
            f"allocation {list(counts)} adds up to {used}, the model has {total} {unit}", "allocation"
        )
