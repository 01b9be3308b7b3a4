"""Files are hashed whole, once, and never taken for what they were."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli.progress import slow_files_shown
from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef
from evalkit.data import file_hash as module
from evalkit.data.cache import cache_root
from evalkit.data.file_hash import KEPT_BYTES, SETTLED_SECONDS, file_hash, file_hashes
from evalkit.data.media import media_digest
from evalkit.engine.media_scan import digest_files

SIZE = KEPT_BYTES + 100


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files whose contents were read; those that lie here count as old enough to be kept."""
    found: list[Path] = []
    real = module._read

    def noted(path: Path, progress: Any) -> str:
        found.append(path)
        return real(path, progress)

    monkeypatch.setattr(module, "_read", noted)
    monkeypatch.setattr(module, "SETTLED_SECONDS", -60.0)
    return found


def large(path: Path, seed: int = 0) -> Path:
    path.write_bytes(bytes([seed]) * SIZE)
    return path


def plain(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_large_file_is_read_once_and_again_when_it_changed(tmp_path: Path, reads: list[Path]) -> None:
    path = large(tmp_path / "film")
    assert file_hash(path) == plain(path) == file_hash(path)
    assert reads == [path]
    large(path, 1)
    assert file_hash(path) == plain(path)
    assert reads == [path, path]


def test_the_same_size_and_time_do_not_pass_for_the_same_file(tmp_path: Path, reads: list[Path]) -> None:
    """As `cp -p`, `rsync -t` and `tar` leave it: other bytes under the same name, size and time."""
    path = large(tmp_path / "film")
    before = path.stat()
    first = file_hash(path)
    large(path, 1)  # in place: the inode stays, too
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ino,
    )
    assert file_hash(path) == plain(path) != first


def test_a_file_of_a_moment_ago_is_not_trusted(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", SETTLED_SECONDS)
    path = large(tmp_path / "film")
    file_hash(path)
    file_hash(path)
    assert reads == [path, path]


def test_a_file_that_grows_meanwhile_is_no_file_to_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = large(tmp_path / "film")

    class Growing(module.ProgressLog):
        def add(self, count: int) -> None:
            with path.open("ab") as file:
                file.write(b"x")

    monkeypatch.setattr(module, "ProgressLog", Growing)
    monkeypatch.setattr(module, "BLOCK_BYTES", SIZE)
    with pytest.raises(OSError, match="changes while it is read"):
        file_hash(path)
    with pytest.raises(MediaError, match="changes while it is read"):
        media_digest(MediaRef("video", path=str(path)))


def test_the_hub_cache_says_the_hash_itself(tmp_path: Path, reads: list[Path]) -> None:
    """huggingface_hub names a large file's blob by its SHA-256 and a small one's by git's SHA-1."""
    blobs, snapshot = tmp_path / "models--o--n/blobs", tmp_path / "models--o--n/snapshots/abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name, digest in (("weights", "a" * 64), ("config", "b" * 40)):
        (blobs / digest).write_text(name)
        (snapshot / name).symlink_to(f"../../blobs/{digest}")
    assert file_hashes([snapshot / "weights", snapshot / "config"]) == [
        "a" * 64,
        hashlib.sha256(b"config").hexdigest(),
    ]
    assert reads == [snapshot / "config"]
    plain_file = tmp_path / ("c" * 64)  # no link: the name says nothing
    plain_file.write_text("x")
    assert file_hash(plain_file) == hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"sha256": "x"}', '{"state": 1, "sha256": 2}'])
def test_a_damaged_entry_is_as_good_as_none(content: str, tmp_path: Path, reads: list[Path]) -> None:
    path = large(tmp_path / "film")
    file_hash(path)
    module._entry_of(path.resolve()).write_text(content)
    assert file_hash(path) == plain(path)
    assert len(reads) == 2


def test_without_a_writable_cache_files_are_hashed_again(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "file"))
    path = large(tmp_path / "film")
    assert file_hash(path) == plain(path) == file_hash(path)
    assert len(reads) == 2


def test_many_at_once_give_the_same_and_leave_nothing_half_written(tmp_path: Path, reads: list[Path]) -> None:
    paths = [large(tmp_path / str(number), number) for number in range(6)]
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(file_hashes(paths))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[plain(path) for path in paths]] * 4
    entries = [path for path in (cache_root() / "hashes").rglob("*") if path.is_file()]
    assert all(path.suffix == ".json" for path in entries)


def test_what_takes_more_than_a_second_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1 << 18)
    path = large(tmp_path / "film")
    with caplog.at_level(logging.INFO, logger="evalkit.data.file_hash"):
        file_hash(path)
        assert caplog.messages == []  # it took no second
        monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)
        file_hash(large(tmp_path / "other", 1))
    assert caplog.messages == ["hashing files: 0.0 of 0.0 GB"]


def test_two_films_that_differ_in_one_byte_anywhere(tmp_path: Path) -> None:
    """Blocks at sixteen places told neither of these from the first."""
    size = 40 << 20
    digests = []
    for number, place in enumerate((None, 1 << 20, (1 << 20) + 70_000, size - 100_000)):
        path = tmp_path / f"{number}.mp4"
        with path.open("wb") as file:
            file.truncate(size)
            if place is not None:
                file.seek(place)
                file.write(b"x")
        digests.append(media_digest(MediaRef("video", path=str(path))))
    assert len(set(digests)) == 4


def test_films_are_hashed_once_and_damaged_ones_left(tmp_path: Path, reads: list[Path]) -> None:
    film = large(tmp_path / "film")
    names = ("film", "gone", ".", "film")
    found = digest_files((MediaRef("video", path=str(tmp_path / name)) for name in names), 0, 60)
    assert reads == [film]
    assert media_digest(MediaRef("video", path=str(film))) == f"sha256:{plain(film)}"
    assert reads == [film]
    assert [each.text for each in found.values()] == [f"sha256:{plain(film)}", "unreadable", "unreadable"]
    assert not any(each.problem for each in found.values())


@pytest.mark.parametrize("quiet", [False, True])
def test_the_command_line_shows_it(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("evalkit.data.file_hash")
    with slow_files_shown(quiet):
        log.info("hashing files: 1.0 of 2.0 GB")
    log.info("to nobody")
    assert capsys.readouterr().err == ("" if quiet else "hashing files: 1.0 of 2.0 GB\n")
