"""Every command's help page at 80 columns, and what shells complete."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from test_imports import HEAVY

from evalkit.cli import cli
from evalkit.cli.completion import BY_NAME
from evalkit.cli.help import GROUPS, summary


def walk(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from walk(below, below.context_class(below, info_name=name, parent=context))


ROOT = cli.context_class(cli, info_name="evalkit", terminal_width=80)
COMMANDS = {path: (command, context) for path, command, context in walk(cli, ROOT)}


def test_all_commands_are_seen() -> None:
    assert {"evalkit", "evalkit run", "evalkit leaderboard check", "evalkit docs"} <= set(COMMANDS)
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("path", COMMANDS)
def test_a_page_is_whole(path: str) -> None:
    command, context = COMMANDS[path]
    page = context.get_help()
    lines = page.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in page
    assert "\\b" not in page
    assert not [line for line in lines if line.count(" evalkit ") > 1 and line.startswith("  evalkit")]
    shown = re.findall(r"^  (?:-\w, )?(--[\w-]+)", page, re.MULTILINE)
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    assert sorted(shown) == sorted(max(option.opts, key=len) for option in options)
    for option in options:
        for word in (option.help or "").split():
            assert word in page


@pytest.mark.parametrize(
    "path", [path for path, (each, _) in COMMANDS.items() if isinstance(each, click.Group)]
)
def test_summaries_are_not_cut(path: str) -> None:
    command, context = COMMANDS[path]
    page = " ".join(context.get_help().split())
    assert isinstance(command, click.Group)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        if command is not cli:  # which says it in words of its own, without importing what it lists
            assert f"{name} {summary(below)}" in page
        else:
            assert re.search(rf" {name} [A-Z][^.]+\.", page)


def test_groups_are_of_options_that_there_are() -> None:
    named = {option for own in GROUPS.values() for option in own} - {"--help"}
    known = {text for command, _ in COMMANDS.values() for param in command.params for text in param.opts}
    assert named <= known
    assert "\nOther:" not in COMMANDS["evalkit compare"][1].get_help()


def test_examples_stand_one_in_a_line() -> None:
    page = COMMANDS["evalkit run"][1].get_help()
    examples = [line for line in page.splitlines() if line.startswith("  evalkit run ")]
    assert len(examples) == 2
    assert all("--tasks" in f"{line}{page.partition(line)[2][:60]}" for line in examples)


def test_options_are_in_groups() -> None:
    page = COMMANDS["evalkit run"][1].get_help()
    headings = re.findall(r"^(\w[^\n]*):$", page, re.MULTILINE)
    assert headings[0] == "What is run"
    assert headings[-1] == "This command"
    assert "Options" not in headings
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len(set(named))


def test_an_option_of_no_group_is_shown_under_other(monkeypatch: pytest.MonkeyPatch) -> None:
    command, context = COMMANDS["evalkit run"]
    new = click.Option(["--brand-new"], help="Of tomorrow.")
    monkeypatch.setattr(command, "params", [*command.params, new])
    page = context.get_help()
    assert re.search(r"^Other:\n(?:  .*\n)*  --brand-new TEXT +Of tomorrow\.$", page, re.MULTILINE)
    assert page.index("Other:") < page.index("This command:")


def complete(*words: str, cwd: Path | None = None) -> list[str]:
    """What bash is told for the last word, by the entry point itself."""
    around = {"_EVALKIT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["evalkit", *words])}
    around["COMP_CWORD"] = str(len(words) if words else 1)
    code = "import sys; from evalkit.cli import main\ntry: main()\n"
    code += f"finally: sys.stderr.write(repr((len(sys.modules), [m for m in {HEAVY!r} if m in sys.modules])))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **around}, cwd=cwd, capture_output=True, text=True
    )
    count, heavy = ast.literal_eval(done.stderr)
    assert heavy == []
    assert count < 500
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["comp"], {"plain,compare"}),
        (["run", "--tasks", "mini_docvqa,mini_c"], {"plain,mini_docvqa,mini_chartqa"}),
        (["run", "--rope", "mrope-"], {"plain,mrope-i"}),
        (["run", "--model", "ti"], {"plain,tiny"}),
        (["tasks", "show", "docvqa_v"], {"plain,docvqa_val"}),
        (["ropes", "show", "mhr"], {"plain,mhrope"}),
        (["compare", "--reference", "paper-qwen2"], {"plain,paper-qwen2.5-vl-7b"}),
        (["docs", "insta"], {"plain,install"}),
        (["run", "--tasks-dir", "nowhere", "--tasks", "mini_c"], set()),  # no traceback in a prompt
    ],
)
def test_shells_complete_names_quickly(words: list[str], expected: set[str]) -> None:
    assert {each for each in complete(*words) if each.startswith("plain")} == expected


def test_shells_complete_runs_and_checkpoints(tmp_path: Path) -> None:
    for name, file in (
        ("results/one", "manifest.json"),
        ("results/two", "manifest.json"),
        ("ck/a", "config.json"),
    ):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).write_text("{}")
    (tmp_path / "results/other").mkdir()
    runs = ["plain,results/one", "plain,results/two"]
    for typed in (["compare", "results/"], ["report", "res"], ["compare", "results/one", "results/"]):
        assert [each for each in complete(*typed, cwd=tmp_path) if each.startswith("plain")] == runs
    assert "plain,mrope=ck/a" in complete("run", "--model", "mrope=ck/", cwd=tmp_path)


def test_every_completion_belongs_to_a_parameter() -> None:
    found: set[str] = set()
    for path, (command, _) in COMMANDS.items():
        own = path.removeprefix("evalkit").strip()
        params: list[Any] = command.params
        found |= {name for param in params for name in (param.name, f"{own} {param.name}")}
    assert set(BY_NAME) <= found
