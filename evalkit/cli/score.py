"""``evalkit score``: predictions made elsewhere, or a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from evalkit.cli.import_ import matching_options
from evalkit.cli.layout import fields, show
from evalkit.cli.options import (
    json_option,
    official_random_option,
    reasoning_option,
    tasks_dir_option,
    with_data_root,
)
from evalkit.core.console import say
from evalkit.core.strict_json import to_json
from evalkit.metrics.reasoning import TAGS


@click.command("score")
@click.argument("what", type=click.Path(path_type=Path), metavar="FILE|RUN")
@click.option("--task", help="Only this task's lines of the file; of another program's file, whose it is.")
@official_random_option
@reasoning_option
@matching_options
@tasks_dir_option
@json_option
def command(
    what: Path,
    task: str | None,
    official_random: int | None,
    reasoning: str | None,
    tasks_dirs: tuple[str, ...],
    as_json: bool,
    **matching: Any,
) -> int:
    """Score a file of predictions (one JSON object a line, each naming its task), or a stored run.

    A run is scored again from what it stored: no model, data set or GPU is needed. Files of lmms-eval,
    VLMEvalKit and Inspect are scored as `evalkit import` would, with `--task`.
    """
    from evalkit.api import score_file, score_run

    if what.is_dir():
        from evalkit.cli.outcome import show_result

        return show_result(score_run(what, official_random, reasoning, tasks_dirs), as_json)
    found = score_file(what, task, official_random, reasoning or TAGS, tasks_dirs, **with_data_root(matching))
    if as_json:
        say(to_json(found))
    else:
        for task, result in found.items():
            _show(task, result)
    return 0


def _show(task: str, result: dict[str, Any]) -> None:
    scores = {name: f"{value:.4f}" for name, value in result["scores"].items()}
    rates = ", ".join(f"{name} {rate:.1%}" for name, rate in result["rates"].items())
    show(fields(f"{task} (n = {result['n']}; {rates}; reasoning by {result['reasoning']})", scores))
    for note in result.get("notes", ()):
        say(f"  - {note}")
