"""What the parameters of position designs and frequency allocations have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable

Allocation = tuple[int, int, int]


class BadParameter(ValueError):
    """A parameter that a variant does not have, or a value that it can't take.

    ``name`` is the parameter; ``known`` the names that exist.
    """

    def __init__(self, message: str, name: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.name, self.known = name, tuple(known)


def require_positive(name: str, value: float) -> None:
    """Raise BadParameter unless ``value`` is finite and above zero."""
    if not (math.isfinite(value) and value > 0):
        raise BadParameter(f"`{name}` is {value}, it must be above zero", name)


def symmetric_split(total: int, ratio: Allocation) -> Allocation:
    """Divide ``total`` between T, H and W by a ratio whose H and W are equal.

    H and W each get the integer nearest to their share (a half rounds down) and T the rest, so that height
    and width are always treated alike. The rule is ours; the paper gives numbers for one size only.

    >>> symmetric_split(64, (24, 20, 20)), symmetric_split(16, (24, 20, 20))
    ((24, 20, 20), (6, 5, 5))
    >>> symmetric_split(8, (2, 3, 3)), symmetric_split(4, (2, 3, 3))
    ((2, 3, 3), (2, 1, 1))
    """
    side = math.ceil(total * ratio[1] / sum(ratio) - 0.5)
    return total - 2 * side, side, side


def check_allocation(counts: Allocation, total: int, unit: str, *, all_used: bool = True) -> None:
    """Raise BadParameter unless the counts add up to ``total`` (or at most, if not ``all_used``)."""
    used = sum(counts)
    if used > total or (all_used and used < total):
        raise BadParameter(
            f"allocation {list(counts)} adds up to {used}, the model has {total} {unit}", "allocation"
        )
