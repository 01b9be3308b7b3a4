"""Making a baseline, and checking against it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evalkit import api
from evalkit.ci import baseline
from evalkit.ci.policy import FILE, read_policy
from evalkit.ci.verdict import TaskVerdict, judge
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import EnvironmentProblem
from evalkit.runner.reporter import Reporter
from evalkit.scoring.finalize import RunResult

DEFAULT = Path("results/baselines")


def update(folder: Path, spec: RunSpec, reporter: Reporter | None = None) -> RunResult:
    """Run an order and store what every sample answered as the baseline.

    Raises:
        EnvironmentProblem: samples failed; the old baseline stays.
    """
    baseline.refuse_secrets(folder, spec)
    outcome = _run(spec, reporter)
    if outcome.failed or outcome.missing or outcome.problems:
        why = "; ".join(f"{problem.what} ({problem.why})" for problem in outcome.problems)
        raise EnvironmentProblem(
            f"baseline `{folder}`",
            f"{outcome.failed} samples failed and {outcome.missing} are missing"
            + (f"; {why}" if why else ""),
            f"see the records of {outcome.run.path}; the baseline was left as it is",
        )
    baseline.write(folder, spec, baseline.baseline_answers(outcome.records))
    return outcome


def check(folder: Path, reporter: Reporter | None = None, **options: Any) -> list[TaskVerdict]:
    """Run a baseline's order again and judge what changed.

    ``options`` are those of ``RunSpec`` that belong to a machine (``device``, ``data_root``, ...).
    """
    spec = baseline.read_run_spec(folder, **options)
    policy = read_policy(folder / FILE)
    outcome = _run(spec, reporter)
    found = baseline.baseline_answers(outcome.records)
    problems = [f"{problem.what} ({problem.why})" for problem in outcome.problems]
    stored = baseline.read(folder, found)
    policy.check_tasks(folder / FILE, {task for _, task in (*stored, *found)})
    return judge(stored, found, policy, problems)


def folders(given: Sequence[Path]) -> list[Path]:
    """Baselines to check: those given, else all below ``results/baselines``."""
    return list(given) or baseline.baselines_in(DEFAULT)


def _run(spec: RunSpec, reporter: Reporter | None) -> RunResult:
    """Run in a folder of its own: a check must not find answers of an earlier one."""
    if spec.output is None:
        spec = spec.with_options(output=tempfile.mkdtemp(prefix="evalkit-ci-"))
    return api.run(spec, reporter)
