"""``evalkit probe``: curves of drawn abilities of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.figures import write_figure
from evalkit.cli.layout import columns, show
from evalkit.cli.options import group_by_option, json_option, label_option
from evalkit.cli.waiting import steps_shown
from evalkit.core.console import say
from evalkit.core.strict_json import to_json

if TYPE_CHECKING:
    from evalkit.report.ability import Ability


@click.command("probe")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--baseline", metavar="ARM", help="Add paired differences to this arm (its name or variant).")
@click.option("--allow-mismatch", is_flag=True, help="Use the samples that all arms share.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "csv"]),
    default="terminal",
    show_default=True,
    help="What the curves are written in.",
)
@click.option(
    "--plot", "figure", type=click.Path(path_type=Path), help="Draw them into a PNG, SVG or PDF file."
)
@label_option
@group_by_option
@json_option
def command(runs: tuple[Path, ...], form: str, figure: Path | None, as_json: bool, **options: Any) -> int:
    """Show how scores fall over the knob of each drawn ability (`--tasks probe`).

    Curves with intervals, the area under them without chance, and where they fall halfway to chance.
    """
    from evalkit.api import probe
    from evalkit.report import ability_text

    with steps_shown():
        found = probe(*runs, **options)
    if figure is not None:
        write_figure("evalkit.report.ability_plot", found, figure, ".png, .svg or .pdf")
    if as_json:
        say(to_json(ability_text.to_json(found)))
    elif form == "csv":
        say(ability_text.csv_text(found), nl=False)
    elif form == "markdown":
        say(ability_text.markdown_text(found))
    else:
        _print(found)
    return 0


def _print(found: Sequence[Ability]) -> None:
    from evalkit.report import ability_text

    for each in found:
        head, rows = ability_text.level_rows(each)
        say(f"{each.title} ({each.task}, {each.metric})")
        show(columns(rows, head))
        say("")
        compared = any(curve.area_difference is not None for curve in each.curves)
        shown = len(ability_text.HEAD) if compared else 3
        summary = [row[:shown] for row in ability_text.summary_rows(each)]
        show(columns(summary, ability_text.HEAD[:shown]))
        for warning in ability_text.warnings(each):
            say(f"! {warning}")
        say("")
    say("\n".join(ability_text.NOTES))
