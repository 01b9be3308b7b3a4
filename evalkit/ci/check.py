"""Make a baseline, and check against it."""

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
    """Run a spec, and store the answers as the baseline.

    Raises:
        EnvironmentProblem: samples failed; the old baseline stays.
    """
    baseline.refuse_secrets(folder, spec)
    result = _run(spec, reporter)
    if result.failed or result.missing or result.problems:
        why = "; ".join(f"{problem.what} ({problem.why})" for problem in result.problems)
        raise EnvironmentProblem(
            f"baseline `{folder}`",
            f"{result.failed} samples failed and {result.missing} are missing" + (f"; {why}" if why else ""),
            f"see the records of {result.run.path}; the baseline was left as it is",
        )
    baseline.write(folder, spec, baseline.baseline_answers(result.records))
    return result


def check(folder: Path, reporter: Reporter | None = None, **options: Any) -> list[TaskVerdict]:
    """Run a baseline's spec again, and judge what changed.

    ``options`` are those of ``RunSpec`` that belong to a machine (``device``, ``data_root``, ...).
    """
    spec = baseline.read_run_spec(folder, **options)
    policy = read_policy(folder / FILE)
    result = _run(spec, reporter)
    found = baseline.baseline_answers(result.records)
    problems = [f"{problem.what} ({problem.why})" for problem in result.problems]
    stored = baseline.read(folder, found)
    policy.check_tasks(folder / FILE, {task for _, task in (*stored, *found)})
    return judge(stored, found, policy, problems)


def folders(given: Sequence[Path]) -> list[Path]:
    """Baselines to check: those given, else all below ``results/baselines``."""
    return list(given) or baseline.baselines_in(DEFAULT)


def _run(spec: RunSpec, reporter: Reporter | None) -> RunResult:
    """Run in a new folder, so that no answer of an earlier check is found there."""
    if spec.output is None:
        spec = spec.with_options(output=tempfile.mkdtemp(prefix="evalkit-ci-"))
    return api.run(spec, reporter)
