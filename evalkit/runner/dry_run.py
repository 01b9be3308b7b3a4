"""``evalkit run --dry-run``: the prompts of a run, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import MediaError
from evalkit.core.task import Task
from evalkit.core.types import Request, Sample
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.engines import describe_spec
from evalkit.models.base import ModelInfo, preprocessor_for
from evalkit.models.checkpoints.series import with_all_steps
from evalkit.runner.answering import Answering
from evalkit.runner.engine_options import check_engine, load_config_of
from evalkit.runner.inputs import load_inputs, load_tasks, open_tasks
from evalkit.runner.planned import system_name
from evalkit.runner.requests import build_request


def plan_run(spec: RunSpec) -> dict[str, Any]:
    """The run directory; samples, prompt tokens, problems and the first prompt of every system and task."""
    check_engine(spec)
    output = spec.run_path()
    spec = with_all_steps(spec)
    tasks = open_tasks(load_tasks(spec), spec.data_root)
    inputs = load_inputs(spec, tasks)
    found: list[dict[str, Any]] = []
    for system in spec.systems():
        model = describe_spec(ModelSpec(system.model, system.rope, load_config_of(spec)))
        for task in tasks:
            chosen = [each.sample for each in inputs.samples[task.name]]
            found.append({"arm": system_name(model), **_plan(model, task, chosen, spec)})
    return {"output": str(output), "plan": found}


def _plan(model: ModelInfo, task: Task, samples: Sequence[Sample], spec: RunSpec) -> dict[str, Any]:
    """What one system would be asked of one task, and what of it can't be asked."""
    answering = Answering.of(spec).for_task(task.name)
    requests = [
        build_request(model, task, sample, mc_logits=spec.mc_logits, answering=answering)
        for sample in samples
        if not sample.problem
    ]
    errors = [sample.problem for sample in samples if sample.problem]
    tokens = []
    for request in requests:
        try:
            tokens.append(preprocessor_for(model.preprocessor, request).estimate(request))
        except Exception as error:  # noqa: BLE001 - decoders raise anything on damaged files
            errors.append(str(error).partition("\n")[0] or type(error).__name__)
    return {
        "task": task.name,
        "samples": len(samples),
        "errors": errors,
        "prompt_tokens": sum(tokens),
        "longest_prompt": max(tokens, default=0),
        "max_new_tokens": max((request.max_new_tokens for request in requests), default=0),
        "prompt": _asked(model, requests[0]) if requests else "",
    }


def _asked(model: ModelInfo, request: Request) -> str:
    """The prompt, as far as its media can be read."""
    try:
        return preprocessor_for(model.preprocessor, request).full_prompt(request)
    except MediaError:
        return request.full_prompt(())
