"""``evalkit run``: the main job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.generation import generation_options
from evalkit.cli.options import (
    json_option,
    official_random_option,
    reasoning_option,
    ropes_dir_option,
    tasks_dir_option,
    token_budget,
)
from evalkit.core.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from evalkit.config.run_spec import RunSpec


@click.command("run")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Checkpoint: a folder, a hub id, `tiny`, `mock`; an adapter, or `BASE+ADAPTER`; or "
    "`VARIANT=CHECKPOINT` to pair them, `LABEL=VARIANT=CHECKPOINT` to name them in tables. Repeat it or give "
    "a comma list; 'RUN/checkpoint-*' for all steps of a training.",
)
@click.option(
    "--processor",
    metavar="BASE",
    help="Model (a folder or hub id) that lends tokenizer and processor settings to checkpoints without.",
)
@click.option(
    "--rope",
    "ropes",
    multiple=True,
    metavar="VARIANT",
    help="RoPE variant for every checkpoint that isn't paired with one; `auto` takes what the "
    "checkpoint's config says, else the family's native one. Repeat it or give a comma list.",
)
@click.option("--tasks", multiple=True, metavar="NAMES", help="Names, globs or groups (see `evalkit tasks`).")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many samples of each task.")
@click.option("--subset", metavar="ci", help="`ci`: each task's small fixed subset, from all its categories.")
@official_random_option
@click.option(
    "--lmms-python", metavar="PATH", help="Interpreter with lmms-eval, for tasks named `lmms:NAME`."
)
@click.option("--lmms-include", multiple=True, metavar="DIR", help="Folder with further tasks of lmms-eval.")
@click.option("--output", metavar="DIR", help="Run directory; by default a name of its own in results/.")
@click.option("--data-root", metavar="DIR", help="Local mirror of the hub's data sets (or EVALKIT_DATA).")
@tasks_dir_option
@ropes_dir_option
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), help="Weights.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--devices",
    multiple=True,
    metavar="LIST",
    help="An engine on each: `0,1,2,3` (GPUs), `0+1,2+3` (two GPUs an engine), `cpu,cpu`.",
)
@click.option(
    "--executor",
    type=click.Choice(["auto", "local", "ray"]),
    help="`ray`: engines on the Ray cluster at RAY_ADDRESS, one for each GPU. Default: on this machine.",
)
@click.option("--gpus-per-engine", type=click.IntRange(min=1), help="On a cluster; 1 unless told otherwise.")
@click.option("--device-map", metavar="NAME", help="`auto`: spread each model over all GPUs that are seen.")
@click.option(
    "--engine",
    type=click.Choice(["evalkit", "vllm"]),
    help="What computes the answers; `vllm` runs the variants that its integer positions can express.",
)
@click.option("--vllm-python", metavar="PATH", help="Interpreter with vLLM, if this environment has none.")
@click.option(
    "--engine-args",
    multiple=True,
    metavar="NAME=VALUE",
    help="vLLM's engine arguments, a comma list or a JSON object: `tensor_parallel_size=4`, "
    "`quantization=fp8`, `max_model_len=32768`.",
)
@click.option(
    "--parity",
    type=click.IntRange(min=1),
    metavar="N",
    help="With vLLM: have evalkit's own engine answer N samples of each task, too, and tell what differs.",
)
@click.option("--max-frames", type=click.IntRange(min=1), help="Of a video; by default the paper's 768.")
@click.option(
    "--visual-tokens", type=click.IntRange(min=1), help="Of a request; by default the paper's 24576."
)
@click.option(
    "--video-backend",
    type=click.Choice(["pyav", "decord", "torchcodec"]),
    help="What decodes videos; `pyav` unless told otherwise. Part of a model's identity.",
)
@click.option("--workers", type=click.IntRange(min=0), help="Preprocessing processes; 0 for none.")
@click.option(
    "--media-timeout",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    metavar="SECONDS",
    help="How long reading a medium may take until its samples get an error; 120 by default.",
)
@click.option(
    "--batch-tokens",
    type=token_budget,
    metavar="N|auto",
    help="Tokens answered at a time, or `auto` (the default): as many as fit into the free memory.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="At most this many samples at a time.")
@click.option(
    "--without",
    multiple=True,
    metavar="NAMES",
    help="Switch techniques of the engine off: media, vision, prefix, packing, continuous, graphs, lockstep; "
    "or all.",
)
@click.option("--compile", is_flag=True, help="Compile parts of the model first; pays in long runs.")
@click.option(
    "--deterministic",
    is_flag=True,
    help="In 16 bits too, give the same answers whatever is answered at the same time; slower.",
)
@click.option(
    "--mc-logits",
    is_flag=True,
    help="Of multiple-choice questions, take the likeliest letter instead of generating an answer.",
)
@generation_options
@reasoning_option
@click.option(
    "--audit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="LOGITS",
    help="Give answers again, each alone, whose closest choice had a smaller lead; tell which differ.",
)
@click.option(
    "--rate-limit",
    "rate_limits",
    multiple=True,
    metavar="NAME=SHARE",
    help="A score is unreliable, and the run ends with 3, if more than this share of its answers is "
    "`truncated`, `unparsed` or `repeating`; 0.2 each by default.",
)
@click.option(
    "--wait", is_flag=True, help="Wait for what another process is answering into the same --output."
)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file with these options.")
@click.option("--dry-run", is_flag=True, help="Show what would run: samples, prompts, token counts.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only the table.")
@json_option
@click.argument("more", nargs=-1, metavar="")
def command(
    config: Path | None,
    dry_run: bool,
    quiet: bool,
    as_json: bool,
    rate_limits: tuple[str, ...],
    more: tuple[str, ...],
    **options: Any,
) -> int:
    r"""Run models with RoPE variants on tasks, and print the comparison table.

    Running the same command again does only what is missing.

    \b
    evalkit run --model tiny --rope vanilla,mrope,mrope-i,mhrope --tasks mini
    evalkit run --model mrope=/ckpts/a --model mrope-i=/ckpts/b \
        --tasks paper --data-root /data
    """
    if more:
        from evalkit.models.checkpoints.series import with_shell_expanded

        options["models"] = with_shell_expanded(options["models"], more)
    spec = read_spec(config, {**options, "rate_limits": dict(_rate_limits(rate_limits))})
    if dry_run:
        from evalkit.api import plan
        from evalkit.cli.outcome import show_plan

        show_plan(plan(spec), as_json)
        return ExitCode.OK
    from evalkit.api import engine_parity, run
    from evalkit.cli.outcome import show_parity, show_result
    from evalkit.cli.progress import make_reporter, slow_files_shown

    with slow_files_shown(quiet or as_json):
        with make_reporter(quiet or as_json) as reporter:
            outcome = run(spec, reporter)
        with make_reporter(quiet or as_json) as reporter:
            parity = engine_parity(spec, reporter) if spec.parity else []
    code = show_result(outcome, as_json)
    if parity:
        show_parity(parity, as_json)
    return code


def read_spec(config: Path | None, options: dict[str, Any]) -> RunSpec:
    """Build the spec; what is typed beats what the file says."""
    from evalkit.config.run_spec import RunSpec, load_config

    chosen: dict[str, Any] = load_config(config) if config else {}
    given = {name: value for name, value in options.items() if value is not False and value not in _NOT_GIVEN}
    chosen |= given
    chosen.setdefault("models", ())
    chosen.setdefault("tasks", ())
    return RunSpec(**chosen)


_NOT_GIVEN: tuple[Any, ...] = (None, (), {})


def _rate_limits(values: tuple[str, ...]) -> Iterator[tuple[str, float]]:
    for text in (each for value in values for each in value.split(",")):
        name, _, share = text.partition("=")
        try:
            yield name.strip(), float(share)
        except ValueError:
            raise UsageError(
                f"rate limit `{text}`", "it is not NAME=SHARE", "write `--rate-limit unparsed=0.5`"
            ) from None
