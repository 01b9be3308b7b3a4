"""The mock: see :mod:`evalkit.models.mock`."""

from evalkit.models.families.family import Family

FAMILY = Family(
    "mock",
    "a deterministic model without weights: echo, fixed answers, fail, loop, run out of memory",
    native_rope="mrope",
    box_space="abs_resized",
    module="evalkit.models.mock",
    examples=(
        "mock",
        "mock:fixed=TEXT",
        "mock:answers=FILE.json",
        "mock:fail",
        "mock:loop",
        "mock:oom=N",
        "mock:slow=SECONDS",
    ),
)
