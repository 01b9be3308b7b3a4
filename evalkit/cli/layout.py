"""Tables and lists of the command line, drawn by rich."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evalkit.core.console import inline, say, scrub

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_PIPE_WIDTH = 1_000_000  # a pipe has no width of its own: nothing is wrapped or cut there


def room() -> int:
    """Characters in a line of stdout."""
    from rich.console import Console

    return Console().width if sys.stdout.isatty() else _PIPE_WIDTH


def show(*parts: RenderableType) -> None:
    """Print on stdout: styled and as wide as the terminal, or plain and as wide as it needs to be."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(*parts, sep="\n")
        return
    drawn = io.StringIO()
    console = Console(
        file=drawn, width=_PIPE_WIDTH, height=1, force_terminal=False, color_system=None, highlight=False
    )
    console.print(*parts, sep="\n")
    say("\n".join(line.rstrip() for line in drawn.getvalue().split("\n")), nl=False)


def columns(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> Table:
    """Left-aligned columns, the first in bold.

    >>> show(columns([("mrope", "native"), ("mrope-i", "interleaved")]))
    mrope    native
    mrope-i  interleaved
    """
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(box=None, show_header=bool(head), pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place in range(len(rows[0]) if rows else len(head)):
        name = Text(head[place]) if head else ""
        table.add_column(name, overflow="fold", style="" if place else "bold")
    for row in rows:
        table.add_row(*(Text(inline(scrub(cell))) for cell in row))
    return table


def fields(title: str, values: Mapping[str, Any]) -> RenderableType:
    """A title and its fields; a text of several lines stands below its name."""
    from rich.cells import cell_len
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    texts = {inline(name): scrub(str(value)) for name, value in values.items()}
    width = max((cell_len(name) for name, text in texts.items() if "\n" not in text), default=0)
    parts: list[RenderableType] = [Text(inline(scrub(title)), style="bold")]
    for name, text in texts.items():
        if "\n" in text:
            lines = "\n".join(inline(line) for line in text.splitlines())
            parts += [Text(f"  {name}:"), Padding(Text(lines, overflow="fold"), (0, 0, 0, 4), expand=False)]
            continue
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=width + 2)
        line.add_column(overflow="fold")
        line.add_row(Text(f"  {name}"), Text(inline(text)))
        parts.append(line)
    return Group(*parts)
