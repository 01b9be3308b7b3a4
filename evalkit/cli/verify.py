"""``evalkit verify``: whether a run's figures come out of its journal, by what scored it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from evalkit.cli.options import json_option, tasks_dir_option
from evalkit.core.console import say
from evalkit.core.strict_json import to_json


@click.command("verify")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@tasks_dir_option
@click.option(
    "--stored-tasks",
    is_flag=True,
    help="Execute the run's own copies of task files, checked against their hashes. Only for runs of people "
    "whose code you would run.",
)
@json_option
def command(run: Path, tasks_dirs: tuple[str, ...], stored_tasks: bool, as_json: bool) -> int:
    """Compute every figure of a run again from its journal, and say whether evalkit's code, the tasks' files
    and the metrics are those that scored it.

    Exit code 0: all is the same. 1: something differs. 3: nothing differs, but something can't be told.
    """
    from evalkit.api import verify
    from evalkit.scoring.verify import SUBJECTS

    found = verify(run, tasks_dirs, stored_tasks)
    states = {subject: found.state(subject) for subject in SUBJECTS}
    if as_json:
        findings = [asdict(each) for each in found.findings]
        say(to_json({"run": str(run), **states, "recomputed": found.figures, "findings": findings}))
        return int(found.exit_code)
    for subject, state in states.items():
        count = f" ({found.figures} computed again)" if subject == "figures" else ""
        say(f"{subject}: {state}{count}")
        for each in found.findings:
            if each.subject == subject:
                say(f"  {each.where}: {each.why}")
    return int(found.exit_code)
