"""``evalkit bench``: measurements against named baselines."""

from __future__ import annotations

from typing import Any

import click

from evalkit.spec import split_list


@click.group("bench")
def command() -> None:
    """Measure speed; every figure is a ratio against a baseline of the same run."""


@command.command("engine")
@click.option("--model", default="tiny", show_default=True)
@click.option("--rope", default="auto", show_default=True)
@click.option("--tasks", default="mini_chartqa,mini_docvqa,mini_refcoco", show_default=True)
@click.option("--limit", default=60, show_default=True, help="Samples of each task.")
@click.option("--dtype", default="float32", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--data-root", metavar="DIR", help="Local mirror with the hub's layout.")
@click.pass_context
def engine(ctx: click.Context, /, tasks: str, **options: Any) -> None:
    """Samples per second: the engine, with and without each technique, a batch of one, a naive script."""
    from evalkit.bench.engine import EngineBench, bench_engine

    ctx.exit(bench_engine(EngineBench(tasks=split_list([tasks]), **options)))


@command.command("ropes")
@click.option("--tokens", default=24_000, show_default=True, help="Visual tokens of the video.")
@click.option("--batch", default=8, show_default=True, help="Rows of the batch.")
@click.option("--rope", default="vanilla,mrope,mrope-i,mhrope,videorope,circlerope", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.pass_context
def ropes(ctx: click.Context, tokens: int, batch: int, rope: str, device: str) -> None:
    """Position ids: against transformers' get_rope_index, and a tiny model's prefill."""
    from evalkit.bench.ropes import bench_ropes

    ctx.exit(bench_ropes(tokens, batch, split_list([rope]), device))
