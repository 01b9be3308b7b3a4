"""Which models the zoo has: every variant of the paper's tables 2, 4 and 5, with three seeds each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalkit.rope.ablations import ABLATIONS
from evalkit.zoo import VARIANTS

SEEDS = (0, 1, 2)


def zoo_variants() -> tuple[str, ...]:
    """Table 2 (the variants of the demo), and what tables 4 and 5 have beside them."""
    rows = [variant for table in ("table4", "table5") for variant in ABLATIONS[table].values()]
    return tuple(dict.fromkeys((*VARIANTS, *rows)))


def zoo_models(variants: Sequence[str] = ()) -> Iterator[tuple[str, int]]:
    """Variants (default: all) and seeds in the order of their training: those that ship come first."""
    wanted = variants or zoo_variants()
    ship = [variant for variant in wanted if variant in VARIANTS]
    for some in (ship, [variant for variant in wanted if variant not in VARIANTS]):
        for seed in SEEDS:
            for variant in some:
                yield variant, seed
