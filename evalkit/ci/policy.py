"""How much may change before a check fails: ``policy.yaml`` beside a baseline.

.. code-block:: yaml

    tier: close                  # exact (the default), close or loose
    tasks:
      mini_video: {tier: loose, drop: 0.05}

A small subset can't show small changes of a score: at 10% discordance, 200 samples detect only a
change of six points. So the limits are about single samples first.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.core.validation import describe_validation_error
from evalkit.core.yaml_file import read_yaml

FILE = "policy.yaml"

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_MOST_FLIPS = 100_000
_CHECKED = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=_CHECKED)
class Limits:
    """``identical``: share of answers that must be the same text; ``flips``: samples whose score may
    get worse; ``drop``: how far the mean score may fall, as a fraction.
    """

    identical: Share = 1.0
    flips: Annotated[int, Field(ge=0, le=_MOST_FLIPS)] = 0
    drop: Share = 0.0


TIERS: Mapping[str, Limits] = {
    "exact": Limits(),
    "close": Limits(identical=0.95, flips=2, drop=0.02),
    "loose": Limits(identical=0.0, flips=10, drop=0.05),
}


@dataclass(frozen=True, config=_CHECKED)
class Policy:
    """Limits for every task, and for single ones."""

    default: Limits = TIERS["exact"]
    tasks: Mapping[str, Limits] = Field(default_factory=dict)

    def check_tasks(self, path: Path, known: Collection[str]) -> None:
        """Refuse limits of unknown tasks, which would never apply.

        Raises:
            UsageError: names the first.
        """
        for name in self.tasks:
            if name not in known:
                raise _bad(path, f"the baseline has no task `{name}`.{did_you_mean(name, known)}")

    def limits(self, task: str) -> Limits:
        """The limits of a task."""
        return self.tasks.get(task, self.default)


def read_policy(path: Path) -> Policy:
    """Read a policy; without a file, everything must stay as it is.

    Raises:
        UsageError: the file is no policy.
    """
    if not path.is_file():
        return Policy()
    content = read_yaml(path, "policy")
    tasks = content.get("tasks") or {}
    if not isinstance(tasks, Mapping):
        raise _bad(path, "`tasks` is no mapping")
    default = _limits(path, {name: value for name, value in content.items() if name != "tasks"}, Limits())
    return Policy(default, {str(name): _limits(path, given, default) for name, given in tasks.items()})


def _limits(path: Path, given: Any, default: Limits) -> Limits:
    if not isinstance(given, Mapping):
        raise _bad(path, f"{reprlib.repr(given)} are no limits")
    known = [field.name for field in fields(Limits)]
    for name in given:
        if name not in ("tier", *known):
            raise _bad(path, f"unknown key `{name}`.{did_you_mean(str(name), ['tier', *known])}")
    tier = given.get("tier")
    if "tier" in given and (not isinstance(tier, str) or tier not in TIERS):
        raise _bad(path, f"there is no tier `{tier}`.{did_you_mean(str(tier), TIERS)}")
    start = TIERS[tier] if isinstance(tier, str) else default
    try:
        return Limits(**{**asdict(start), **{name: value for name, value in given.items() if name != "tier"}})
    except ValidationError as error:
        raise _bad(path, ": ".join(describe_validation_error(error))) from None


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(f"policy `{path}`", why, "see docs/ci.md for its form")
