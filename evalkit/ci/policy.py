"""How much may change before a check fails: ``policy.yaml`` beside a baseline.

.. code-block:: yaml

    limits: close                # exact (the default), close or loose
    tiers:
      supporting: {drop: 0.03}   # limits of all tasks of a tier
    tasks:
      mini_video: {tier: supporting, relative_drop: 0.1}
      mini_refcoco: {tier: advisory}

A small subset can't show small changes of a score: at 10% discordance, 200 samples detect only a
change of six points. So the limits are about single samples first.

Tiers and relative limits are those of NeMo Evaluator's gate (docs/ci.md).
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from evalkit.core.errors import UsageError, did_you_mean
from evalkit.core.validation import describe_validation_error
from evalkit.core.yaml_file import read_yaml

FILE = "policy.yaml"

Tier = Literal["critical", "supporting", "advisory"]
TIERS: tuple[Tier, ...] = get_args(Tier)
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_MOST_FLIPS = 100_000
_CHECKED = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, config=_CHECKED)
class Limits:
    """``identical``: share of answers that must be the same text; ``flips``: samples whose score may
    get worse; ``drop``: how far the mean score may fall, as a fraction; ``relative_drop``: as a share of the
    baseline's mean, looked at only where that mean is below ``relative_below`` (None: no such limit, and
    wherever the mean is).
    """

    identical: Share = 1.0
    flips: Annotated[int, Field(ge=0, le=_MOST_FLIPS)] = 0
    drop: Share = 0.0
    relative_drop: Share | None = None
    relative_below: Share | None = None


PRESETS: Mapping[str, Limits] = {
    "exact": Limits(),
    "close": Limits(identical=0.95, flips=2, drop=0.02),
    "loose": Limits(identical=0.0, flips=10, drop=0.05),
}


@dataclass(frozen=True, config=_CHECKED)
class TaskPolicy:
    """Limits of a task, and what exceeding them means: a ``critical`` or ``supporting`` task fails the check,
    an ``advisory`` one is only reported.
    """

    limits: Limits = PRESETS["exact"]
    tier: Tier = "critical"


@dataclass(frozen=True, config=_CHECKED)
class Policy:
    """Limits and tier for every task, and for single ones."""

    default: TaskPolicy = TaskPolicy()
    tasks: Mapping[str, TaskPolicy] = Field(default_factory=dict)

    def check_tasks(self, path: Path, known: Collection[str]) -> None:
        """Refuse limits of unknown tasks, which would never apply.

        Raises:
            UsageError: names the first.
        """
        for name in self.tasks:
            if name not in known:
                raise _bad(path, f"the baseline has no task `{name}`.{did_you_mean(name, known)}")

    def of(self, task: str) -> TaskPolicy:
        """What holds for a task."""
        return self.tasks.get(task, self.default)


def read_policy(path: Path) -> Policy:
    """Read a policy; without a file, everything must stay as it is.

    A task has the policy's limits, changed by those of its tier, changed by its own.

    Raises:
        UsageError: the file is no policy.
    """
    if not path.is_file():
        return Policy()
    content = read_yaml(path, "policy")
    tiers, tasks = (_mapping(path, content, name) for name in ("tiers", "tasks"))
    for name in tiers:
        if name not in TIERS:
            raise _bad(path, f"there is no tier `{name}`.{did_you_mean(str(name), TIERS)}")
    own = {name: value for name, value in content.items() if name not in ("tiers", "tasks")}
    general = _limits(path, own, Limits(), ("tier",))
    by_tier = {tier: _limits(path, tiers.get(tier, {}), general) for tier in TIERS}
    usual = _tier(path, own, "critical")
    found = {str(name): _task(path, given, by_tier, usual) for name, given in tasks.items()}
    return Policy(TaskPolicy(by_tier[usual], usual), found)


def _mapping(path: Path, content: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    found = content.get(name) or {}
    if not isinstance(found, Mapping):
        raise _bad(path, f"`{name}` is no mapping")
    return found


def _task(path: Path, given: Any, by_tier: Mapping[Tier, Limits], usual: Tier) -> TaskPolicy:
    if not isinstance(given, Mapping):
        raise _bad(path, f"{reprlib.repr(given)} are no limits")
    tier = _tier(path, given, usual)
    return TaskPolicy(_limits(path, given, by_tier[tier], ("tier",)), tier)


def _tier(path: Path, given: Mapping[str, Any], usual: Tier) -> Tier:
    """The tier that is given, or the usual one; how strict limits are was called so once, and is refused."""
    tier = given.get("tier", usual)
    if isinstance(tier, str) and tier in PRESETS:
        raise _bad(
            path,
            f"`tier: {tier}` is now written `limits: {tier}`; a tier is critical, supporting or advisory",
        )
    if tier not in TIERS:
        raise _bad(path, f"there is no tier `{tier}`.{did_you_mean(str(tier), TIERS)}")
    return cast(Tier, tier)


def _limits(path: Path, given: Any, default: Limits, beside: Collection[str] = ()) -> Limits:
    """The limits that are given, the others of the preset that is named, or else of ``default``; keys
    ``beside`` them are none of them.
    """
    if not isinstance(given, Mapping):
        raise _bad(path, f"{reprlib.repr(given)} are no limits")
    known = ["limits", *beside, *(field.name for field in fields(Limits))]
    for name, value in given.items():
        if name not in known:
            raise _bad(path, f"unknown key `{name}`.{did_you_mean(str(name), known)}")
        if value is None:
            raise _bad(path, f"`{name}` has no value")
    preset = given.get("limits")
    if "limits" in given and (not isinstance(preset, str) or preset not in PRESETS):
        raise _bad(path, f"there are no limits `{preset}`.{did_you_mean(str(preset), PRESETS)}")
    start = PRESETS[preset] if isinstance(preset, str) else default
    own = {name: value for name, value in given.items() if name not in ("limits", *beside)}
    try:
        found = Limits(**{**asdict(start), **own})
    except ValidationError as error:
        raise _bad(path, ": ".join(describe_validation_error(error))) from None
    if found.relative_below is not None and found.relative_drop is None:
        raise _bad(path, "`relative_below` says where `relative_drop` is looked at, and there is none")
    return found


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(f"policy `{path}`", why, "see docs/ci.md for its form")
