"""The options of ``evalkit run`` that say how answers are generated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--recipe",
        metavar="NAME",
        help="Under which conditions: a recipe (see `evalkit recipes`) or a file, `./mine.yaml`; `paper` by "
        "default. What is typed beats what the recipe says.",
    ),
    click.option(
        "--thinking",
        type=click.Choice(["template", "on", "off"]),
        help="Whether models think first; `template` (the default) leaves it to their chat template.",
    ),
    click.option(
        "--template-arg",
        "template_args",
        multiple=True,
        metavar="NAME=VALUE",
        help="A further argument of the chat template, such as `enable_thinking=false`; may be repeated.",
    ),
    click.option(
        "--max-new-tokens",
        type=click.IntRange(min=1),
        help="Of an answer, its reasoning aside if that has a budget; by default the benchmark's own.",
    ),
    click.option(
        "--max-reasoning-tokens",
        type=click.IntRange(min=1),
        help="Budget of reasoning, apart from the answer's; what is cut off in it counts as truncated.",
    ),
    click.option(
        "--temperature", type=click.FloatRange(min=0), help="Of sampling; 0, the default, is greedy decoding."
    ),
    click.option(
        "--top-p",
        type=click.FloatRange(min=0, max=1, min_open=True),
        help="Draw among the likeliest tokens that have this much probability together.",
    ),
    click.option("--top-k", type=click.IntRange(min=0), help="Draw among so many of the likeliest tokens."),
    click.option(
        "--presence-penalty",
        type=click.FloatRange(min=-2, max=2),
        help="Taken off the logits of every token that an answer has already, where it is drawn.",
    ),
    click.option("--seed", type=click.IntRange(min=0), help="Of sampling; 0 unless told otherwise."),
    click.option(
        "--n",
        "n",
        type=click.IntRange(min=1),
        help="Answers to each question: mean, pass@k and the vote of the majority. Needs `--temperature`.",
    ),
)


def generation_options(command: Command) -> Command:
    """Add these options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
