"""``evalkit bench``: measurements against named baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalkit.cli.checkout import require_tools
from evalkit.cli.options import ropes_dir_option
from evalkit.config.engine_args import read_engine_args
from evalkit.config.run_spec import parse_rope_option, rope_files, split_list


def _counts(text: str) -> tuple[int, ...]:
    """Numbers from a comma list."""
    return tuple(int(each) for each in split_list([text]))


# No smaller video can be made of soft noise, or be cut into patches.
_FRAMES, _SIDE, _TOKENS = click.IntRange(min=2), click.IntRange(min=64), click.IntRange(min=1)


@click.group("bench")
def command() -> None:
    """Measure speed; every figure is a ratio against a baseline of the same run."""
    require_tools("evalkit bench", "bench")


@command.command("engine")
@click.option("--model", default="tiny", show_default=True, help="A checkpoint, or `random:KIND`.")
@click.option("--rope", default="auto", show_default=True)
@ropes_dir_option
@click.option("--tasks", default="mini_chartqa,mini_docvqa,mini_refcoco", show_default=True)
@click.option("--workload", metavar="NAME", help="Made questions instead: images, video, docvqa, ...")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Samples of each task (60), or media of a workload."
)
@click.option(
    "--baseline-limit", type=click.IntRange(min=1), help="Of these, so many are put to the baselines, too."
)
@click.option("--dtype", default="float32", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--data-root", metavar="DIR", help="Local mirror with the hub's layout.")
@click.option("--workers", type=click.IntRange(min=0), help="Preprocessing processes of the engine.")
@click.option(
    "--techniques",
    default="all",
    show_default=True,
    metavar="NAMES",
    help="Measure without each of these, too; or `none`.",
)
@click.option("--deterministic", is_flag=True, help="Measure with `run --deterministic`, too.")
@click.option("--compiled", is_flag=True, help="Measure with a compiled model, too.")
@click.option("--lockstep", default="", metavar="VARIANTS", help="Measure with these beside it, too.")
@click.option("--lmms-python", metavar="PATH", help="Interpreter with lmms-eval, to measure that as well.")
@click.option("--engine", type=click.Choice(["evalkit", "vllm"]), default="evalkit", help="`vllm`: it, too.")
@click.option("--vllm-python", metavar="PATH", help="Interpreter with vLLM, if this environment has none.")
@click.option("--engine-args", multiple=True, metavar="NAME=VALUE", help="vLLM's engine arguments.")
@click.option("--folder", metavar="DIR", help="Keep made checkpoints and media there.")
@click.pass_context
def engine(
    ctx: click.Context,
    /,
    tasks: str,
    techniques: str,
    lockstep: str,
    engine_args: tuple[str, ...],
    **options: Any,
) -> None:
    """Samples per second: the engine, a naive script, lmms-eval, and the limit of the machine."""
    from evalkit.engine.optimizations import Optimizations
    from tools.bench.engine import EngineBench, bench_engine

    named = {"all": None, "none": ()}.get(techniques, split_list([techniques]))
    Optimizations.without(*(named or ()))  # a misspelt one shows before anything is loaded
    given = tuple(read_engine_args(engine_args).items())
    lists: dict[str, Any] = {"tasks": split_list([tasks]), "lockstep": split_list([lockstep])}
    ctx.exit(bench_engine(EngineBench(**lists, optimizations=named, engine_args=given, **options)))


@command.command("scaling")
@click.option("--model", default="random:qwen2_5_vl", show_default=True)
@click.option("--samples", default="10,20,40", show_default=True, type=_counts, help="Numbers of images.")
@click.option("--questions", default="1,2,5,10", show_default=True, type=_counts, help="Of each video.")
@click.option("--variants", default="1,2,4", show_default=True, type=_counts, help="In lockstep.")
@click.option("--dtype", default="float32", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--folder", metavar="DIR", help="Keep made checkpoints and media there.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw it.")
@click.pass_context
def scaling(ctx: click.Context, /, **options: Any) -> None:
    """How the time grows with samples, questions about a video, and variants of a model."""
    from tools.bench.scaling import ScalingBench, bench_scaling

    ctx.exit(bench_scaling(ScalingBench(**options)))


@command.command("memory")
@click.option("--frames", default=2048, show_default=True, type=_FRAMES, help="Of the video; all are shown.")
@click.option("--size", default=(1280, 720), type=(_SIDE, _SIDE), metavar="WIDTH HEIGHT", help="1280 720.")
@click.option("--visual-tokens", default=262_144, show_default=True, type=_TOKENS, help="Limit of the video.")
@click.option("--model", default="random:qwen2_5_vl-thin", show_default=True)
@click.option("--dtype", default="float32", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--folder", metavar="DIR", help="Keep made checkpoints and media there.")
@click.pass_context
def memory(ctx: click.Context, /, **options: Any) -> None:
    """Memory that a long video takes, against all its frames at full size."""
    from tools.bench.memory import MemoryBench, bench_memory

    ctx.exit(bench_memory(MemoryBench(**options)))


@command.command("ropes")
@click.option("--tokens", default=24_000, show_default=True, help="Visual tokens of the video.")
@click.option("--batch", default=8, show_default=True, help="Rows of the batch.")
@click.option("--rope", default="vanilla,mrope,mrope-i,mhrope,videorope,circlerope", show_default=True)
@ropes_dir_option
@click.option("--device", default="auto", show_default=True)
@click.pass_context
def ropes(
    ctx: click.Context, tokens: int, batch: int, rope: str, ropes_dirs: tuple[str, ...], device: str
) -> None:
    """Position ids: against transformers' get_rope_index, and a tiny model's prefill."""
    from tools.bench.ropes import bench_ropes

    files = rope_files(ropes_dirs)
    variants = [parse_rope_option(each, files) for each in split_list([rope])]
    ctx.exit(bench_ropes(tokens, batch, variants, device))


@command.command("store")
@click.option("--records", default="10000,100000", show_default=True, type=_counts, help="Of each run.")
@click.option("--runs", default=4, show_default=True, type=click.IntRange(min=1), help="That are compared.")
@click.option(
    "--table",
    default=200,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="SAMPLES",
    help="Of each benchmark of a table like the paper's; 0 for no table.",
)
@click.option("--folder", metavar="DIR", help="Keep made runs there.")
@click.pass_context
def store(ctx: click.Context, /, **options: Any) -> None:
    """Stored runs: appending, scoring, resuming, comparing, against reading the same bytes."""
    from tools.bench.store import StoreBench, bench_store

    ctx.exit(bench_store(StoreBench(**options)))
