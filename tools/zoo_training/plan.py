"""Which models the zoo has: every variant of the paper's tables 2, 4 and 5, with three seeds each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.rope.ablations import ABLATIONS
from evalkit.zoo import VARIANTS

SEEDS = (0, 1, 2)
OWN_NAMES = {"mrope-i(scaling=base)": "mrope-i(scaling=base(100))"}
"""Rows of the paper's tables with other names here. Its rotary base of height and width is a hundredth of
1,000,000, the model's: 10,000, which the tiny models have for all axes. A hundredth of that is 100.
"""


def zoo_variants() -> tuple[str, ...]:
    """Table 2 (the variants of the demo), and what tables 4 and 5 have beside them."""
    return tuple(dict.fromkeys((*VARIANTS, *table_variants("table4"), *table_variants("table5"))))


def table_variants(table: str) -> tuple[str, ...]:
    """The rows of one of the paper's ablations, in its order."""
    return tuple(OWN_NAMES.get(variant, variant) for variant in ABLATIONS[table].values())


def zoo_models(variants: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """Variants (default: all) and seeds in the order of their training: those that ship come first."""
    wanted = variants or zoo_variants()
    ship = [variant for variant in wanted if variant in VARIANTS]
    for some in (ship, [variant for variant in wanted if variant not in VARIANTS]):
        for seed in SEEDS:
            for variant in some:
                yield variant, seed
