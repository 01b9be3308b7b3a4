"""``evalkit ci``: has anything changed?"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evalkit.cli.options import data_root_option, json_option, tasks_dir_option
from evalkit.config.run_spec import RunSpec, split_list
from evalkit.core.console import say
from evalkit.core.errors import ExitCode, UsageError
from evalkit.core.strict_json import to_json


@click.group("ci")
def command() -> None:
    """Store what models answer on small fixed subsets, and check that it stays so."""


@command.command("update")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, metavar="NAME", help="As for `evalkit run`.")
@click.option("--rope", "ropes", multiple=True, metavar="VARIANT", help="As for `evalkit run`.")
@click.option("--processor", metavar="BASE", help="As for `evalkit run`.")
@click.option("--tasks", multiple=True, metavar="NAMES", help="As for `evalkit run`.")
@click.option("--limit", type=click.IntRange(min=1), help="Samples of each task, instead of its ci subset.")
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), help="Weights.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@data_root_option
@tasks_dir_option
def update_command(folder: Path, **options: Any) -> int:
    """Run models on the `ci` subsets and store every answer in FOLDER, to be committed.

    Without options, the run spec in FOLDER's order.yaml is run again.
    """
    from evalkit.ci import baseline
    from evalkit.ci.check import update
    from evalkit.cli.progress import make_reporter

    given = {name: value for name, value in options.items() if value not in (None, ())}
    for name in ("models", "ropes", "tasks"):
        if name in given:
            given[name] = split_list(given[name])
    if "models" in given or "tasks" in given:
        subset = None if "limit" in given else "ci"
        spec = RunSpec(**{"models": (), "tasks": (), "subset": subset, "workers": 0, **given})
    else:
        spec = baseline.read_run_spec(folder, workers=0, **given)
    with make_reporter(False) as reporter:
        result = update(folder, spec, reporter)
    say(f"{len(result.records)} answers are stored in {folder}")
    return ExitCode.OK


@command.command("check")
@click.argument("baselines", nargs=-1, type=click.Path(path_type=Path))
@click.option("--junit", type=click.Path(path_type=Path), help="Write the verdicts as JUnit XML.")
@click.option("--summary", type=click.Path(path_type=Path), help="Append the verdicts as Markdown.")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@data_root_option
@tasks_dir_option
@json_option
def check_command(
    baselines: tuple[Path, ...], junit: Path | None, summary: Path | None, as_json: bool, **options: Any
) -> int:
    """Run baselines again and compare every answer (by default, all in results/baselines).

    Exit code 0: GO, nothing changed beyond the policy. 1: NO-GO. 3: INCONCLUSIVE. Advisory tasks are
    reported and change neither. In GitHub Actions each regression is annotated.
    """
    from evalkit.ci import github, reports
    from evalkit.ci.check import check, folders
    from evalkit.ci.verdict import EXIT, overall
    from evalkit.cli.progress import make_reporter

    chosen = folders(baselines)
    if not chosen:
        raise UsageError(
            "no baseline", "there is none in results/baselines", "make one: evalkit ci update FOLDER"
        )
    given = {name: value for name, value in options.items() if value not in (None, ())}
    judged = []
    for folder in chosen:
        with make_reporter(as_json) as reporter:
            judged += [(folder, verdict) for verdict in check(folder, reporter, workers=0, **given)]
    verdicts = [verdict for _, verdict in judged]
    text = reports.markdown(verdicts)
    if junit:
        reports.write_junit(junit, verdicts)
    if summary:
        with open(summary, "a", encoding="utf-8") as file:
            file.write(text)
    found = {"verdict": overall(verdicts), "tasks": [asdict(each) for each in verdicts]}
    say(to_json(found) if as_json else text, nl=as_json)
    if github.in_github_actions():
        workspace = os.environ.get("GITHUB_WORKSPACE")
        for line in github.workflow_commands(judged, Path(workspace) if workspace else None):
            say(line, err=True)
    return int(EXIT[overall(verdicts)])
