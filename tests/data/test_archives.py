import stat
import zipfile

import pytest

from evalkit.core.errors import EnvironmentProblem
from evalkit.data.archives import UnsafeArchive, extracted, is_inside, is_unpacked, zip_bomb_problem


def make(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_extracts_once(tmp_path):
    archive = make(tmp_path / "a.zip", {"data/x.mp4": b"video", "data/sub/y.mp4": b"other", "empty/": b""})
    folder = extracted(archive, tmp_path / "cache")
    assert files_below(folder) == ["data/sub/y.mp4", "data/x.mp4"]
    (folder / "data/x.mp4").write_bytes(b"touched")
    assert extracted(archive, tmp_path / "cache") == folder
    assert (folder / "data/x.mp4").read_bytes() == b"touched"


def test_a_changed_archive_is_extracted_anew(tmp_path):
    first = extracted(make(tmp_path / "a.zip", {"x": b"1"}), tmp_path / "cache")
    second = extracted(make(tmp_path / "a.zip", {"x": b"22"}), tmp_path / "cache")
    assert first != second
    assert (second / "x").read_bytes() == b"22"


def link():
    info = zipfile.ZipInfo("data/link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../escaped",
        "data/../../escaped",
        "/escaped",
        "C:/escaped",
        "..\\escaped",
        "data\\..\\..\\escaped",
        link(),
    ],
    ids=str,
)
def test_escaping_members_write_nothing(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("data/good.mp4", b"fine")
        archive.writestr(name, "/etc/passwd")
    with pytest.raises(UnsafeArchive) as caught:
        extracted(tmp_path / "a.zip", tmp_path / "cache/deep")
    assert "nothing was unpacked" in caught.value.why
    assert [name for name in files_below(tmp_path) if not name.endswith(".lock")] == ["a.zip"]


def test_a_link_then_a_file_through_it(tmp_path):
    (tmp_path / "outside").mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("data")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(tmp_path / "outside"))
        archive.writestr("data/escaped", b"x")
    with pytest.raises(UnsafeArchive):
        extracted(tmp_path / "a.zip", tmp_path / "cache")
    assert files_below(tmp_path / "outside") == []


def test_a_bomb_is_refused(tmp_path):
    archive = make(tmp_path / "a.zip", {"zeros": bytes(80 * 2**20)})
    with pytest.raises(UnsafeArchive, match="claims to grow"):
        extracted(archive, tmp_path / "cache")


def test_duplicate_members_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x", b"2")
    with pytest.raises(UnsafeArchive, match="twice"):
        extracted(tmp_path / "a.zip", tmp_path / "cache")


def test_a_disk_that_is_too_small(tmp_path, monkeypatch):
    archive = make(tmp_path / "a.zip", {"x": b"content"})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    with pytest.raises(EnvironmentProblem, match="EVALKIT_CACHE"):
        extracted(archive, tmp_path / "cache")


def test_damaged_archives_leave_nothing_behind(tmp_path):
    archive = make(tmp_path / "a.zip", {"x": b"good content" * 100, "y": bytes(range(256)) * 100})
    broken = bytearray(archive.read_bytes())
    broken[100:110] = b"0123456789"
    archive.write_bytes(broken)
    for content in (bytes(broken), bytes(broken[:-30]), b"no zip at all"):
        archive.write_bytes(content)
        with pytest.raises(EnvironmentProblem, match="download it again"):
            extracted(archive, tmp_path / "cache")
    assert [name for name in files_below(tmp_path / "cache") if not name.endswith(".lock")] == []


def test_remains_of_a_killed_process_are_removed(tmp_path):
    archive = make(tmp_path / "a.zip", {"x": b"1"})
    folder = extracted(archive, tmp_path / "cache")
    folder.rename(folder.with_name(".evalkit-tmp-0123456789ab"))
    assert extracted(archive, tmp_path / "cache") == folder
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [folder]


def test_is_unpacked(tmp_path):
    archive = make(tmp_path / "a.zip", {"data/x.mp4": b"video"})
    assert not is_unpacked(archive, tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.mp4").write_bytes(b"vid")
    assert not is_unpacked(archive, tmp_path)
    (tmp_path / "data/x.mp4").write_bytes(b"video")
    assert is_unpacked(archive, tmp_path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/../b", "/a", "\\a", "a\0b"])
def test_names_that_are_not_inside(name):
    assert not is_inside(name)


def test_a_bomb_of_many_small_members_is_refused_before_it_is_unpacked(tmp_path):
    zeros = b"\0" * (20 * 2**20)
    archive = make(tmp_path / "a.zip", {f"{number}.bin": zeros for number in range(4)})
    with pytest.raises(UnsafeArchive, match="at most 200 times its size is unpacked"):
        extracted(archive, tmp_path / "cache")
    assert files_below(tmp_path / "cache") in (
        [],
        [path for path in files_below(tmp_path / "cache") if "lock" in path],
    )
    assert "at most 200 times" in zip_bomb_problem(archive)


@pytest.mark.parametrize(
    ("name", "why"), [("n" * 300, "file systems take 255"), ("é" * 150, "a name of 300 bytes")]
)
def test_a_name_that_no_file_can_have_is_refused(tmp_path, name, why):
    with pytest.raises(UnsafeArchive, match=why):
        extracted(make(tmp_path / "a.zip", {f"data/{name}": b"x"}), tmp_path / "cache")


def test_a_name_in_no_encoding_is_a_message(tmp_path):
    archive = make(tmp_path / "a.zip", {"é.bin": b"x"})
    archive.write_bytes(archive.read_bytes().replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(EnvironmentProblem, match="can't be unpacked"):
        extracted(archive, tmp_path / "cache")


def test_a_file_that_is_also_a_folder_is_a_message(tmp_path):
    with pytest.raises(EnvironmentProblem, match="can't be unpacked"):
        extracted(make(tmp_path / "a.zip", {"a": b"x", "a/b": b"y"}), tmp_path / "cache")
