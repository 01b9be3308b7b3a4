"""What changed against a baseline, sample by sample, and whether the policy allows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evalkit.ci.baseline import Baseline, BaselineAnswer
from evalkit.ci.policy import Limits, Policy, TaskPolicy, Tier
from evalkit.core.errors import ExitCode

Decision = Literal["GO", "NO-GO", "INCONCLUSIVE"]
EXIT: Mapping[Decision, ExitCode] = {
    "GO": ExitCode.OK,
    "NO-GO": ExitCode.CHECK_FAILED,
    "INCONCLUSIVE": ExitCode.INCOMPLETE,
}


@dataclass(frozen=True)
class AnswerChange:
    """One sample that answers differently: ``worse`` or ``better`` by its score, else ``changed``."""

    sample: str
    kind: Literal["worse", "better", "changed"]
    before: BaselineAnswer
    after: BaselineAnswer


@dataclass(frozen=True)
class TaskVerdict:
    """One arm on one task; ``reasons`` say why it is not GO, ``tier`` whether that fails the check."""

    arm: str
    task: str
    tier: Tier
    outcome: Decision
    n: int
    identical: float
    before: float
    after: float
    changes: tuple[AnswerChange, ...]
    reasons: tuple[str, ...]

    def of(self, kind: str) -> list[AnswerChange]:
        """The changes of one kind."""
        return [change for change in self.changes if change.kind == kind]

    @property
    def only_reported(self) -> bool:
        """Whether something changed that the check doesn't fail for."""
        return self.tier == "advisory" and self.outcome != "GO"


def judge(
    stored: Baseline, found: Baseline, policy: Policy, problems: Sequence[str] = ()
) -> list[TaskVerdict]:
    """A verdict for every arm and task of the run or the baseline; ``problems`` say why some weren't run."""
    places = dict.fromkeys([*found, *stored])
    return [
        _judge_task(place, stored.get(place, {}), found.get(place, {}), policy.of(place[1]), problems)
        for place in places
    ]


def overall(verdicts: Sequence[TaskVerdict]) -> Decision:
    """NO-GO if a critical or supporting task is; else INCONCLUSIVE if one of these is, or without tasks."""
    outcomes = {verdict.outcome for verdict in verdicts if verdict.tier != "advisory"}
    if "NO-GO" in outcomes:
        return "NO-GO"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in outcomes or not verdicts else "GO"


def _judge_task(
    place: tuple[str, str],
    stored: Mapping[str, BaselineAnswer],
    found: Mapping[str, BaselineAnswer],
    policy: TaskPolicy,
    problems: Sequence[str],
) -> TaskVerdict:
    arm, task = place
    shared = [name for name in stored if name in found]
    whole = [name for name in shared if stored[name].score is not None and found[name].score is not None]
    changes = tuple(
        change for name in whole if (change := _change(name, stored[name], found[name])) is not None
    )
    identical = 1 - len(changes) / len(whole) if whole else 0.0
    before, after = (_mean([side[name] for name in whole]) for side in (stored, found))
    unclear = _unclear(stored, found, shared, whole) if found else _missing(stored, problems)
    broken = _broken(policy.limits, changes, identical, before, after) if whole else []
    outcome: Decision = "NO-GO" if broken else "INCONCLUSIVE" if unclear else "GO"
    return TaskVerdict(
        arm=arm,
        task=task,
        tier=policy.tier,
        outcome=outcome,
        n=len(whole),
        identical=identical,
        before=before,
        after=after,
        changes=changes,
        reasons=tuple(broken + unclear),
    )


def _missing(stored: Mapping[str, BaselineAnswer], problems: Sequence[str]) -> list[str]:
    why = f": {'; '.join(problems)}" if problems else ""
    return [f"nothing of it was run now, {len(stored)} samples are in the baseline{why}"]


def _unclear(
    stored: Mapping[str, BaselineAnswer],
    found: Mapping[str, BaselineAnswer],
    shared: Sequence[str],
    whole: Sequence[str],
) -> list[str]:
    if not stored:
        return ["there is no baseline for it: update the baseline"]
    reasons = []
    if len(shared) < max(len(stored), len(found)):
        reasons.append(
            f"{len(stored)} samples in the baseline, {len(found)} now, {len(shared)} of them the same: "
            "the data or the subset changed"
        )
    if len(whole) < len(shared):
        reasons.append(f"{len(shared) - len(whole)} samples failed, now or in the baseline")
    return reasons


def _broken(
    limits: Limits, changes: Sequence[AnswerChange], identical: float, before: float, after: float
) -> list[str]:
    drop = before - after
    worse = sum(change.kind == "worse" for change in changes)
    reasons = []
    if worse > limits.flips:
        reasons.append(f"{worse} samples got worse, {limits.flips} may")
    if identical < limits.identical - 1e-12:
        reasons.append(f"{identical:.1%} of the answers are the same, {limits.identical:.1%} must be")
    if drop > limits.drop + 1e-12:
        reasons.append(f"the mean score fell by {100 * drop:.1f} points, {100 * limits.drop:.1f} are allowed")
    if limits.relative_drop is not None and _relative(drop, before) > limits.relative_drop + 1e-12:
        below = limits.relative_below
        if below is None or before < below:
            reasons.append(
                f"the mean score fell by {_relative(drop, before):.1%} of the baseline's {100 * before:.1f}, "
                f"{limits.relative_drop:.1%} are allowed"
            )
    return reasons


def _relative(drop: float, before: float) -> float:
    """A fall as a share of what was there before: of nothing, any is without bounds."""
    if drop <= 0:
        return 0.0
    return drop / abs(before) if before else math.inf


def _change(name: str, before: BaselineAnswer, after: BaselineAnswer) -> AnswerChange | None:
    assert before.score is not None
    assert after.score is not None
    if after.score < before.score:
        return AnswerChange(name, "worse", before, after)
    if after.score > before.score:
        return AnswerChange(name, "better", before, after)
    return AnswerChange(name, "changed", before, after) if after.text != before.text else None


def _mean(samples: Sequence[BaselineAnswer]) -> float:
    return sum(each.score or 0.0 for each in samples) / len(samples) if samples else 0.0
