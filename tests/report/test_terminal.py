"""Lists and tables fit a terminal and lose nothing there; a pipe gets them plain and whole."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from evalkit.cli import run_cli
from evalkit.cli.layout import columns, fields, show
from evalkit.core.registry import declared

PREFERENCES = ("COLUMNS", "FORCE_COLOR", "NO_COLOR")
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(width: int, *words: str) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in PREFERENCES}
    command = [sys.executable, "-m", "evalkit", *words]
    child = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**environment, "TERM": "xterm-256color"}
    )
    os.close(theirs)
    parts = []
    with suppress(OSError):  # Linux's way of saying that the other end was closed
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    assert child.wait() == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def letters(text: str) -> str:
    return re.sub(r"[^\w@]", "", STYLE.sub("", text))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("terminal") / "run"
    ropes = "vanilla,mrope,mrope-i,mhrope"
    words = ["run", "--model", "mock", "--rope", ropes, "--tasks", "mini", "--limit", "2", "--workers", "0"]
    run_cli([*words, "-q", "--output", str(run), "--rate-limit", "unparsed=1,repeating=1"])
    return run


@pytest.mark.parametrize("width", [44, 80, 200])
def test_a_list_fits_its_terminal_and_loses_nothing(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = on_terminal(width, "tasks")
    assert "\x1b[1m" in found
    assert max(len(line) for line in STYLE.sub("", found).splitlines()) <= width
    assert run_cli(["tasks"]) == 0
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    assert len(plain.splitlines()) == len(declared())
    assert sorted(letters(found)) == sorted(letters(plain))


@pytest.mark.parametrize("width", [60, 100])
def test_fields_fit_their_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = on_terminal(width, "tasks", "show", "docvqa_val")
    assert max(len(line) for line in STYLE.sub("", found).splitlines()) <= width
    assert run_cli(["tasks", "show", "docvqa_val"]) == 0
    assert letters(found) == letters(capsys.readouterr().out)


def test_a_comparison_goes_on_below_where_its_terminal_ends(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = STYLE.sub("", on_terminal(70, "compare", str(finished)))
    assert max(map(len, found.splitlines())) <= 70
    assert sum(line.strip().startswith("benchmark") for line in found.splitlines()) > 1
    assert run_cli(["compare", str(finished)]) == 0
    plain = capsys.readouterr().out
    assert "\x1b" not in plain
    (head,) = [line for line in plain.splitlines() if line.strip().startswith("benchmark")]
    assert set(re.findall(r"mock@\S+", head)) == set(re.findall(r"mock@[\w-]+", found))
    assert "…" not in found + plain


def test_a_pipe_is_plain_whatever_the_environment_wishes_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["models"]) == 0
    usual = capsys.readouterr().out
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "20"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        assert run_cli(["models"]) == 0
        assert capsys.readouterr().out == usual
    assert not any(line.endswith(" ") for line in usual.splitlines())


def test_a_name_of_wide_characters_takes_the_room_that_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    show(columns([("模型", "one"), ("abcd", "two")]), fields("title", {"模型": 1, "abcd": 2}))
    assert capsys.readouterr().out.splitlines() == [
        "模型  one",
        "abcd  two",
        "title",
        "  模型  1",
        "  abcd  2",
    ]


def test_what_is_listed_hides_secrets_and_acts_on_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "hf_ABCDEFGHIJKLMNOPQ \x1b[31m[red]"
    show(columns([(hostile, hostile)]), fields(hostile, {"a": hostile, "b": f"{hostile}\n{hostile}"}))
    found = capsys.readouterr().out
    assert "hf_" not in found
    assert found.count(r"*** \x1b[31m[red]") == 6
