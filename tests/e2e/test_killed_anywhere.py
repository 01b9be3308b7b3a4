"""A process that is killed before, half-way through or after any write leaves what every command reads."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from test_faults import MADE, commands, place, said
from test_killed_between_writes import read_by_all

from evalkit.cli import run_cli
from evalkit.core.atomic_files import is_temporary

assert place  # the fixture
NAMES = ("run", "score", "leaderboard again", "report", "ci update again", "import")


class _Half:
    """A file of which half of what is written gets there before the kill."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Half:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        return 0


def killed_at(point: int, place: Path, words: Sequence[str]) -> bool:
    """Give a command in a process of its own, which is killed at a point; whether it came that far.

    Every call that changes the disk is a point, and every file that is opened to be written another one.
    """
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    with contextlib.suppress(BaseException):
        seen: list[str] = []

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*words: Any, **options: Any) -> Any:
                about = words[0] if words else None
                writes = call is not opened or str([*words[1:2], *options.values()])[2:3] in ("w", "a", "x")
                if writes and (isinstance(about, int) or str(about).startswith(str(place))):
                    seen.append(str(about))
                    if len(seen) - 1 == point:
                        os.kill(os.getpid(), signal.SIGKILL)
                    if call is opened:
                        seen.append("half")
                        if len(seen) - 1 == point:
                            return _Half(call(*words, **options))
                return call(*words, **options)

            return counting

        opened = builtins.open
        for module in (builtins, io):
            module.open = counted(opened)  # type: ignore[attr-defined]
        for name in ("replace", "mkdir", "fsync", "unlink", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        run_cli(list(words))
    os._exit(0)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        *((name, 9) for name in NAMES),
        *(pytest.param(name, 1, marks=pytest.mark.every_point) for name in NAMES),
    ],
)
def test_every_command_reads_what_a_kill_leaves_and_the_same_command_goes_on(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, step: int
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(place / "cache"))
    *before, command = commands(place, name)
    point, killed = 0, True
    while killed:
        for made in set(MADE) & set(os.listdir(place)):
            shutil.move(place / made, Path(tempfile.mkdtemp(dir=place.parent)) / made)
        for words in before:
            code, _, err = said(capsys, words)
            assert code == 0, (point, err)
        killed = killed_at(point, place, command)
        for folder in (place / "run", place / "imported"):
            if (folder / "manifest.json").exists():
                read_by_all(folder, place)
        for words in (commands(place, "ci check")[-1], commands(place, "leaderboard check")[-1]):
            code, out, err = said(capsys, words)
            assert code in (0, 2), (point, err)
            assert "Traceback" not in out + err
        code, out, err = said(capsys, command)
        assert code == 0, (point, err)
        again = {path.relative_to(place) for path in place.rglob("*") if is_temporary(path.name)}
        assert not again, point
        point += step
    assert point > step
