"""What a run spec says of engines: which executor, how models are loaded, and how requests are answered."""

from __future__ import annotations

from evalkit.config.run_spec import RunSpec, rope_files
from evalkit.core.errors import UsageError
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import Executor
from evalkit.engine.optimizations import Optimizations
from evalkit.models.base import LoadConfig
from evalkit.runner.answering import Answering


def executor_of(spec: RunSpec) -> Executor:
    """The executor that a spec asks for.

    Raises:
        UsageError: its options contradict each other.
    """
    from evalkit.engine.executors.device_groups import parse_device_groups
    from evalkit.engine.executors.local import LocalExecutor
    from evalkit.engine.executors.ray import RayExecutor

    device_groups, cluster = parse_device_groups(spec.devices), spec.executor == "ray"
    if spec.gpus_per_engine and not cluster:
        raise UsageError(
            "`--gpus-per-engine`", "it is for a Ray cluster", "write `--devices 0+1,2+3`, or `--executor ray`"
        )
    if cluster and any(device_group.visible_devices for device_group in device_groups):
        raise UsageError(
            f"`--devices {','.join(spec.devices)}` with `--executor ray`",
            "on a cluster Ray says which GPUs an engine gets",
            "leave `--devices` out; `--gpus-per-engine` says how many each gets",
        )
    if cluster or len(device_groups) > 1 or any(device_group.multi_device for device_group in device_groups):
        if spec.executor == "local":
            raise UsageError(
                f"`--devices {','.join(spec.devices)}` with `--executor local`",
                "in this process there is one engine, on one device",
                "give one device, or leave `--executor` out",
            )
        return RayExecutor(device_groups, cluster, spec.gpus_per_engine or 1)
    return LocalExecutor()


# Switched off, these change what evalkit hands to an engine, and not how the engine computes.
_OUTSIDE_ENGINES = {"media", "lockstep"}


def check_engine(spec: RunSpec) -> None:
    """Refuse options of one engine with another.

    Raises:
        UsageError: names the option.
    """
    if spec.engine == "evalkit":
        for name in ("vllm_python", "engine_args", "parity"):
            if getattr(spec, name):
                raise UsageError(
                    f"`--{name.replace('_', '-')}`", "it is about another engine", "add `--engine vllm`"
                )
        return
    inside = [name for name in spec.without if name not in _OUTSIDE_ENGINES]
    options = {
        "--compile": spec.compile,
        "--deterministic": spec.deterministic,
        "--device-map": spec.device_map,
        f"--without {','.join(inside)}": inside,
    }
    for option, given in options.items():
        if given:
            raise UsageError(
                f"`{option}` with `--engine vllm`",
                "it is about evalkit's own engine; vLLM has options of its own",
                "leave it out, or give vLLM's by `--engine-args`, such as `tensor_parallel_size=2`",
            )


def load_config_of(spec: RunSpec) -> LoadConfig:
    """How an engine in this process loads a model; an executor of several sets each one's devices."""
    only = spec.devices[0] if len(spec.devices) == 1 else spec.device
    answering = Answering.of(spec)
    sampling = answering.for_task("*").sampling
    return LoadConfig(
        dtype=spec.dtype,
        device=f"cuda:{only}" if only.isdigit() else only,
        device_map=spec.device_map,
        max_frames=spec.max_frames,
        visual_tokens=spec.visual_tokens,
        compiled=spec.compile,
        batching=_batching(spec),
        processor=spec.processor,
        processor_if_needed=len({system.model for system in spec.systems()}) > 1,
        video_backend=spec.video_backend,
        rope_files=rope_files(spec.ropes_dirs),
        chat=answering.chat,
        sampling=None if sampling is None else str(sampling),
        draws=answering.draws,
        engine=spec.engine,
        vllm_python=spec.vllm_python,
        engine_args=tuple(spec.engine_args.items()),
    )


def engine_config_of(spec: RunSpec, executor: Executor) -> EngineConfig:
    """How an executor's engines answer. One core of each is left to the model; more than 14 preprocessing
    workers are faster than any model.
    """
    workers = max(1, min(int(executor.cores) - 1, 14)) if spec.workers is None else spec.workers
    return EngineConfig(
        workers=workers,
        batch_tokens=spec.batch_tokens,
        batch_size=spec.batch_size,
        optimizations=Optimizations.without(*spec.without),
        deterministic=spec.deterministic,
        media_seconds=spec.media_timeout,
    )


def _batching(spec: RunSpec) -> tuple[str, ...]:
    """The options that decide which requests share a computation, as the user would write them."""
    if spec.deterministic:
        return ("deterministic",)
    limits = {"batch size": spec.batch_size, "batch tokens": spec.batch_tokens}
    enabled = Optimizations.without(*spec.without)
    # Preprocessing together or alone gives the same bytes.
    off = (name for name in Optimizations.names() if name != "media" and not getattr(enabled, name))
    return (
        *(f"without {name}" for name in off),
        *(f"{name} {value}" for name, value in limits.items() if value is not None),
    )
