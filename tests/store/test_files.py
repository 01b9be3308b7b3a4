"""Files are there as a whole or not at all, and what a kill leaves is removed by the next process."""

from __future__ import annotations

import ast
import errno
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from evalkit.core import atomic_files
from evalkit.core.atomic_files import (
    atomic_folder,
    atomic_path,
    is_temporary,
    remove_stale,
    staging_folder,
    write_atomic,
)

ROOT = Path(__file__).resolve().parents[2]
# Appended to, or filled where nobody looks yet (a temporary folder, a folder of `staging_folder`).
OTHERS = {
    "evalkit/core/atomic_files.py",
    "evalkit/store/journal.py",
    "evalkit/ci/baseline.py",
    "evalkit/cli/ci.py",  # GITHUB_STEP_SUMMARY is appended to
    "evalkit/integrations/lmms_eval/server.py",  # runs in an interpreter that has no evalkit
    "evalkit/integrations/vllm/server.py",  # a pipe
    "evalkit/data/archives.py",
    "evalkit/data/tarballs.py",
    "evalkit/data/frame_folders.py",
    "evalkit/data/remote.py",
    "evalkit/models/conformance/checkpoint.py",
    "evalkit/models/processor_reference.py",
    "tools/zoo_training/tiny_model.py",
    "evalkit/probe/film.py",  # a film, into a place of an atomic file
    "evalkit/zoo/minisuite.py",
    "tools/bench/lmms_subprocess.py",  # its own standard output, under another number
    "tools/bench/workloads.py",
    "tools/soak.py",
}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if is_temporary(path.name))


def writes(node: ast.AST) -> bool:
    """Whether a call writes a file itself."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile"):
        return True
    words = [*node.args, *(each.value for each in node.keywords)]
    modes = [each.value for each in words if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return name in ("open", "fdopen") and any(mode.rstrip("bt+") in ("w", "a", "x") for mode in modes)


def test_nothing_else_writes_files() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in ("evalkit", "tasks", "tools")
        for path in (ROOT / folder).rglob("*.py")
        if any(map(writes, ast.walk(ast.parse(path.read_text()))))
    }
    assert found == OTHERS


@pytest.mark.parametrize("content", ["über \ud800", b"\x00\xff"])
def test_it_is_written_into_folders_that_are_not_there_yet(tmp_path: Path, content: str | bytes) -> None:
    target = tmp_path / "a/b/c.bin"
    assert write_atomic(target, content) == target
    written = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    assert target.read_bytes() == written
    assert left(target.parent) == []


def test_it_is_flushed_before_it_is_moved_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"{os.fstat(handle).st_size}")
        sync(handle)

    def replaced(source: Path, target: Path) -> None:
        done.append("moved")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomic(tmp_path / "a", "content")
    assert done == ["7", "moved", "folder"]
    done.clear()
    write_atomic(tmp_path / "new/b", "content", durable=False)
    assert done == ["folder", "7", "moved"]  # a new folder stays, too


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_what_fails_leaves_the_old_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    target = tmp_path / "table.csv"
    write_atomic(target, "old")

    def full(*words: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError) as caught:
            write_atomic(target, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target))
    assert target.read_text() == "old"
    assert left(tmp_path) == []


def test_a_mode_is_the_users_and_a_link_is_followed(tmp_path: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    (tmp_path / "real").mkdir()
    (tmp_path / "link.html").symlink_to(tmp_path / "real/page.html")
    write_atomic(tmp_path / "link.html", "a")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "real/page.html").read_text() == "a"
    assert stat.S_IMODE((tmp_path / "real/page.html").stat().st_mode) == 0o666 & ~mask
    write_atomic(Path(os.devnull), "a")
    assert Path(os.devnull).is_char_device()


def test_a_name_may_be_as_long_as_the_machine_allows(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("n" * 251 + ".csv"), "a")
    write_atomic(tmp_path / ("." + "n" * 254), "a")
    with pytest.raises(OSError, match="too long"):
        write_atomic(tmp_path / ("n" * 256), "a")
    assert left(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from evalkit.core.atomic_files import atomic_path, atomic_folder
folder = Path(sys.argv[1])
with atomic_path(folder / "page.html") as file, atomic_folder(folder / "made") as made:
    file.write_text("half")
    (made / "inner").mkdir()
    (made / "inner/file").write_text("half")
    print("there", flush=True)
    signal.pause()
"""


def test_what_a_living_process_writes_stays_and_what_a_killed_one_left_goes(tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(left(tmp_path)) == 2
        write_atomic(tmp_path / "other", "a")
        assert len(left(tmp_path)) == 2
        process.send_signal(signal.SIGKILL)
    assert len(left(tmp_path)) == 2
    (tmp_path / "mine").write_text("a")
    write_atomic(tmp_path / "other", "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other"]


def test_a_sweep_that_comes_between_making_and_locking_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = atomic_files.fcntl.flock, []

    def locked(handle: int, how: int) -> None:
        if not swept:
            swept.append(handle)
            remove_stale(tmp_path)
        lock(handle, how)

    monkeypatch.setattr(atomic_files.fcntl, "flock", locked)
    write_atomic(tmp_path / "a", "content")
    assert swept
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_folders_are_moved_as_a_whole(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), atomic_folder(tmp_path / "made") as work:
        (work / "file").write_text("a")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with staging_folder(tmp_path / "deep/er") as work:
        (work / "file").write_text("a")
    assert left(tmp_path / "deep/er") == []
    with atomic_folder(tmp_path / "made") as work:
        (work / "file").write_text("a")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "made"]
    with atomic_path(tmp_path / "made/file") as place:
        assert place.parent == tmp_path / "made"
        place.write_text("b")
    assert (tmp_path / "made/file").read_text() == "b"
