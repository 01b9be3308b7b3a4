"""No secret that is typed gets into an artefact or a message of any command; what is typed again goes on."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from evalkit.cli import cli, run_cli
from evalkit.core.console import scrub

# None of these is the form of another; each holds `leak` or `LEAK`, which nothing else here does.
HF = "hf_LeakLeakLeakLeakLeak0123456789"
KEYS = (
    HF,
    "sk-proj-leakleakleak0123456789",
    "AKIALEAKLEAKLEAK0123",
    "ghp_leakleakleakleak0123456789",
    "github_pat_leakleakleak0123",
    "xoxb-leakleak-0123456789",
    f"https://me:{HF}@host/org/model",
    "https://user:leakpassword@host/x",
    "https://host/x?token=leaktoken&n=2",
    "https://host/x?n=2&X-Amz-Signature=leaksignature&X-Amz-Credential=leakcredential",
    "https://host/x?key=leakkey",
    "HF_TOKEN=leaktoken",
    "AWS_SECRET_ACCESS_KEY=leak+secret",
    "--hf-token leaktoken",
    "--api-key=leakkey",
    "password='leak pass'",
    "Authorization: Bearer leakbearer0123",
)
HARMLESS = (
    "--batch-tokens 512",
    "a token budget of 512, eos_token=2 pad_token=<pad> image_token=<image>",
    "hf_transformers hf-internal-testing/tiny sk-learn-tests task-specific mask-12345678",
    "org/model@main mrope-i(spatial_reset=false)=/ckpts/a mock:fixed=B",
    "https://host/org/model@main?n=2 key: value max_new_tokens=32",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
)


@pytest.mark.parametrize("text", KEYS)
def test_secrets_are_hidden(text: str) -> None:
    for written in (text, f"a {text} b", f"`{text}`", f"model={text}", json.dumps([text])):
        assert "leak" not in scrub(written).lower(), scrub(written)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_shown(text: str) -> None:
    assert scrub(text) == text


Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a command in a folder of its own, and gives its exit code and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["evalkit", *words])
        code = run_cli(list(words))
        said = capfd.readouterr()
        return code, said.out + said.err

    return run


def leaks(folder: Path) -> list[str]:
    """Files that hold a secret, or whose name below a folder that the user named does."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and re.search(b"(?i)leak", path.read_bytes())
    ]


def every_command(group: click.Group = cli, *path: str) -> list[tuple[str, ...]]:
    """The names of all commands that there are."""
    found = []
    for name in group.list_commands(click.Context(group)):
        below = group.get_command(click.Context(group), name)
        found += every_command(below, *path, name) if isinstance(below, click.Group) else [(*path, name)]
    return found


@pytest.mark.filterwarnings("ignore")
def test_no_command_writes_or_says_a_secret(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.zoo import resolve

    model = f"models/{HF}"
    shutil.copytree(resolve("tiny", "mrope"), tmp_path / model)
    order = ("--tasks", "mini_chartqa", "--limit", "3", "--workers", "0")
    run = ("run", "--model", model, *order)
    code, said = command(*run)
    assert (code, "leak" in said.lower()) == (0, False), said
    (made,) = (tmp_path / "results").iterdir()
    assert "leak" not in made.name.lower()
    stored = made.name
    # The same command goes on with what is stored, and does nothing twice.
    journal = b"".join(path.read_bytes() for path in (made / "journal").glob("*.jsonl"))
    code, said = command(*run)
    assert code == 0, said
    assert b"".join(path.read_bytes() for path in (made / "journal").glob("*.jsonl")) == journal
    assert [each.name for each in (tmp_path / "results").iterdir()] == [stored]
    manifest = json.loads((made / "manifest.json").read_text())
    assert [each["arm"] for each in manifest["arms"]] == ["***@mrope"]
    assert len(manifest["invocations"]) == 2

    lines = [{"doc_id": at, "target": "1", "filtered_resps": ["1"], "resps": [["1"]]} for at in range(3)]
    (tmp_path / "x_samples_y.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = str(made.relative_to(tmp_path))
    others: list[tuple[str, ...]] = [
        ("compare", out),
        *(("compare", out, "--format", form) for form in ("markdown", "latex", "csv", "html")),
        ("compare", out, "--json"),
        ("report", out, "-o", "report.html"),
        ("advise", out),
        ("score", out),
        ("leaderboard", out, "--csv", "board.csv", "--html", "board.html"),
        ("leaderboard", "check", "board.csv", out),
        ("ci", "update", "base", "--model", model, "--tasks", "mini_chartqa", "--limit", "2"),
    ]
    others += [
        ("import", "x_samples_y.jsonl", "--task", "mini_chartqa", "--model", key, "--output", f"in{at}",
         "--references", "file")
        for at, key in enumerate(KEYS)
    ]  # fmt: skip
    code, said = command(
        "ci", "update", "plain", "--model", "mock", "--tasks", "mini_chartqa", "--limit", "2"
    )
    assert code == 0, said
    verdicts = ("--junit", "verdicts.xml", "--summary", "verdicts.md")
    others += [
        ("ci", "check", "plain", *verdicts),
        ("ci", "check", "plain", *verdicts, "--data-root", KEYS[6]),
        ("ci", "check", "plain", *verdicts, "--json", "--tasks-dir", KEYS[8]),
        ("export", out, "--to", "inspect", "-o", "logs"),
        ("leaderboard", "update", out, "--csv", "more.csv", "--html", "more.html"),
        ("tasks", "docs"),
        ("docs", "zoo"),
        ("doctor", "--json"),
        ("verify", out),
        ("diff", out, out),
        ("probe", out),
        ("recipes", "list"),
        ("diagnose", "generation", out, "--json"),
        (
            "diagnose",
            "attention",
            "--model",
            model,
            "--tasks",
            "mini_chartqa",
            "--limit",
            "1",
            "-o",
            "a.json",
        ),
        *(("bench", name, "--model", HF) for name in ("memory", "ropes", "scaling", "store")),
        ("data", "pull", "chartqa", "--data-root", f"pulled/{HF}"),
    ]
    others += [("report", f"in{at}", "-o", f"report{at}.html") for at in range(2)]
    for key in (KEYS[1], KEYS[6], KEYS[8]):
        others += [
            ("run", "--model", key, *order, "--output", "one"),
            ("run", "--model", "mock", "--model", key, *order, "--output", "two"),
            ("run", "--model", "mock", *order, "--output", "three", "--processor", key),
            ("run", "--model", "mock", *order, "--output", "four", "--data-root", key),
            ("run", "--model", "mock", *order, "--rope", key),
            ("run", "--config", key),
            ("compare", key),
            ("score", key),
            ("leaderboard", key, "--csv", "b.csv"),
            ("ci", "check", key),
            ("tasks", "show", key),
            ("data", "check", "mini_chartqa", "--data-root", key),
            ("data", "pull", "chartqa", "--data-root", f"root/{key}", "--dry-run"),
            ("ropes", "show", key),
            ("diagnose", "ropes", "--rope", key),
            ("recipes", "show", key),
            ("recipes", "diff", key, "paper"),
            ("verify", key),
            ("diff", out, key),
            ("ropes", "check", key),
            ("ropes", "group", key),
            ("ropes", "plot", key, "-o", "plot.png"),
            ("models", "show", key),
            ("models", "check", key),
            ("export", key, "--to", "inspect", "-o", "logs"),
            ("bench", "engine", "--model", key),
            (key,),
        ]
    # A server whose address holds a password, and a token that it doesn't take.
    monkeypatch.setenv("HF_ENDPOINT", f"http://user:{HF}@127.0.0.1:1")
    monkeypatch.setenv("HF_TOKEN", HF)
    tried = {words[:length] for words in [run, *others] for length in (1, 2)}
    assert {name for name in every_command() if name not in tried} == set()
    for words in others:
        _, said = command(*words)
        assert "leak" not in said.lower(), (words, said)
        assert "Traceback" not in said, words
    shutil.rmtree(tmp_path / "models")
    assert leaks(tmp_path) == []


def test_a_baseline_with_a_secret_is_refused(command: Command, tmp_path: Path) -> None:
    code, said = command("ci", "update", "base", "--model", f"mock:fixed={HF}", "--tasks", "mini_chartqa")
    assert code == 2
    assert "it seems to hold a secret (('mock:fixed=***',))" in said
    assert not (tmp_path / "base").exists()
