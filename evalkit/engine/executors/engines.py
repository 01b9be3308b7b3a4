"""Which program computes: evalkit itself, or vLLM."""

from __future__ import annotations

from evalkit.engine.executors.base import ModelSpec
from evalkit.models import describe_model
from evalkit.models.base import ModelInfo


def describe_spec(spec: ModelSpec) -> ModelInfo:
    """The model of a spec, without its weights, for the engine that the spec names.

    Raises:
        UsageError: no such model, or the engine can't run it as it is trained.
        EnvironmentProblem: the checkpoint, the device or the engine can't be used.
    """
    if spec.load_config.engine == "vllm":
        from evalkit.integrations.vllm.system import describe

        return describe(spec.model, spec.rope, spec.load_config)
    return describe_model(spec.model, spec.rope, spec.load_config)
