"""``evalkit diagnose attention``: where models look while they answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import data_root_option, json_option, ropes_dir_option, tasks_dir_option
from evalkit.core import provenance
from evalkit.core.atomic_files import write_atomic
from evalkit.core.console import say, scrub
from evalkit.core.errors import ExitCode, UsageError
from evalkit.core.strict_json import to_json
from evalkit.diagnose.attention.options import AVERAGES, QUERIES, AttentionOptions

if TYPE_CHECKING:
    from evalkit.config.run_spec import RunSpec
    from evalkit.diagnose.attention.collect import AttentionFigures

_KINDS = (".html", ".csv", ".json", ".svg", ".png")


@click.command("attention")
@click.option(
    "--model", "models", multiple=True, metavar="NAME", help="Checkpoints, as `evalkit run` takes them."
)
@click.option("--processor", metavar="BASE", help="Model that lends tokenizer and processor settings.")
@click.option(
    "--rope", "ropes", multiple=True, metavar="VARIANT", help="RoPE variants, as `evalkit run` takes them."
)
@click.option("--tasks", multiple=True, metavar="NAMES", help="Names, globs or groups (see `evalkit tasks`).")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many samples of each task.")
@click.option(
    "--layers", metavar="LIST", default="all", show_default=True, help="Such as `4,12,20,28`; the first is 1."
)
@click.option(
    "--queries",
    type=click.Choice(list(QUERIES)),
    default="answer",
    show_default=True,
    help="Whose attention: of the queries that choose the answer's tokens, of the one that chooses its "
    "first, or of all text after the first image as well.",
)
@click.option(
    "--average",
    type=click.Choice(list(AVERAGES)),
    default="samples",
    show_default=True,
    help="What counts the same: every sample, or every query.",
)
@click.option(
    "--heads",
    type=click.Choice(["mean", "groups", "each"]),
    default="groups",
    show_default=True,
    help="Rows of the tables: the mean of all heads; also that of the heads of each axis; or every head.",
)
@click.option(
    "--sink",
    "sink_percent",
    type=click.FloatRange(min=0, max=50, min_open=True),
    default=5.0,
    show_default=True,
    metavar="PERCENT",
    help="A sink is looked for among this share of a visual block's tokens, its first.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Samples of each task on the page.",
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A file to write: a page (.html), all numbers (.csv, .json) or a figure (.svg, .png); may be "
    "repeated.",
)
@data_root_option
@tasks_dir_option
@ropes_dir_option
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), help="Weights.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--device-map", metavar="NAME", help="`auto`: spread each model over all GPUs that are seen.")
@click.option("--max-frames", type=click.IntRange(min=1), help="Of a video; by default the paper's 768.")
@click.option(
    "--visual-tokens", type=click.IntRange(min=1), help="Of a request; by default the paper's 24576."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress, only the tables.")
@json_option
def command(
    layers: str,
    queries: Any,
    average: Any,
    heads: str,
    sink_percent: float,
    pictures: int,
    outputs: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> int:
    r"""Measure where models look while they answer: visual tokens, sinks, distances, fading.

    Every sample is answered as `evalkit run` does; then prompt and answer are read once more, and the
    attention of the chosen queries is measured.

    \b
    evalkit diagnose attention --model tiny --rope vanilla,mrope-i --tasks mini
    """
    from evalkit.api import diagnose_attention
    from evalkit.cli.progress import make_reporter, slow_files_shown
    from evalkit.config.run_spec import RunSpec
    from evalkit.diagnose.attention.output import json_of

    _check_outputs(outputs)
    options = AttentionOptions(
        layers=_layers(layers),
        queries=queries,
        average=average,
        sink_percent=sink_percent,
        pictures=pictures if any(path.suffix == ".html" for path in outputs) else 0,
    )
    spec = RunSpec(**{"models": (), "tasks": (), **{key: each for key, each in given.items() if each}})
    with slow_files_shown(quiet or as_json), make_reporter(quiet or as_json) as reporter:
        figures = diagnose_attention(spec, options, reporter)
    for path in outputs:
        write_atomic(path, _content(path, figures, spec, heads))
    if as_json:
        say(to_json(json_of(figures, spec)))
    else:
        _show(figures, heads, outputs)
    return ExitCode.INCOMPLETE if figures.skipped else ExitCode.OK


def _layers(text: str) -> tuple[int, ...]:
    """Numbers of layers; none for all.

    Raises:
        UsageError: it is neither a list of numbers nor ``all``.
    """
    if text == "all":
        return ()
    try:
        return tuple(int(each) for each in text.split(","))
    except ValueError:
        raise UsageError(
            f"`--layers {text}`", "it is no list of numbers", "write `4,12,20,28`, or `all`"
        ) from None


def _check_outputs(outputs: tuple[Path, ...]) -> None:
    """Refuse a file that can't be written before anything is computed."""
    for path in outputs:
        if path.suffix not in _KINDS:
            raise UsageError(
                f"`--output {path}`",
                "its ending says nothing of what to write",
                f"use one of {', '.join(_KINDS)}",
            )
    if any(path.suffix in (".html", ".svg", ".png") for path in outputs):
        from evalkit.diagnose.attention.figure import require_matplotlib

        require_matplotlib()


def _content(path: Path, figures: AttentionFigures, spec: RunSpec, heads: str) -> bytes | str:
    from evalkit.diagnose.attention.figure import draw
    from evalkit.diagnose.attention.output import csv_of, json_of
    from evalkit.diagnose.attention.page import attention_page

    if path.suffix == ".html":
        return attention_page(figures, scrub(provenance.command(sys.argv)), heads)
    if path.suffix == ".csv":
        return csv_of(figures.rows)
    if path.suffix == ".json":
        return to_json(json_of(figures, spec))
    return draw(figures.rows, path.suffix.removeprefix("."))


def _show(figures: AttentionFigures, heads: str, outputs: tuple[Path, ...]) -> None:
    from evalkit.diagnose.attention.output import tables

    for title, names, lines in tables(figures.rows, heads):
        say(f"{title}")
        show(columns(lines, names))
        say("")
    definition = figures.options.definition()
    for shown, name in (("queries", "queries"), ("average", "average"), ("ranges", "interval")):
        say(f"{shown}: {definition[name]}")
    if figures.skipped:
        first = figures.skipped[0]
        reason = f"the first, {first.task}/{first.sample}: {first.reason}"
        say(f"not measured: {len(figures.skipped)} samples; {reason}")
    for path in outputs:
        say(f"wrote {path}")
