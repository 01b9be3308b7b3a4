import io
import tarfile
from pathlib import Path

import pytest

from evalkit.core.errors import EnvironmentProblem
from evalkit.data.archives import UnsafeArchive
from evalkit.data.file_columns import FileColumns
from evalkit.data.tarballs import extracted_tar, grouped


def make(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def cut(path, size):
    """Replace a file by parts named as `split` names them."""
    content = path.read_bytes()
    path.unlink()
    parts = []
    for number, start in enumerate(range(0, len(content), size)):
        parts.append(path.with_name(f"{path.name}.part.{chr(97 + number // 26)}{chr(97 + number % 26)}"))
        parts[-1].write_bytes(content[start : start + size])
    return parts


def below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CONTENT = [("videos/a.mp4", b"first" * 3000), ("videos/sub/b.mp4", b"second")]


@pytest.mark.parametrize(("name", "mode"), [("v.tar", "w"), ("v.tar.gz", "w:gz"), ("v.tgz", "w:gz")])
def test_a_tar_file_is_unpacked_once(tmp_path, name, mode):
    archive = make(tmp_path / name, CONTENT, mode)
    folder = extracted_tar([archive], tmp_path / "cache")
    assert below(folder) == dict(CONTENT)
    (folder / "videos/a.mp4").write_bytes(b"touched")
    assert extracted_tar([archive], tmp_path / "cache") == folder
    assert (folder / "videos/a.mp4").read_bytes() == b"touched"


def test_parts_are_read_as_one(tmp_path):
    parts = cut(make(tmp_path / "v.tar", CONTENT), 7000)
    assert len(parts) > 2
    other = make(tmp_path / "subtitles.tar", [("subtitles/a.json", b"[]")])
    assert grouped([other, *reversed(parts)]) == [(other,), tuple(parts)]
    assert below(extracted_tar(parts, tmp_path / "cache")) == dict(CONTENT)


def test_a_missing_part_is_noticed(tmp_path):
    parts = cut(make(tmp_path / "v.tar", CONTENT), 512)
    last = next(n for n, part in enumerate(parts) if part.read_bytes().startswith(b"videos/sub"))
    for missing in ([*parts[:last]], [*parts[:3]], [parts[0], *parts[2:]], parts[1:]):
        with pytest.raises(EnvironmentProblem) as caught:
            extracted_tar(missing, tmp_path / "cache")
        assert "download it again" in caught.value.fix
        assert not list((tmp_path / "cache").glob("*/"))


def link(kind):
    info = tarfile.TarInfo("videos/link")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    "member",
    ["../escaped", "/escaped", "a/../../escaped", *map(link, (tarfile.SYMTYPE, tarfile.LNKTYPE))],
    ids=["above", "absolute", "above a folder", "symbolic link", "hard link"],
)
def test_members_that_escape_leave_nothing(tmp_path, member):
    archive = make(tmp_path / "v.tar", [("videos/good.mp4", b"fine"), (member, b"")])
    with pytest.raises(UnsafeArchive):
        extracted_tar([archive], tmp_path / "cache")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"] == [
        "v.tar"
    ]


def test_a_member_that_occurs_twice_is_refused(tmp_path):
    archive = make(tmp_path / "v.tar", [("a", b"1"), ("a", b"2")])
    with pytest.raises(EnvironmentProblem):
        extracted_tar([archive], tmp_path / "cache")


def attached(folder: Path, row, **templates):
    found = FileColumns.locate("o/n", folder, None, ("**/*.zip", "*.tar*"), templates, (), "")
    return found.add_paths(row)


def test_rows_find_files_in_parts_and_in_folders_that_are_unpacked_already(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    repo = tmp_path / "repo"
    repo.mkdir()
    parts = cut(make(repo / "videos.tar", CONTENT), 7000)
    row = {"name": "a"}
    path = Path(attached(repo, row, video=("videos/{name}.mp4",))["video"])
    assert path.is_relative_to(tmp_path / "cache")
    assert path.read_bytes() == b"first" * 3000
    (repo / "videos").mkdir()
    (repo / "videos/a.mp4").write_bytes(b"here")
    assert attached(repo, row, video=("videos/{name}.mp4",))["video"] == str(repo / "videos/a.mp4")
    for part in parts:
        part.unlink()
    assert attached(repo, row, video=("videos/{name}.mp4",))["video"] == str(repo / "videos/a.mp4")


def test_templates_can_be_a_function_and_name_a_folder(tmp_path):
    (tmp_path / "frames/a").mkdir(parents=True)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/b.mp4").write_bytes(b"")

    def where(row):
        return ("frames/{name}/",) if row["kind"] == "frames" else ("clips/{name}.mp4",)

    assert attached(tmp_path, {"kind": "frames", "name": "a"}, video=where)["video"] == str(
        tmp_path / "frames/a"
    )
    assert attached(tmp_path, {"kind": "clip", "name": "b"}, video=where)["video"].endswith("clips/b.mp4")
    missing = attached(
        tmp_path, {"kind": "frames", "name": "../clips"}, video=lambda row: ("frames/{name}x/", "x")
    )
    assert missing["video"].endswith("/x")


def test_a_bomb_is_refused_as_soon_as_it_grows_beyond_the_limit(tmp_path):
    zeros = b"\0" * (20 * 2**20)
    archive = make(tmp_path / "v.tar.gz", [(f"{number}.bin", zeros) for number in range(4)], "w:gz")
    with pytest.raises(UnsafeArchive, match="at most 200 times its size is unpacked"):
        extracted_tar([archive], tmp_path / "cache")
    assert not [path for path in below(tmp_path / "cache") if not path.endswith(".lock")]


def test_a_name_without_end_is_not_read_into_memory(tmp_path):
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    archive = make(tmp_path / "v.tar.gz", [(info, b"n" * (2 * 2**20))], "w:gz")
    with pytest.raises(EnvironmentProblem, match="a header of 2097152 bytes; at most 1048576 are read"):
        extracted_tar([archive], tmp_path / "cache")


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(UnsafeArchive, match="file systems take 255"):
        extracted_tar([make(tmp_path / "v.tar", [("n" * 300, b"x")])], tmp_path / "cache")
