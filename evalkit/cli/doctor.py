"""``evalkit doctor``: this machine, and whether a model's answers depend on the batch."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from evalkit.cli.layout import columns, show
from evalkit.cli.options import json_option, ropes_dir_option
from evalkit.core.console import say
from evalkit.core.errors import ExitCode
from evalkit.core.strict_json import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evalkit.runner.batch_check import BatchCheck
    from evalkit.runner.environment import Finding


@click.command("doctor")
@click.option("--model", metavar="NAME", help="Have this model answer 32 prompts alone and in batches.")
@click.option("--rope", default="auto", show_default=True, metavar="VARIANT", help="As for `evalkit run`.")
@click.option("--processor", metavar="BASE", help="As for `evalkit run`.")
@ropes_dir_option
@click.option(
    "--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto", help="Weights."
)
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@json_option
def command(model: str | None, rope: str, ropes_dirs: tuple[str, ...], as_json: bool, **where: Any) -> int:
    """Say what this machine has of what evalkit needs, and how to get what it lacks. With a model, also
    whether its answers depend on what is answered at the same time.

    The model answers 32 prompts drawn by evalkit (text, an image, several images, a video) one by one, and
    in batches of 1, 2 and 8, of one kind of media and mixed. Exit code 0: fine. 1: answers changed in
    float32, or prompts have none. 4: evalkit can't run here.
    """
    from evalkit.runner.environment import examine

    found = examine()
    checked = None
    failed = any(each.state == "failed" for each in found)
    if not as_json:
        _show_environment(found)
    if model is not None and not failed:
        from evalkit.config.run_spec import rope_files
        from evalkit.models.base import LoadConfig
        from evalkit.runner.batch_check import check_batches

        checked = check_batches(model, rope, LoadConfig(**where, rope_files=rope_files(ropes_dirs)))
    code = ExitCode.ENVIRONMENT if failed else ExitCode.OK
    if checked is not None and not checked.passed:
        code = ExitCode.CHECK_FAILED
    if as_json:
        say(to_json({"environment": [asdict(each) for each in found], "model": _json(checked)}))
    elif checked is not None:
        _show_model(checked)
    elif model is not None:
        say(f"`{model}` is not tried: mend what failed first", err=True)
    return int(code)


def _show_environment(found: Sequence[Finding]) -> None:
    show(
        columns(
            [(each.name, "FAILED" if each.state == "failed" else each.state, each.found) for each in found]
        )
    )
    fixes = [each for each in found if each.fix]
    if fixes:
        say("\nwhat to do, where it is needed")
        show(columns([(each.name, each.fix) for each in fixes]))


def _show_model(found: BatchCheck) -> None:
    from evalkit.runner.batch_check import described

    say(f"\n{found.arm} in {found.dtype}: answers in batches, compared with each alone")
    show(columns([(f"batch {each.batch_size}", each.media, described(each)) for each in found.results]))
    for kind, why in found.left_out.items():
        say(f"not asked: {kind}: {why}")
    if found.passed and any(each.changed for each in found.results):
        say(
            f"{found.dtype} rounds differently in other batches: `evalkit run --deterministic` answers the "
            "same in each, `--dtype float32` too"
        )
    elif not found.passed:
        say("this should not be: don't trust scores of this model here, and report it")


def _json(found: BatchCheck | None) -> dict[str, Any] | None:
    if found is None:
        return None
    results = [asdict(each) | {"share": each.share} for each in found.results]
    return asdict(found) | {"results": results, "passed": found.passed}
