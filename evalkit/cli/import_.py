"""``evalkit import``: results of another program, as a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from evalkit.cli.options import data_root_option, json_option, tasks_dir_option, with_data_root

Command = TypeVar("Command", bound=Callable[..., Any])


def matching_options(command: Command) -> Command:
    """Options that say which samples answers are to, and how to read them."""
    for option in (
        click.option(
            "--box-space",
            type=click.Choice(["abs", "norm1000", "norm999", "norm1"]),
            help="How the model wrote boxes (pixels of the image, or parts of it), in grounding tasks.",
        ),
        click.option("--epoch", type=int, metavar="N", help="Which of several epochs of an Inspect log."),
        click.option(
            "--references",
            type=click.Choice(["auto", "data", "file"]),
            default="auto",
            show_default=True,
            help="Whose references: of the task's data, or the file's own; `auto` takes the data where a "
            "mirror is given or the task's data are on this machine.",
        ),
        data_root_option,
    ):
        command = option(command)
    return command


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--task", required=True, help="The task of evalkit that was answered.")
@click.option("--model", required=True, metavar="LABEL", help="What to call the model.")
@click.option("--rope", metavar="VARIANT", help="The model's RoPE variant, if it is known.")
@click.option("--output", required=True, metavar="RUN", help="Run directory, new or not.")
@matching_options
@tasks_dir_option
@json_option
def command(files: tuple[Path, ...], output: str, as_json: bool, **options: Any) -> int:
    """Make a run of FILEs of lmms-eval (`*_samples_*.jsonl`), VLMEvalKit (.xlsx, .tsv) or Inspect (.eval).

    Answers are matched with the task's samples and scored by evalkit's metric; what can't be matched is
    counted and named. Several files of one command are parts of one result.
    """
    from evalkit.api import import_results
    from evalkit.cli.outcome import show_result

    return show_result(import_results(*files, output=output, **with_data_root(options)), as_json)
