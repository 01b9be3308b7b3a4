"""``evalkit recipes``: under which conditions published numbers were made."""

from __future__ import annotations

from typing import Any

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import json_option
from evalkit.config.recipes import Recipe, load_recipe, recipe_label, recipe_names
from evalkit.core.console import say
from evalkit.core.strict_json import to_json


@click.group("recipes", invoke_without_command=True)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List recipes, show one with its sources (`recipes show NAME`), or compare two (`recipes diff A B`).

    A recipe is under which conditions somebody's numbers were made: prompts, pixels, frames, tokens,
    sampling. `evalkit run --recipe NAME` runs by it; a name may be the path of a file of your own.
    """
    if ctx.invoked_subcommand is None:
        _list(as_json)


@command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the recipes that evalkit brings."""
    _list(as_json)


@command.command("show")
@click.argument("name")
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show a recipe: each value with its source, and what of the conditions is not known."""
    recipe = load_recipe(name)
    if as_json:
        say(to_json({**recipe.model_dump(mode="json", exclude_none=True), "digest": recipe.digest}))
        return
    say(f"{recipe_label(name, recipe)}  {recipe.title}")
    if recipe.families:
        say(f"made for {', '.join(recipe.families)}")
    say("")
    rows = [(key, _shown(found.value), found.source) for key, found in recipe.flat().items()]
    show(columns(rows, ("setting", "value", "source")))
    for each in recipe.unknown:
        say(f"\nnot known: {each}")


@command.command("diff")
@click.argument("first")
@click.argument("second")
@json_option
def diff_command(first: str, second: str, as_json: bool) -> None:
    """Print every setting in which two recipes differ."""
    rows = differing(load_recipe(first), load_recipe(second))
    if as_json:
        say(to_json({name: [one, two] for name, one, two in rows}))
        return
    if not rows:
        say(f"{first} and {second} say the same")
        return
    show(columns([(name, _shown(one), _shown(two)) for name, one, two in rows], ("setting", first, second)))


def differing(first: Recipe, second: Recipe) -> list[tuple[str, Any, Any]]:
    """The settings in which two recipes differ, with both values; None where one says nothing."""
    one = {name: found.value for name, found in first.flat().items()}
    two = {name: found.value for name, found in second.flat().items()}
    names = dict.fromkeys((*one, *two))
    return [(name, one.get(name), two.get(name)) for name in names if one.get(name) != two.get(name)]


def _list(as_json: bool) -> None:
    recipes = [load_recipe(name) for name in recipe_names()]
    if as_json:
        say(to_json({each.name: {"title": each.title, "families": list(each.families)} for each in recipes}))
        return
    show(columns((each.name, each.title) for each in recipes))


def _shown(value: Any) -> str:
    return "-" if value is None else value.replace("\n", "\\n") if isinstance(value, str) else f"{value}"
