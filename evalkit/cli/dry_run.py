"""``evalkit run --dry-run``: what would run, without running any of it."""

from __future__ import annotations

import json
from typing import Any

from evalkit.errors import MediaError
from evalkit.execute import load_samples, load_tasks, placing_of
from evalkit.models import describe_model
from evalkit.models.base import Card
from evalkit.requests import build_request
from evalkit.session import arm_name
from evalkit.spec import RunSpec
from evalkit.types import Request


def describe(spec: RunSpec, as_json: bool) -> str:
    """Samples, prompt tokens and one rendered prompt for every arm and task."""
    tasks = load_tasks(spec)
    samples = load_samples(spec, tasks)
    found: list[dict[str, Any]] = []
    for arm in spec.arms():
        model = describe_model(arm.model, arm.rope, placing_of(spec))
        for task in tasks:
            requests = [
                build_request(model, task, each.sample, mc_logits=spec.mc_logits)
                for each in samples[task.name]
            ]
            tokens = [model.preprocessor.estimate(request) for request in requests]
            found.append(
                {
                    "arm": arm_name(model),
                    "task": task.name,
                    "samples": len(requests),
                    "prompt_tokens": sum(tokens),
                    "longest_prompt": max(tokens),
                    "max_new_tokens": max(request.max_new_tokens for request in requests),
                    "prompt": _asked(model, requests[0]),
                }
            )
    if as_json:
        return json.dumps({"output": str(spec.run_path()), "plan": found}, indent=2)
    lines = [f"would write to {spec.run_path()}"]
    for entry in found:
        lines.append(
            f"{entry['arm']}  {entry['task']}: {entry['samples']} samples, "
            f"{entry['prompt_tokens']} prompt tokens (longest {entry['longest_prompt']}), "
            f"at most {entry['max_new_tokens']} new tokens each"
        )
        lines.extend(f"    {line}" for line in entry["prompt"].splitlines())
    return "\n".join(lines)


def _asked(model: Card, request: Request) -> str:
    """The prompt, as far as its media can be read."""
    try:
        return model.preprocessor.asked(request)
    except MediaError:
        return request.asked(())
