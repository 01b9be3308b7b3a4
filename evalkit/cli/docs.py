"""``evalkit docs``: the documentation, which travels with the package, in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evalkit.cli.layout import columns, show
from evalkit.core.console import say
from evalkit.core.errors import UsageError, did_you_mean


def docs_folder() -> Path:
    """The pages: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "_docs"
    return inside if inside.is_dir() else package.parent / "docs"


def pages() -> dict[str, str]:
    """Titles of the pages by name, the overview first."""
    found = {path.stem: _title(path) for path in sorted(docs_folder().glob("*.md"))}
    return {"index": found.pop("index"), **found}


def _title(path: Path) -> str:
    with open(path, encoding="utf-8") as file:
        return next((line[2:].strip() for line in file if line.startswith("# ")), path.stem)


@click.command("docs")
@click.argument("page", default="index")
@click.option("--list", "listed", is_flag=True, help="Names and titles of all pages.")
@click.option("--path", "where", is_flag=True, help="Where the page lies as a file; open it with anything.")
def command(page: str, listed: bool, where: bool) -> None:
    r"""Read a PAGE of the documentation in the terminal: by default its overview.

    A pipe gets the page as it is written, in Markdown.

    \b
    evalkit docs train
    evalkit docs --list
    less "$(evalkit docs train --path)"
    """
    if listed:
        show(columns(pages().items()))
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    known = pages()
    if name not in known:
        raise UsageError(
            f"page `{page}`",
            f"there is none of this name.{did_you_mean(name, known)}",
            "see `evalkit docs --list`",
        )
    path = docs_folder() / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    if where:
        say(str(path))
    elif sys.stdout.isatty():
        _page(text)
    else:
        say(text, nl=False)


def _page(text: str) -> None:
    """Show a page, in the pager if it is longer than the screen."""
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    shown = Markdown(text, hyperlinks=False)
    if len(console.render_lines(shown, pad=False)) < console.height:
        console.print(shown)
        return
    with console.pager(styles=True):
        console.print(shown)
