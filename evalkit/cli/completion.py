"""Completion in shells: names of tasks, variants, models, runs and pages where a command takes one.

What a parameter completes goes by its name (:data:`BY_NAME`), in every command alike. Everything is read from
files' names and declarations; nothing is executed, and torch is not imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evalkit.core.errors import EvalkitError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Names = Callable[[click.Context, str], Iterable[str]]


class Completed(click.ParamType[Any]):
    """A type of another parameter, which completes names."""

    def __init__(self, inner: Any, names: Names, *, several: bool, paths: bool) -> None:
        self.inner, self.names, self.several, self.paths = inner, names, several, paths
        self.name = inner.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As the inner type does."""
        return self.inner.convert(value, param, ctx)

    def get_metavar(self, *args: Any, **kwargs: Any) -> str | None:
        """As the inner type says; click 8.1 gives no context."""
        found: str | None = self.inner.get_metavar(*args, **kwargs)
        return found

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that go on from what is typed; of a comma list, from its last part."""
        from click.shell_completion import CompletionItem

        before, comma, last = incomplete.rpartition(",") if self.several else ("", "", incomplete)
        try:
            names = list(self.names(ctx, last))
        except (EvalkitError, OSError):  # of a folder that was typed; the command itself will say it
            names = []
        found = [f"{before}{comma}{name}" for name in names if name.startswith(last)]
        items = [CompletionItem(name) for name in dict.fromkeys(found)]
        return [*items, CompletionItem(incomplete, type="file")] if self.paths else items


def with_completion(command: click.Command, above: str = "") -> click.Command:
    """The command, and those below it, with completion of their parameters."""
    path = f"{above} {command.name}".strip()
    for param in command.params:
        known = BY_NAME.get(f"{path} {param.name}") or BY_NAME.get(str(param.name))
        if known:
            names, several, paths = known
            param.type = Completed(param.type, names, several=several, paths=paths)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_completion(below, path)
    return command


def _folders(ctx: click.Context, name: str) -> tuple[str, ...]:
    """What was typed for an option that may be repeated, such as ``--tasks-dir``."""
    return tuple(ctx.params.get(name) or ())


def task_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """Tasks and groups of tasks."""
    from evalkit.core.registry import CATEGORIES, declared

    return [
        *CATEGORIES,
        "paper",
        "mini",
        "probe",
        *(info.name for info in declared(_folders(ctx, "tasks_dirs"))),
    ]


def rope_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """RoPE variants, and the paper's ablations."""
    from evalkit.config.run_spec import rope_files
    from evalkit.rope.ablations import ABLATIONS
    from evalkit.rope.outside import rope_catalog

    return ["auto", *rope_catalog(rope_files(_folders(ctx, "ropes_dirs"))).variants, *ABLATIONS]


def ablations(ctx: click.Context, typed: str) -> Iterable[str]:
    """The paper's ablations."""
    from evalkit.rope.ablations import ABLATIONS

    return ABLATIONS


def model_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """``tiny``, ``mock``, folders with a config.json, and ``VARIANT=`` before any of them."""
    variant, equals, rest = typed.rpartition("=")
    own = ["tiny", "mock", *_folders_with("config.json", rest)]
    if equals:
        return [f"{variant}={name}" for name in own]
    return own + [f"{name}=" for name in rope_names(ctx, "") if name != "auto" and typed]


def run_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """Folders of runs: those below what is typed, and in results/."""
    return _folders_with("manifest.json", typed, "results")


def reference_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """Published tables."""
    from evalkit.report.reference import tables

    return [each.name for each in tables() if each.name]


def family_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """Model families."""
    from evalkit.models.families.registry import FAMILIES

    return FAMILIES


def page_names(ctx: click.Context, typed: str) -> Iterable[str]:
    """Pages of the documentation."""
    from evalkit.cli.docs import pages

    return pages()


def _folders_with(file: str, typed: str, *more: str) -> list[str]:
    """Folders that hold a file: beside what is typed, and a level below; in ``more`` where nothing is."""
    start = typed.rpartition("/")[0] + "/" if "/" in typed else ""
    found = []
    for place in (start, *(() if typed else more)):
        for pattern in (f"*/{file}", f"*/*/{file}"):
            for path in sorted(Path(place or ".").glob(pattern))[:200]:
                below = str(path.parent.relative_to(place or "."))
                found.append(f"{place.rstrip('/')}/{below}" if place else below)
    return [name for name in found if not name.startswith(".")]


# By a parameter's name, or by command and name: the names, whether a comma list of them, whether also paths.
BY_NAME: dict[str, tuple[Names, bool, bool]] = {
    "tasks": (task_names, True, False),
    "task": (task_names, False, False),
    "ropes": (rope_names, True, False),
    "rope": (rope_names, True, False),
    "baseline": (rope_names, False, False),
    "models": (model_names, False, True),
    "model": (model_names, False, True),
    "processor": (model_names, False, True),
    "runs": (run_names, False, True),
    "run": (run_names, False, True),
    "what": (run_names, False, True),
    "reference": (reference_names, False, False),
    "page": (page_names, False, False),
    "tasks show name": (task_names, False, False),
    "ropes show name": (rope_names, False, False),
    "ropes plot names": (rope_names, False, False),
    "ropes group name": (ablations, False, False),
    "models show name": (family_names, False, False),
    "models check name": (model_names, False, True),
}
