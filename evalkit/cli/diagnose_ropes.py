"""``evalkit diagnose ropes``: variants compared without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.figures import write_figure
from evalkit.cli.layout import columns, show
from evalkit.cli.options import json_option, ropes_dir_option
from evalkit.config.run_spec import expand_ablations, parse_rope_option, rope_files, split_list
from evalkit.core.atomic_files import write_atomic
from evalkit.core.console import say
from evalkit.core.errors import UsageError
from evalkit.core.strict_json import to_json
from evalkit.rope.outside import rope_catalog

if TYPE_CHECKING:
    from evalkit.diagnose.consistency import Consistency
    from evalkit.diagnose.criteria import Verdict
    from evalkit.diagnose.ropes import RopeDiagnosis

_PRESETS = "page, images, short-video, long-video, frames, long-answer"


@click.command("ropes")
@click.option("--rope", "ropes", multiple=True, help="Variants or groups such as `table4`; all by default.")
@ropes_dir_option
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    metavar="NAME[=PIECES]",
    help=f"What is laid out (all by default): {_PRESETS}; or one of your own, `mine=t20+i60x44+t30+g256`: "
    "text, image (v: video, f: its frames one by one), text, answer; may be repeated.",
)
@click.option(
    "--head-dim", type=click.IntRange(2), default=128, show_default=True, help="Channels of a head."
)
@click.option(
    "--kv-heads", type=click.IntRange(1), default=8, show_default=True, help="Key-value heads of a layer."
)
@click.option(
    "--base", type=click.FloatRange(1, min_open=True), default=1e6, show_default=True, help="Rotary base."
)
@click.option(
    "--length", type=click.IntRange(1), default=32768, show_default=True, help="Trained context, for YaRN."
)
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write every number into this file.")
@click.option(
    "--figure", type=click.Path(path_type=Path), help="Draw spectrum and decay into an SVG or PNG file."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the result as JSON into this file."
)
@json_option
def command(
    ropes: tuple[str, ...],
    ropes_dirs: tuple[str, ...],
    layouts: tuple[str, ...],
    csv_file: Path | None,
    figure: Path | None,
    output: Path | None,
    as_json: bool,
    **head: int | float,
) -> None:
    """Compare variants without a model: positions, spectrum, text prior, decay.

    Verdicts stand beside Table 1 of arXiv 2510.23095, and it is said where it is contradicted.
    """
    from evalkit.diagnose.layouts import read_layouts
    from evalkit.diagnose.ropes import diagnose_ropes
    from evalkit.diagnose.spectrum import Head

    if int(head["head_dim"]) % 2:
        raise UsageError(
            f"heads of {head['head_dim']} channels", "channels are rotated in pairs", "give an even number"
        )
    files = rope_files(ropes_dirs)
    names = expand_ablations(split_list(ropes)) if ropes else list(rope_catalog(files).variants)
    variants = list(dict.fromkeys(parse_rope_option(name, files) for name in names))
    shape = Head(int(head["head_dim"]), int(head["kv_heads"]), float(head["base"]), int(head["length"]))
    found = diagnose_ropes(variants, read_layouts(layouts), shape)
    if ropes and (problems := [each for each in found.variants if each.problem]):
        raise UsageError(
            f"variant `{problems[0].variant}`", problems[0].problem, "see `--head-dim` and `--kv-heads`"
        )
    if csv_file:
        write_atomic(csv_file, found.to_csv())
    if output:
        write_atomic(output, to_json(found.to_json()) + "\n")
    if figure:
        write_figure("evalkit.diagnose.ropes_figure", found, figure)
    if as_json:
        say(to_json(found.to_json()))
    else:
        _print(found)


def _print(found: RopeDiagnosis) -> None:
    laid = [each for each in found.variants if not each.problem]
    head = found.head
    say(f"heads of {head.head_dim} channels, {head.kv_heads} key-value heads, base {head.base:,.0f}\n")
    names = [verdict.criterion for verdict in laid[0].verdicts] if laid else []
    show(columns([(each.variant, *map(_mark, each.verdicts)) for each in laid], ("variant", *names)))
    say("* another mark than in Table 1 of arXiv 2510.23095; - does not apply to one axis\n")
    for layout in found.layouts:
        say(
            f"{layout.name} = {layout.written}: {layout.prompt_tokens:,} tokens of prompt, "
            f"{layout.generated:,} of answer"
        )
        rows = [
            (each.variant, *_cells(own)) for each in laid for own in each.layouts if own.layout == layout.name
        ]
        show(columns(rows, ("variant", *_HEAD)))
        say("")
    spectra = [
        (
            each.variant,
            axis.axis,
            f"{axis.share:.1%}",
            f"{axis.shortest:,.1f}–{axis.longest:,.0f}",
            *(f"{value:.3f}" for value in (axis.coverage, axis.evenness)),
            f"{axis.resolution:.3f}",
            f"{axis.heads:.0%}",
        )
        for each in laid
        for axis in each.spectrum
    ]
    heads = ("variant", "axis", "share", "wavelengths", "coverage", "evenness", "resolution", "of heads")
    show(columns(spectra, heads))
    rows = [(each.variant, f"{each.text_difference:.3g}", f"{each.not_rotated:.0%}") for each in laid]
    say("")
    show(columns(rows, ("variant", "text: largest cos/sin difference", "not rotated")))
    for title, lines in (
        ("where it contradicts the paper", found.contradictions()),
        ("tokens that can't be told apart by position", found.facts()),
        ("not laid out", [f"{each.variant}: {each.problem}" for each in found.variants if each.problem]),
    ):
        if lines:
            say("\n".join(("", title, *(f"  {line}" for line in lines))))


_HEAD = (
    "structure",
    "met by later text",
    "depth",
    "interval",
    "slack",
    "growth",
    "motion",
    "32k",
    "128k",
    "256k",
)


def _cells(own: Consistency) -> tuple[str, ...]:
    met = " ".join(f"{axis.axis} {axis.overlap:.1%}" for axis in own.axes if axis.overlap)
    depth = max(axis.depth for axis in own.axes)
    return (
        own.structure,
        met or "none",
        f"{depth:.0f}",
        f"{own.interval:,.1f}",
        f"{own.slack:.2f}",
        f"{own.growth:.5f}",
        "-" if own.motion is None else f"{own.motion:.2f}",
        *(f"{value:,.0f}" for value in own.largest.values()),
    )


def _mark(verdict: Verdict) -> str:
    text = {True: "yes", False: "no", None: "-"}[verdict.met]
    return text + "*" if verdict.contradicts else text
