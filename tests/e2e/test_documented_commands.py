"""Every command that README and docs/ show: it is run where it needs no weights, GPU or network, else parsed.

What a command line stands for here is said in one place, :data:`INSTEAD`.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from evalkit import evaluate
from evalkit.cli import cli, run_cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ARMS = ("vanilla", "mrope", "mrope-i", "mhrope")
MOCK = "mock:fixed=B"

# What stands for what of a command that is run here.
INSTEAD: tuple[tuple[str, str], ...] = (
    # Checkpoints, whoever trained them, are a mock with their variant; so is the zoo, to be quick.
    (r"(?<=[ =])/ckpts/[\w-]+", MOCK),
    (r"(?<=--model )tiny\b|(?<=--model )out/final\b|\$CHECKPOINT\b", MOCK),
    # Benchmarks whose data have to be fetched are two of the mini-suite.
    (
        r"--tasks (?:docvqa_val|chartqa|refcoco_val|videomme|paper|mini)[\w,]*",
        "--tasks mini_docvqa,mini_video",
    ),
    (r" --data-root /data", ""),
    (r"--limit \d+", ""),
    (r"^evalkit run\b", "evalkit run --workers 0 --limit 4 --rate-limit unparsed=1,truncated=1,repeating=1"),
    # Runs are one of such a mock with four variants; so is what the shell would find.
    (r"results/\*", "results/ablation"),
    (r"results/(?:half|zoo)\b", "results/ablation"),
    (r"--weight docvqa_val=1", "--weight mini_docvqa=1"),
    (r"--arm tiny@mrope\b", f"--arm {MOCK}@mrope"),
)
# The same for those that are parsed: what the reader has to put there.
OPEN = (
    (r"--model \.\.\.", "--model tiny"),
    (r"--tasks \.\.\.", "--tasks mini"),
    (r" \.\.\.", ""),
    (r"\[(--.*)\]", r"\1"),
)
# Commands that are run, by their beginning.
RUN = (
    *("run", "compare", "report", "advise", "score results/", "leaderboard", "docs"),
    *("tasks", "ropes show", "ropes group", "ropes --", "models show"),
)
# What a command needs that isn't here, so that it is parsed alone.
NEEDS = {
    "several GPUs or a cluster": ("--devices", "--executor", "--device-map"),
    "lmms-eval": ("lmms:", "--lmms-python"),
    "another's folder of checkpoints": ("RUN/", "A/checkpoint", "checkpoint-*", "Qwen/", "FOLDER"),
    "what the reader puts there": (
        "...",
        "NAME",
        "ARM",
        "PAGE",
        "RUN",
        "DIR",
        "TABLE",
        "VARIANT",
        "CHECKPOINT",
    ),
    "results of another program": ("results/imported",),
    "files of the page, which its own test makes": ("--tasks-dir", "--ropes-dir"),
}


def shown() -> Iterator[tuple[str, str]]:
    """Pages, and the command lines in their blocks for a shell."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        blocks += [
            each.replace("\n    ", "\n")[4:]
            for each in re.findall(r"(?:^    evalkit .*\n)+", text, re.MULTILINE)
        ]
        for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+#.*", "", line).strip()
            command = re.sub(r"\s+", " ", re.sub(r"^[A-Z_]+=\S+ ", "", command))
            if command.startswith("evalkit "):
                yield path.name, command


def mentioned() -> Iterator[tuple[str, str]]:
    """Pages, and what their sentences and tables call a command of evalkit, often without all it needs."""
    for path in PAGES:
        sentences = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for command in re.findall(r"`(evalkit [^`]+)`", sentences):
            yield path.name, re.sub(r"\s+", " ", command)


MENTIONED = sorted(set(mentioned()))
COMMANDS = sorted(set(shown()))
RUNNABLE = sorted(
    {
        command
        for _, command in COMMANDS
        if command.removeprefix("evalkit ").startswith(RUN)
        and not any(word in command for words in NEEDS.values() for word in words)
    }
)


def test_all_are_found() -> None:
    assert len(COMMANDS) > 60
    assert len(MENTIONED) > 60
    assert len(RUNNABLE) >= 15
    assert {"README.md", "install.md", "quickstart.md", "train.md"} <= {page for page, _ in COMMANDS}


def below(command: click.Command) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            each = command.get_command(click.Context(command), name)
            assert each is not None
            yield from below(each)
    else:
        yield command


@pytest.fixture
def parsed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands do nothing; groups still do."""
    for command in below(cli):
        monkeypatch.setattr(command, "callback", lambda *args, **options: None)


@pytest.mark.usefixtures("parsed_only")
@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_is_understood(
    page: str,
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its options exist, and take such values."""
    monkeypatch.chdir(tmp_path)
    for folder in ("my_ropes", "my_tasks"):
        (tmp_path / folder).mkdir()
    for pattern, instead in OPEN:
        command = re.sub(pattern, instead, command)
    words = shlex.split(command.partition(" > ")[0])  # the shell's part
    assert run_cli(words[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(("page", "command"), MENTIONED)
def test_a_command_that_is_mentioned_exists(page: str, command: str) -> None:
    """So do its options."""
    found: click.Command = cli
    words = command.split()[1:]
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        below_it = found.get_command(click.Context(found), words[0])
        if below_it is None:
            assert found is not cli, words[0]
            break
        found = below_it
        words.pop(0)
    inner = [found, *below(found)] if isinstance(found, click.Group) else [found]
    known = {
        name for each in inner for option in each.get_params(click.Context(each)) for name in option.opts
    }
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


@pytest.mark.usefixtures("parsed_only")
@pytest.mark.parametrize("command", ["run --modle tiny", "leaderboard results/a --cvs a.csv", "bench stoer"])
def test_a_command_that_is_misspelt_is_seen(command: str) -> None:
    assert run_cli(command.split()) == 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, results/ablation, and the files that commands read."""
    folder = tmp_path_factory.mktemp("shown")
    tasks = ["mini_docvqa", "mini_video"]
    evaluate(MOCK, tasks, ARMS, limit=4, workers=0, output=folder / "results/ablation")
    shutil.copytree(folder / "results/ablation", folder / "results/demo")
    return folder


@pytest.mark.parametrize("command", RUNNABLE)
def test_a_command_does_what_it_says(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("EVALKIT_DATA", raising=False)
    for pattern, instead in INSTEAD:
        command = re.sub(pattern, instead, command)
    words = shlex.split(command.partition(" > ")[0])[1:]  # the rest is the shell's
    if words[0] == "run":
        shutil.rmtree(place / "tried", ignore_errors=True)
        words = [*words, "--output", "tried"]
    if words[:2] == ["leaderboard", "check"]:
        assert run_cli(["leaderboard", "results/ablation", "--csv", "leaderboard.csv"]) == 0
    if words[0] == "docs":
        words = [word for word in words if word != "PAGE"]
    assert run_cli(words) == 0, capsys.readouterr().err
    assert capsys.readouterr().out
