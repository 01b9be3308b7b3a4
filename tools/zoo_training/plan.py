"""Which models the zoo has: every variant of the paper's tables 2, 4 and 5, with three seeds each."""

from __future__ import annotations

from collections.abc import Iterator

from evalkit.rope.ablations import ABLATIONS
from evalkit.zoo import VARIANTS

SEEDS = (0, 1, 2)


def zoo_variants() -> tuple[str, ...]:
    """Table 2 (the variants of the demo), and what tables 4 and 5 have beside them."""
    rows = [variant for table in ("table4", "table5") for variant in ABLATIONS[table].values()]
    return tuple(dict.fromkeys((*VARIANTS, *rows)))


def zoo_models() -> Iterator[tuple[str, int]]:
    """Variants and seeds in the order of their training: what a table needs first comes first."""
    rest = [variant for variant in zoo_variants() if variant not in VARIANTS]
    for some in (VARIANTS, rest):
        for seed in SEEDS:
            for variant in some:
                yield variant, seed
