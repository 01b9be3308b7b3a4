"""``evalkit export RUN --to inspect``: a log of Inspect for each arm and task of a stored run.

Logs are written by ``inspect_ai`` itself. Media are named by their hash, not copied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.core.atomic_files import atomic_path
from evalkit.core.errors import UsageError, did_you_mean
from evalkit.integrations.interchange.inspect_log import inspect_logs
from evalkit.report.aggregate import Cell
from evalkit.report.results import Results
from evalkit.store import Evaluation, Invocation, Record

_STOP = {"stop": "stop", "length": "max_tokens", "loop": "stop", "error": "unknown"}


def export(results: Results, output: Path, arm: str | None = None, task: str | None = None) -> list[Path]:
    """Write the logs, and return where.

    Raises:
        UsageError: the run has no such arm or task, or ``output`` is one file and there are several.
        EnvironmentProblem: inspect_ai is not installed.
    """
    logs = inspect_logs()
    chosen = _chosen(results.evaluations, arm, task)
    single = output.suffix.lower() in (".eval", ".json")
    if single and len(chosen) > 1:
        names = "; ".join(f"{each.arm} {each.task.name}" for each in chosen)
        raise UsageError(
            f"output `{output}` is one file",
            f"the run has {len(chosen)} results: {names}",
            "give a folder, or choose with `--arm` and `--task`",
        )
    table = results.comparison()
    cells = {arm.system: table.cells[arm.name] for arm in table.arms}
    written = []
    for evaluation in chosen:
        path = output if single else output / f"{_file_name(evaluation)}.eval"
        cell = cells[evaluation.arm].get(evaluation.task.name)
        with atomic_path(path) as place:
            logs.write_eval_log(_log(results, evaluation, cell), str(place.absolute()))
        written.append(path)
    return written


def _chosen(evaluations: Sequence[Evaluation], arm: str | None, task: str | None) -> list[Evaluation]:
    for option, wanted, known in (
        ("--arm", arm, [each.arm for each in evaluations]),
        ("--task", task, [each.task.name for each in evaluations]),
    ):
        if wanted is not None and wanted not in known:
            have = ", ".join(dict.fromkeys(known))
            raise UsageError(
                f"`{option} {wanted}`",
                f"the run has {have}.{did_you_mean(wanted, known)}",
                "give one of these",
            )
    return [each for each in evaluations if arm in (None, each.arm) and task in (None, each.task.name)]


def _file_name(evaluation: Evaluation) -> str:
    """A file name from the names of arm and task, which may have any character."""
    return (
        f"{evaluation.id:03d}_"
        + re.sub(r"[^\w@.,=+-]", "_", f"{evaluation.arm}_{evaluation.task.name}")[:120]
    )


def _log(results: Results, evaluation: Evaluation, cell: Cell | None) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSpec, EvalStats

    command = results.manifest.latest(evaluation.id)
    arm = results.manifest.system(evaluation.arm)
    records = results.records[evaluation.id]
    answered = [record for record in records if not record.failed]
    task = evaluation.task
    spec = EvalSpec(
        eval_id=f"evalkit-{arm.fingerprint[:12]}-{evaluation.plan[:12]}",
        run_id=command.id,
        created=command.started,
        task=task.name,
        task_display_name=task.title,
        dataset=EvalDataset(
            name=task.dataset.get("repo") or task.dataset.get("file"),
            samples=evaluation.samples,
            sample_ids=list(dict.fromkeys(record.sample_id for record in records)),
            shuffled=False,
        ),
        model=f"evalkit/{arm.arm}",
        config=EvalConfig(limit=evaluation.protocol.limit, epochs=evaluation.protocol.n),
        packages=dict(command.versions),
        metadata=_about(results, evaluation, command),
    )
    missing = evaluation.asked - len(records)
    return EvalLog(
        status="error" if missing else "success",
        eval=spec,
        results=EvalResults(
            total_samples=evaluation.asked,
            completed_samples=len(answered),
            scores=_scores(task.metric, cell),
        ),
        stats=EvalStats(started_at=command.started, completed_at=command.finished or ""),
        error=_error(f"{missing} samples have no answer yet") if missing else None,
        samples=[_sample(record, task.metric, arm.arm) for record in records],
    )


def _about(results: Results, evaluation: Evaluation, command: Invocation) -> dict[str, Any]:
    """The log's metadata: what Inspect has no fields for."""
    arm = results.manifest.system(evaluation.arm)
    return {
        "evalkit": {
            "arm": arm.arm,
            "model": arm.model,
            "rope": arm.rope,
            "fingerprint": arm.fingerprint,
            "protocol": str(evaluation.protocol),
            "dataset": dict(evaluation.task.dataset),
            "reasoning": results.manifest.scoring.reasoning,
            "command": command.command,
            "imported": evaluation.imported.model_dump(mode="json") if evaluation.imported else None,
        }
    }


def _scores(metric: str, cell: Cell | None) -> list[Any]:
    from inspect_ai.log import EvalMetric, EvalScore

    if cell is None or cell.estimate.n == 0:  # a split without public answers, or nothing was answered
        return []
    estimate = cell.estimate
    figures = {metric: estimate.value, "low": estimate.low, "high": estimate.high, **cell.figures}
    metrics = {name: EvalMetric(name=name, value=float(value)) for name, value in figures.items()}
    counts = {"scored_samples": estimate.n, "unscored_samples": cell.expected - estimate.n}
    return [EvalScore(name=metric, scorer="evalkit", metrics=metrics, **counts)]


def _sample(record: Record, metric: str, model: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput

    output = ModelOutput.from_content(model, record.raw, stop_reason=_STOP[record.finish_reason])
    options = record.meta.get("options") or {}
    return EvalSample(
        id=record.sample_id,
        epoch=record.repetition + 1,
        input=record.prompt or str(record.meta.get("question", "")),
        choices=list(options.values()) or None,
        target=_target(record.reference),
        output=ModelOutput(model=model) if record.failed else output,
        scores=_score(record, metric),
        metadata=_metadata(record),
        error=_error(record.error or "it failed") if record.failed else None,
    )


def _score(record: Record, metric: str) -> dict[str, Any]:
    from inspect_ai.scorer import Score

    if record.score is None or record.score.value is None:
        return {}
    parsed = record.score.parsed
    return {
        metric: Score(
            value=record.score.value,
            answer=None if parsed is None else str(parsed),
            explanation=record.score.parse_error,
            metadata={"flags": list(record.flags), "rule": record.score.rule, **record.score.detail},
        )
    }


def _target(reference: Any) -> str | list[str]:
    """A reference as Inspect's target, one text or several; the metadata has it unchanged."""
    if isinstance(reference, list | tuple):
        return [str(each) for each in reference]
    return "" if reference is None else str(reference)


def _metadata(record: Record) -> Mapping[str, Any]:
    media = [
        {"kind": each.kind, "digest": each.digest, "size": list(each.size), "frames": len(each.frames)}
        for each in record.media
    ]
    return {
        "reference": record.reference,
        "cluster_id": record.cluster_id,
        "groups": dict(record.groups),
        "meta": dict(record.meta),
        "media": media,
        "final": record.final,
        "finish_reason": record.finish_reason,
        "prompt_tokens": record.prompt_tokens,
        "visual_tokens": record.visual_tokens,
    }


def _error(message: str) -> Any:
    from inspect_ai.log import EvalError

    return EvalError(message=message, traceback="", traceback_ansi="")
