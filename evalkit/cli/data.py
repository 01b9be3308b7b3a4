"""``evalkit data``: fetch what tasks need, and check what is there."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evalkit.cli.options import data_root_option, json_option, tasks_dir_option
from evalkit.core.console import say
from evalkit.core.errors import ExitCode, UsageError
from evalkit.core.registry import load_task, resolve
from evalkit.core.strict_json import to_json

if TYPE_CHECKING:
    from evalkit.data.download import RepoPlan
    from evalkit.data.pull_spec import PullSpec

Command = TypeVar("Command", bound=Callable[..., Any])


def _pull_options(command: Command) -> Command:
    """The options of both commands."""
    for option in (
        tasks_dir_option,
        click.option("--subset", metavar="ci", help="Only the samples of each task's `ci` subset."),
        click.option(
            "--limit", type=click.IntRange(min=1), help="Only the samples that a run with this limit takes."
        ),
        data_root_option,
        click.argument("tasks", nargs=-1, required=True),
    ):
        command = option(command)
    return command


@click.group("data")
def command() -> None:
    """Fetch the data of tasks into a local mirror, and check a mirror."""


@command.command("pull")
@_pull_options
@click.option("--lock", type=click.Path(path_type=Path), help="A lock file to follow and to keep up to date.")
@click.option("--update", is_flag=True, help="Fetch the newest commits, whatever the lock file says.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched, and how much it is.")
@json_option
def pull_command(lock: Path | None, update: bool, dry_run: bool, as_json: bool, **options: Any) -> int:
    """Fetch everything that TASKS need (names, globs or groups) from the hub.

    Repeating the command goes on where it stopped. Afterwards runs need no network:
    `evalkit run --tasks ... --data-root DIR`.
    """
    from evalkit.data.download import plan_pull, pull, summary
    from evalkit.data.hub import HubDataset

    spec = _pull_spec(lock=lock, update=update, **options)
    told = _PullProgress(as_json)
    local = not any(isinstance(task.dataset, HubDataset) for task in spec.tasks)
    if dry_run or local:
        plans = plan_pull(spec)
        told.planned(plans, 0)
    else:
        plans = pull(spec, told)
    if as_json:
        say(to_json(summary(plans)))
    elif local:
        say("nothing to fetch: these tasks' data are on this machine")
    elif not dry_run:
        say(f"{len(plans)} data sets are in {spec.data_root}")
    return ExitCode.OK


@command.command("check")
@_pull_options
@json_option
def check_command(as_json: bool, **options: Any) -> int:
    """Say what TASKS lack in a mirror, and how to get it (exit code 4); which rows can't be asked (1);
    under which name each repository is there that has several.
    """
    from evalkit.data.check import check
    from evalkit.data.hub import HubDataset

    spec = _pull_spec(**options)
    found = check(spec)
    problems = [*found.missing, *found.bad]
    if as_json:
        say(to_json(problems))
    else:
        say("\n".join(problems) if problems else "nothing is missing")
    for line in found.taken:
        say(line, err=True)
    if found.bad:
        say("fix: mend these rows; until then, a run counts each as an error", err=True)
    if found.missing:
        words = " ".join(task.name for task in spec.tasks if isinstance(task.dataset, HubDataset))
        if words:
            say(f"fix: evalkit data pull {words} --data-root {spec.data_root}", err=True)
        return ExitCode.ENVIRONMENT
    return ExitCode.CHECK_FAILED if found.bad else ExitCode.OK


class _PullProgress:
    """Tells on stderr what is fetched; the hub's client draws the bars."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet

    def planned(self, plans: Sequence[RepoPlan], free: int) -> None:
        if self.quiet:
            return
        from rich.filesize import decimal

        for each in plans:
            names = ", ".join(task.name for task in each.tasks)
            new = each.size(missing_only=True)
            kept = f", kept as {each.name}" if each.name != each.remote.repo else ""
            say(
                f"{each.remote.repo} at {each.remote.commit[:12]}{kept} ({names}): {len(each.files)} files, "
                f"{decimal(each.size())}, {decimal(new)} to fetch",
                err=True,
            )
        if free:
            say(f"{decimal(free)} are free", err=True)

    def fetched(self, text: str) -> None:
        if not self.quiet:
            say(text, err=True)


def _pull_spec(
    tasks: tuple[str, ...],
    data_root: str | None,
    limit: int | None,
    subset: str | None,
    tasks_dirs: tuple[str, ...],
    lock: Path | None = None,
    update: bool = False,
) -> PullSpec:
    from evalkit.data.hub import HubDataset
    from evalkit.data.pull_spec import PullSpec

    root = data_root or os.environ.get("EVALKIT_DATA")
    if subset not in (None, "ci"):
        raise UsageError(f"subset `{subset}`", "there is none of this name", "use `ci`")
    chosen = [load_task(name, tasks_dirs) for name in resolve(tasks, tasks_dirs)]
    if root is None and any(isinstance(task.dataset, HubDataset) for task in chosen):
        raise UsageError(
            "no mirror given", "the data need a place", "add `--data-root DIR`, or set EVALKIT_DATA"
        )
    return PullSpec(chosen, Path(root or ".").expanduser(), limit, subset, lock, update)
