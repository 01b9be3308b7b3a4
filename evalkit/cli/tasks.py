"""``evalkit tasks``: the benchmarks that there are."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from evalkit.cli.options import json_option, tasks_dir_option
from evalkit.cli.show import columns, fields
from evalkit.registry import declared, load_task, resolve


@click.group("tasks", invoke_without_command=True)
@tasks_dir_option
@json_option
@click.pass_context
def command(ctx: click.Context, tasks_dirs: tuple[str, ...], as_json: bool) -> None:
    """List benchmarks, or show one (`evalkit tasks show NAME`).

    Groups for `--tasks`: image, video, grounding, paper (the 25 rows of the paper's tables), mini.
    """
    ctx.obj = tasks_dirs
    if ctx.invoked_subcommand:
        return
    infos = declared(tasks_dirs)
    if as_json:
        click.echo(json.dumps([asdict(info) for info in infos], default=str, indent=2))
        return
    click.echo(columns([(info.name, info.category, info.title) for info in infos]))


@command.command("show")
@click.argument("name")
@tasks_dir_option
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, tasks_dirs: tuple[str, ...], as_json: bool) -> None:
    """Show everything that is declared about one benchmark."""
    folders = (*(ctx.obj or ()), *tasks_dirs)
    found: dict[str, Any] = {}
    for each in resolve((name,), folders):
        task = load_task(each, folders)
        found[each] = {
            "title": task.title,
            "category": task.category,
            "row in the paper": task.paper_row or "-",
            "data set": ", ".join(f"{key} {value}" for key, value in task.dataset.describe().items()),
            "samples": task.size if task.size is not None else "not declared",
            "metric": f"{task.metric.name}, from {task.metric.range[0]:g} to {task.metric.range[1]:g}",
            "breakdown": ", ".join(task.groups) or "-",
            "new tokens at most": task.max_new_tokens,
            "licence": task.licence,
            "citation": task.citation or "-",
            "notes": task.notes or "-",
        }
    click.echo(json.dumps(found, indent=2) if as_json else "\n\n".join(map(fields, found, found.values())))
