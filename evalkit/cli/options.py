"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from evalkit.metrics.reasoning import RULES

Command = TypeVar("Command", bound=Callable[..., Any])

tasks_dir_option = click.option(
    "--tasks-dir",
    "tasks_dirs",
    multiple=True,
    metavar="DIR",
    help="A folder with your own task files; may be repeated.",
)

ropes_dir_option = click.option(
    "--ropes-dir",
    "ropes_dirs",
    multiple=True,
    metavar="DIR",
    help="A folder with your own RoPE variants (docs/add-a-rope.md); may be repeated.",
)


data_root_option = click.option(
    "--data-root", metavar="DIR", help="Local mirror of the data sets (or EVALKIT_DATA)."
)


def token_budget(text: str) -> int | str:
    """A number of tokens, or ``auto``, from the command line."""
    if text == "auto":
        return text
    number: int = click.IntRange(min=1)(text)
    return number


reasoning_option = click.option(
    "--reasoning",
    type=click.Choice(RULES),
    help="What separates reasoning from answers before they are scored: `tags` such as <think> (the "
    "default), or `none`.",
)


def _labels(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    from evalkit.config.model_option import label_pair

    return dict(map(label_pair, values))


label_option = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=LABEL",
    callback=_labels,
    help="What to call an arm (its name, variant or model) in tables; for display alone. May be repeated.",
)

group_by_option = click.option(
    "--group-by",
    type=click.Choice(["rope", "label"]),
    help="One row for several training seeds: the checkpoints of each variant, or those with one label.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")

official_random_option = click.option(
    "--official-random",
    type=int,
    metavar="SEED",
    help="Seed for official scripts that draw an answer where they can read none (MMMU, MMBench); their "
    "figures stand beside ours, where such an answer is wrong.",
)


def with_data_root(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with the mirror that EVALKIT_DATA names if none is given."""
    return {**options, "data_root": options["data_root"] or os.environ.get("EVALKIT_DATA")}
