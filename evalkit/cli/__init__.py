"""The command line: one small module per command, loaded only when that command runs."""

from __future__ import annotations

import importlib
import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from evalkit import __version__
from evalkit.cli.completion import with_completion
from evalkit.cli.help import HelpContext, with_help
from evalkit.core.console import say
from evalkit.core.errors import EnvironmentProblem, EvalkitError, ExitCode, did_you_mean, of_machine

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "run": "Run models with RoPE variants on tasks and print the comparison table.",
    "compare": "Put finished runs side by side.",
    "diff": "Print every setting in which two runs differ.",
    "report": "Write one HTML page with tables, plots and every answer.",
    "probe": "Show how scores fall over the knobs of drawn abilities (`--tasks probe`).",
    "advise": "Rank variants for your own tasks, with the probability that each is the best.",
    "diagnose": "Say why: positions and spectra of variants, attention, loops in answers.",
    "score": "Score a predictions file, or re-score a stored run.",
    "verify": "Compute a run's figures again, and say whether what scored it is the same.",
    "import": "Make a run of results of lmms-eval, VLMEvalKit or Inspect.",
    "export": "Write a run as logs of Inspect.",
    "ci": "Store what models answer on small subsets, and check that it stays so.",
    "leaderboard": "Write or update a leaderboard CSV.",
    "tasks": "List benchmarks, or show one.",
    "data": "Fetch the data of tasks into a local mirror, and check a mirror.",
    "ropes": "List RoPE variants, show one, check them against official code.",
    "models": "List model families, or show one.",
    "doctor": "Check this machine, and whether a model's answers depend on the batch.",
    "recipes": "List recipes (conditions of published numbers), show one, or compare two.",
    "bench": "Measure speed against named baselines.",
    "docs": "Read the documentation in the terminal.",
}
# A module can't be called as a statement is.
_MODULES = {"import": "import_"}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help, and imports one when it is needed."""

    context_class = HelpContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return names in the order of a user's work, not of the alphabet."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``evalkit.cli.<name>``; the module calls its click command ``command``."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"evalkit.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = with_completion(with_help(module.command))
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the commands without importing them."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, text in _COMMANDS.items()]
        own = click.Command.shell_complete(self, ctx, incomplete)
        return [each for each in found if str(each.value).startswith(incomplete)] + own

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Add a did-you-mean to click's own error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise click.UsageError(error.message + did_you_mean(args[0], _COMMANDS), ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 a check failed, 2 usage, 3 incomplete run, 4 environment, 130 interrupted.",
)
@click.version_option(__version__, prog_name="evalkit")
def cli() -> None:
    """Find out which multimodal RoPE your vision-language model should use."""


def main() -> None:
    """Entry point: errors become one message and an exit code."""
    sys.exit(_flushed(run_cli(sys.argv[1:])))


def _flushed(code: int) -> int:
    """Flush stdout; returns the exit code, another one if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The interpreter tries once more at its end, and its exit code would be another.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == ExitCode.OK and not isinstance(error, BrokenPipeError):
            return _told(of_machine(error))
    return code


def _told(problem: EvalkitError) -> int:
    """Print an error, if stderr can be written, and return its exit code."""
    with suppress(OSError):
        say(f"evalkit: {problem}", err=True)
    return int(problem.exit_code)


_EOF = ("it was killed, or ran out of memory", "repeat the command: what was finished is stored")


def run_cli(args: list[str]) -> int:
    """Run the command line and return its exit code (see ``docs/cli.md``)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a model or a data set says may be no valid text
            stream.reconfigure(errors="backslashreplace")
    try:
        code = cli.main(args=args, prog_name="evalkit", standalone_mode=False)
    except EvalkitError as error:
        return _told(error)
    except click.ClickException as error:
        _show(error)
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # click takes it for the end of the user's input
            return _told(EnvironmentProblem("a process that evalkit works with ended", *_EOF))
        say("evalkit: interrupted; what was finished is stored, the same command goes on", err=True)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        return int(ExitCode.OK)
    except (OSError, MemoryError, RecursionError) as error:
        return _told(of_machine(error))
    return int(code) if isinstance(code, int) else int(ExitCode.OK)


def _show(error: click.ClickException) -> None:
    """Print click's own message through ``say``, since it may repeat a secret that was typed."""
    shown = io.StringIO()
    error.show(shown)
    say(shown.getvalue(), err=True, nl=False)
