"""What may change before a check fails: ``policy.yaml`` beside a baseline.

.. code-block:: yaml

    tier: close                  # exact (the default), close or loose
    tasks:
      mini_video: {tier: loose, drop: 0.05}

A small subset can't show small changes of a score: at 10% discordance, 200 samples detect only a
change of six points. So the limits are about single samples first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError, did_you_mean

FILE = "policy.yaml"


@dataclass(frozen=True)
class Limits:
    """``identical``: share of answers that must be the same text; ``flips``: samples whose score may
    get worse; ``drop``: how far the mean score may fall, as a fraction.
    """

    identical: float = 1.0
    flips: int = 0
    drop: float = 0.0


TIERS: Mapping[str, Limits] = {
    "exact": Limits(),
    "close": Limits(identical=0.95, flips=2, drop=0.02),
    "loose": Limits(identical=0.0, flips=10, drop=0.05),
}


@dataclass(frozen=True)
class Policy:
    """Limits for every task, and for single ones."""

    default: Limits = TIERS["exact"]
    tasks: Mapping[str, Limits] | None = None

    def limits(self, task: str) -> Limits:
        """What holds for a task."""
        return (self.tasks or {}).get(task, self.default)


def read_policy(path: Path) -> Policy:
    """Read a policy; without a file, everything must stay as it is.

    Raises:
        UsageError: the file is no policy.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return Policy()
    except yaml.YAMLError as error:
        raise _bad(path, f"it is not valid YAML: {error}") from None
    if not isinstance(content, Mapping):
        raise _bad(path, "it is no mapping")
    tasks = content.get("tasks") or {}
    default = _limits(path, {name: value for name, value in content.items() if name != "tasks"}, Limits())
    return Policy(default, {str(name): _limits(path, given, default) for name, given in tasks.items()})


def _limits(path: Path, given: Any, default: Limits) -> Limits:
    if not isinstance(given, Mapping):
        raise _bad(path, f"{given!r} are no limits")
    known = [field.name for field in fields(Limits)]
    for name, value in given.items():
        if name == "tier":
            if value not in TIERS:
                raise _bad(path, f"there is no tier `{value}`.{did_you_mean(str(value), TIERS)}")
        elif name not in known:
            raise _bad(path, f"unknown key `{name}`.{did_you_mean(str(name), ['tier', *known])}")
        elif not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
            raise _bad(path, f"`{name}` is {value!r}, not a number from 0")
    start = TIERS[given["tier"]] if "tier" in given else default
    return replace(start, **{name: value for name, value in given.items() if name != "tier"})


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(f"policy `{path}`", why, "see docs/ci.md for its form")
