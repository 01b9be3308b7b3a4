"""``evalkit tasks``: the benchmarks that there are."""

from __future__ import annotations

from dataclasses import asdict

import click

from evalkit.cli.layout import columns, fields, show
from evalkit.cli.options import json_option, tasks_dir_option
from evalkit.core.console import say
from evalkit.core.registry import declared, load_task, resolve
from evalkit.core.strict_json import to_json


@click.group("tasks", invoke_without_command=True)
@tasks_dir_option
@json_option
@click.pass_context
def command(ctx: click.Context, tasks_dirs: tuple[str, ...], as_json: bool) -> None:
    """List benchmarks, or show one (`evalkit tasks show NAME`).

    Groups for `--tasks`: image, video, grounding, paper (the 25 rows of the paper's tables), mini,
    probe.
    """
    ctx.obj = tasks_dirs
    if ctx.invoked_subcommand:
        return
    infos = declared(tasks_dirs)
    if as_json:
        say(to_json([{**asdict(info), "path": str(info.path)} for info in infos]))
        return
    show(columns((info.name, info.category, info.title) for info in infos))


@command.command("show")
@click.argument("name")
@tasks_dir_option
@json_option
@click.pass_context
def show_command(ctx: click.Context, name: str, tasks_dirs: tuple[str, ...], as_json: bool) -> None:
    """Show everything that is declared about one benchmark, with one example."""
    from evalkit.cli.task_card import task_card

    folders = (*(ctx.obj or ()), *tasks_dirs)
    found = {each: task_card(load_task(each, folders)) for each in resolve((name,), folders)}
    if as_json:
        say(to_json(found))
    else:
        show(*map(fields, found, found.values()))


@command.command("docs")
@tasks_dir_option
def docs(tasks_dirs: tuple[str, ...]) -> None:
    """Print a page about all benchmarks in Markdown (`docs/tasks.md` is made by this)."""
    from evalkit.cli.task_card import page

    say(page([load_task(info.name, tasks_dirs) for info in declared(tasks_dirs)]), nl=False)
