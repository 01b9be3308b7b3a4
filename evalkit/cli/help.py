"""How help pages look: options in groups, examples line by line, summaries in full.

:func:`with_help` is applied to every command when it is imported (``evalkit/cli/__init__.py``); a command's
own module says nothing of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

# Options by what they are about, in the order of the page. What is in no group is shown under "Other".
GROUPS: dict[str, tuple[str, ...]] = {
    "What is run": (
        *("--model", "--rope", "--tasks", "--limit", "--subset", "--processor", "--recipe", "--config"),
        "--parity",
    ),
    "Where things are": ("--output", "--data-root", "--tasks-dir", "--ropes-dir", "--folder"),
    "Prompts, media and answers": (
        *("--max-frames", "--visual-tokens", "--video-backend", "--media-timeout", "--mc-logits"),
        *("--thinking", "--template-arg", "--max-new-tokens", "--max-reasoning-tokens", "--temperature"),
        *("--top-p", "--top-k", "--presence-penalty", "--seed", "--n"),
    ),
    "Scoring": ("--stored-tasks", "--reasoning", "--official-random", "--rate-limit", "--audit"),
    "Hardware and speed": (
        *("--dtype", "--device", "--devices", "--executor", "--gpus-per-engine", "--device-map"),
        *("--engine", "--engine-args", "--vllm-python", "--workers", "--batch-tokens", "--batch-size"),
        *("--without", "--compile", "--deterministic"),
    ),
    "What is compared": (
        *(
            "--baseline",
            "--reference",
            "--correction",
            "--allow-mismatch",
            "--label",
            "--group-by",
            *("--weight", "--backend-parity"),
        ),
    ),
    "Layout": ("--format", "--layout", "--breakdown", "--digits", "--intervals", "--standalone"),
    "lmms-eval": ("--lmms-python", "--lmms-include"),
    "This command": ("--wait", "--dry-run", "--quiet", "--json", "--help"),
}
# Fewer options than this are shown as one list.
_MANY = 12


class HelpContext(click.Context):
    """A context whose help page is laid out here."""

    def get_help(self) -> str:
        """The help page."""
        formatter, command = self.make_formatter(), self.command
        command.format_usage(self, formatter)
        command.format_help_text(self, formatter)
        for heading, rows in _option_groups(self):
            with formatter.section(heading):
                formatter.write_dl(rows)
        if isinstance(command, click.Group):
            _write_commands(command, self, formatter)
        command.format_epilog(self, formatter)
        return formatter.getvalue().rstrip("\n")


def with_help(command: click.Command) -> click.Command:
    """The command, and those below it, with help pages of this module."""
    command.context_class = HelpContext
    if command.help:
        # A raw docstring holds the two characters of click's mark for lines that are not to be joined.
        command.help = command.help.replace("\\b\n", "\b\n")
    for param in command.params:
        numeric = isinstance(param.type, click.types.IntParamType | click.types.FloatParamType)
        if isinstance(param, click.Option) and numeric and param.metavar is None and not param.is_flag:
            param.metavar = "N"
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_help(below)
    return command


def summary(command: click.Command) -> str:
    """The first paragraph of a command's help, whole."""
    text = inspect.cleandoc(command.short_help or command.help or "")
    return " ".join(text.partition("\n\n")[0].split())


def _write_commands(command: click.Group, context: click.Context, formatter: click.HelpFormatter) -> None:
    if type(command).format_commands is not click.Group.format_commands:
        command.format_commands(context, formatter)
        return
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    with formatter.section("Commands"):
        formatter.write_dl([(name, summary(each)) for name, each in found.items() if each])


def _option_groups(context: click.Context) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Headings, and the options below each as they are shown."""
    shown = {}
    for param in context.command.get_params(context):
        record = param.get_help_record(context)
        if record is not None and isinstance(param, click.Option):
            shown[max(param.opts, key=len)] = record
    if len(shown) < _MANY:
        if shown:
            yield "Options", list(shown.values())
        return
    rest = dict(shown)
    for heading, names in GROUPS.items():
        rows = [rest.pop(name) for name in names if name in rest]
        if heading == "This command":
            last = rows
        elif rows:
            yield heading, rows
    if rest:
        yield "Other", list(rest.values())
    yield "This command", last
