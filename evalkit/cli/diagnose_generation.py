"""``evalkit diagnose generation``: loops, truncation, drift and empty answers in finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import json_option
from evalkit.core.atomic_files import write_atomic
from evalkit.core.console import inline, say
from evalkit.core.strict_json import to_json

if TYPE_CHECKING:
    from evalkit.diagnose.generation import Finding, GenerationDiagnosis

_LONGEST = 100


@click.command("generation")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path),
    help="Write the page of `evalkit report` into this file, and link every answer that is named to it.",
)
@click.option(
    "--show",
    "shown",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Answers printed of each kind, system and task.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write the result as JSON into this file."
)
@json_option
def command(runs: tuple[Path, ...], page: Path | None, shown: int, output: Path | None, as_json: bool) -> int:
    """Find loops, truncation, drift and empty answers in finished runs."""
    from evalkit.diagnose.generation import diagnose_generation

    found = diagnose_generation(runs)
    if page:
        from evalkit.api import report

        report(*runs, output=page, allow_mismatch=True)
        found = found.linked(str(page))
    if output:
        write_atomic(output, to_json(found.to_json()) + "\n")
    if as_json:
        say(to_json(found.to_json()))
    else:
        _print(found, shown)
    return 0


def _print(found: GenerationDiagnosis, shown: int) -> None:
    from evalkit.diagnose.generation import KINDS

    several = len({each.run for each in found.cells}) > 1
    rows = [
        (
            each.task,
            f"{each.arm} ({each.run})" if several else each.arm,
            f"{each.answers:,}",
            *(_counted(count, each.answers) for count in each.counts),
        )
        for each in sorted(found.cells, key=lambda each: each.task)
    ]
    show(columns(rows, ("task", "system", "answers", *KINDS)))
    for task, usual in found.usual.items():
        formats = ", ".join(usual.formats) or "too few to tell"
        formats += f", 99% of at most {usual.length:,} characters" if usual.length else ""
        scripts = f"; written in {', '.join(usual.scripts)}" if usual.scripts else ""
        say(f"\n{task}: answers are usually {formats}{scripts}", nl=False)
    say("")
    groups: dict[tuple[str, str, str, str], list[Finding]] = {}
    for each in found.findings:
        for kind in each.kinds:
            groups.setdefault((each.run, each.task, each.arm, kind), []).append(each)
    for (run, task, arm, kind), own in groups.items():
        if not shown:
            break
        where = f" ({run})" if several else ""
        say(f"\n{kind}: {task}, {arm}{where}")
        for each in own[:shown]:
            text = inline(each.text if len(each.text) <= _LONGEST else f"{each.text[:_LONGEST]} ...")
            what = inline(each.what[each.kinds.index(kind)])
            say(
                f"  {each.sample_id}: {what}: {text or '(nothing)'}"
                + (f"\n    {each.link}" if each.link else "")
            )
        if len(own) > shown:
            say(f"  and {len(own) - shown:,} more (`--json`)")


def _counted(count: int, answers: int) -> str:
    return f"{count:,} ({count / answers:.1%})" if count else "0"
