"""``evalkit compare``: finished runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.options import group_by_option, json_option, label_option
from evalkit.cli.waiting import steps_shown
from evalkit.core.console import say
from evalkit.core.errors import UsageError
from evalkit.core.strict_json import to_json

if TYPE_CHECKING:
    from evalkit.report.comparison import Comparison
    from evalkit.report.layout import Layout

FORMATS = ("terminal", "markdown", "csv", "latex", "html")
LAYOUTS = ("default", "paper")


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--baseline", metavar="ARM", help="Add paired differences to this arm (its name or variant).")
@click.option(
    "--correction",
    type=click.Choice(["holm", "bh", "none"]),
    default="holm",
    show_default=True,
    help="For testing many benchmarks: Holm's, or Benjamini and Hochberg's.",
)
@click.option("--allow-mismatch", is_flag=True, help="Compare the samples that all arms share, and say so.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="terminal", help="What the table is written in."
)
@click.option("--breakdown", is_flag=True, help="Add each benchmark's categories (CSV always has them).")
@click.option(
    "--layout",
    "preset",
    type=click.Choice(LAYOUTS),
    default="default",
    help="`paper`: rows, columns and names of the paper's Table 2, with a caption; two digits, no intervals.",
)
@click.option(
    "--digits", type=click.IntRange(min=0, max=6), help="Digits after the point; 1, or 2 in `paper`."
)
@click.option(
    "--intervals/--no-intervals",
    default=None,
    help="95% intervals beside scores; by default all but `latex` and `paper`.",
)
@click.option("--standalone", is_flag=True, help="With `--format latex`: a document that compiles alone.")
@click.option(
    "--reference",
    metavar="NAME",
    help="A published table to set beside the runs, such as `paper-qwen2.5-vl-7b`.",
)
@click.option(
    "--backend-parity",
    "parity",
    is_flag=True,
    help="Of runs on two engines (`run --engine vllm`): how many answers and scores differ, and where.",
)
@label_option
@group_by_option
@json_option
def command(
    runs: tuple[Path, ...],
    form: str,
    breakdown: bool,
    preset: str,
    digits: int | None,
    intervals: bool | None,
    standalone: bool,
    parity: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Compare the variants of one or several runs: rows are benchmarks, columns variants.

    With a baseline, every difference is tested on the samples that both arms answered.
    """
    if parity:
        from evalkit.api import backend_parity
        from evalkit.cli.outcome import show_parity

        show_parity(backend_parity(*runs), as_json)
        return 0
    data = "--json" if as_json else "--format csv" if form == "csv" else None
    if data and (preset != LAYOUTS[0] or digits is not None or intervals is not None):
        raise UsageError(
            f"a layout with `{data}`",
            "it has every figure at full precision, and no layout",
            "leave `--layout`, `--digits` and `--intervals` out, or choose another `--format`",
        )
    if standalone and (form != "latex" or as_json):
        raise UsageError(
            "`--standalone` without `--format latex`", "it is about LaTeX", "add `--format latex`"
        )
    from evalkit.api import compare
    from evalkit.report.layout import Layout

    if form == "latex" and intervals is None:
        intervals = False
    layout = Layout.of(preset, digits, intervals)
    with steps_shown():
        comparison = compare(*runs, **options)
    if as_json:
        say(to_json(comparison.to_json()))
    elif form == "terminal":
        from evalkit.cli.outcome import print_comparison

        print_comparison(comparison, breakdown, layout)
    elif form == "latex":
        _say_latex(comparison, layout, breakdown, standalone)
    else:
        from evalkit.report import tables

        if form == "csv":
            say(tables.csv(comparison), nl=False)
        else:
            say(getattr(tables, form)(comparison, breakdown, layout))
    return 0


def _say_latex(comparison: Comparison, layout: Layout, breakdown: bool, standalone: bool) -> None:
    from evalkit.report.latex import engine_note, latex

    text = latex(comparison, layout, breakdown, standalone)
    say(text)
    note = engine_note(text)
    if note:
        say(f"note: {note}", err=True)
