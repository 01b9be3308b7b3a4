"""Every video benchmark but Video-MME, from a mirror in the hub's own layout to a score."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mirrors_video as mirrors
import pytest
from mirrors_mvbench import MVBENCH, build_mvbench_mirror

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.registry import load_task
from evalkit.core.types import MediaRef, Sample, Text
from evalkit.data.cache import MediaCache
from evalkit.data.video import probe
from evalkit.metrics.base import Answer, Score

BUILDERS: dict[str, Callable[[Path], mirrors.Rows]] = {
    "mvbench": build_mvbench_mirror,
    "star_val": mirrors.build_star_mirror,
    "mlvu_dev": mirrors.build_mlvu_mirror,
    "lvbench": mirrors.build_lvbench_mirror,
    "charades_sta": mirrors.build_charades_sta_mirror,
    "longvideobench": mirrors.build_longvideobench_mirror,
    "tempcompass": mirrors.build_tempcompass_mirror,
    "egoschema_subset": mirrors.build_egoschema_mirror,
    "nextqa": mirrors.build_nextqa_mirror,
    "perceptiontest": mirrors.build_perceptiontest_mirror,
}
LETTERED = [name for name in BUILDERS if name not in ("charades_sta", "tempcompass")]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))


def load(name: str, root: Path) -> tuple[mirrors.Rows, list[Sample]]:
    rows = BUILDERS[name](root)
    return rows, list(load_task(name).samples(str(root)))


def wording(sample: Sample) -> str:
    part = sample.parts[1]
    assert isinstance(part, Text)
    return part.text


def clip_of(sample: Sample) -> MediaRef:
    part = sample.parts[0]
    assert isinstance(part, MediaRef)
    assert part.kind == "video"
    return part


def judge(name: str, sample: Sample, prediction: str) -> Score:
    options = sample.meta.get("options", {})
    question = sample.meta.get("question", "")
    answer = Answer(prediction, sample.reference, question, options, sample.groups)
    return load_task(name).metric.score(answer)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_row_is_a_sample_with_a_video_that_can_be_read(name, tmp_path):
    rows, samples = load(name, tmp_path / "data")
    rows = [row for row in rows if row.get("config") != "captioning"]
    assert len(samples) == len(rows)
    assert len({sample.id for sample in samples}) == len(samples)
    task = load_task(name)
    for sample in samples:
        assert len(sample.parts) == 2
        if sample.id.startswith("fine_grained_pose"):
            continue
        made = MediaCache(tmp_path / "media").to_file(clip_of(sample))
        assert len(probe(made.path).timestamps) in (mirrors.SECONDS * mirrors.RATE, 12)
        assert sample.meta["question"]
        assert list(sample.groups) == list(task.groups)
        for labels in sample.groups.values():
            assert isinstance(labels, str) or all(isinstance(label, str) for label in labels)


@pytest.mark.parametrize("name", LETTERED)
def test_a_right_letter_scores_and_a_wrong_one_does_not(name, tmp_path):
    _, samples = load(name, tmp_path / "data")
    for sample in samples:
        options = sample.meta["options"]
        assert sample.reference in options
        wrong = next(letter for letter in options if letter != sample.reference)
        for form in ("{}", "{}.", "({})", "The answer is ({})."):
            assert judge(name, sample, form.format(sample.reference)).value == 1.0
            assert judge(name, sample, form.format(wrong)).value == 0.0
        unread = judge(name, sample, "I can't tell.")
        assert unread.value == 0.0
        assert unread.parse_error
        for letter, text in options.items():
            assert f"({letter}) {text}" in wording(sample) or f"{letter}. {text}" in wording(sample)


def test_mvbench_knows_where_each_task_keeps_its_videos(tmp_path):
    rows, samples = load("mvbench", tmp_path)
    assert [sample.groups["task"] for sample in samples] == list(MVBENCH)
    for row, sample in zip(rows, samples, strict=True):
        clip = clip_of(sample)
        assert (clip.start, clip.end) == (row.get("start"), row.get("end"))
        assert sample.reference == row["letter"]
        found = Path(clip.path)
        if row["config"] == "episodic_reasoning":
            assert clip.frame_rate == 3.0
            assert {path.name: path.read_bytes() for path in found.iterdir()} == {
                name.rpartition("/")[2]: content for name, content in row["content"].items()
            }
        elif row["config"] == "fine_grained_pose":
            assert found == tmp_path / "OpenGVLab/MVBench/video/nturgbd/S1.mp4"
            assert not found.exists()
        else:
            assert clip.frame_rate is None
            assert [found.read_bytes()] == list(row["content"].values())
    assert wording(samples[0]) == (
        "Carefully watch the video and pay attention to the cause and sequence of events, the detail and "
        "movement of objects and the action and pose of persons.\nBased on your observations, select the "
        "best option that accurately addresses the question.\nQuestion: What happens in action_sequence?\n"
        "Options:\n(A) Nothing.\n(B) It moves.\n(C) It moves.\n(D) It stops.\n"
        "Answer with the option's letter from the given choices directly and only give the best option."
    )


def test_mvbench_unpacked_beside_its_archives_is_read_in_place(tmp_path):
    import zipfile

    folder = tmp_path / "data/OpenGVLab/MVBench/video"
    BUILDERS["mvbench"](tmp_path / "data")
    for archive in folder.glob("*.zip"):
        zipfile.ZipFile(archive).extractall(folder)
    samples = list(load_task("mvbench").samples(str(tmp_path / "data")))
    places = {sample.groups["task"]: Path(clip_of(sample).path) for sample in samples}
    assert all(path.is_relative_to(folder) for path in places.values())
    assert not (tmp_path / "cache").exists()
    for archive in folder.glob("*.zip"):
        archive.unlink()
    again = list(load_task("mvbench").samples(str(tmp_path / "data")))
    assert {sample.groups["task"]: Path(clip_of(sample).path) for sample in again} == places


def test_star_asks_about_a_clip(tmp_path):
    rows, samples = load("star_val", tmp_path)
    for row, sample in zip(rows, samples, strict=True):
        clip = clip_of(sample)
        assert clip.path == str(tmp_path / f"charades/Charades_v1_480/{row['video_id']}.mp4")
        assert (clip.start, clip.end) == (row["start"], row["end"])
        assert sample.meta["options"][sample.reference] == row["answer"]
        assert sample.groups == {"question_type": row["config"]}


def test_star_says_how_to_get_the_videos(tmp_path):
    BUILDERS["star_val"](tmp_path)
    for path in (tmp_path / "charades/Charades_v1_480").iterdir():
        path.unlink()
    with pytest.raises(EnvironmentProblem) as caught:
        list(load_task("star_val").samples(str(tmp_path)))
    assert "Charades_v1_480.zip" in caught.value.fix


def test_mlvu_takes_the_options_from_the_question(tmp_path):
    rows, samples = load("mlvu_dev", tmp_path)
    assert [sample.groups["task_type"] for sample in samples] == list(mirrors.MLVU_TYPES)
    assert samples[0].meta == {
        "question": "What about plotQA?",
        "options": {"A": "red", "B": "two lines", "C": "blue", "D": "green"},
    }
    assert [sample.reference for sample in samples] == [row["answer"] for row in rows]


def test_lvbench_counts_a_question_in_each_of_its_types(tmp_path):
    rows, samples = load("lvbench", tmp_path)
    for row, sample in zip(rows, samples, strict=True):
        assert sample.groups == {"question_type": tuple(row["question_type"])}
        assert (sample.id, sample.reference, sample.cluster_id) == (
            row["uid"],
            row["answer"],
            row["video_path"],
        )
    assert samples[0].meta["question"] == "What year is 0?"


def test_charades_spans_are_those_of_the_annotations(tmp_path):
    rows, samples = load("charades_sta", tmp_path)
    assert [sample.reference for sample in samples] == [row["span"] for row in rows]
    assert wording(samples[0]).endswith(
        "textual sentence: person turn light 0. Please return its start time and end time."
    )


def test_longvideobench_shows_as_many_options_as_there_are(tmp_path):
    rows, samples = load("longvideobench", tmp_path)
    assert [len(sample.meta["options"]) for sample in samples] == [2, 3, 4, 5]
    assert [sample.reference for sample in samples] == list("ABCD")
    assert [sample.groups["duration"] for sample in samples] == ["15", "60", "600", "3600"]
    for row, sample in zip(rows, samples, strict=True):
        assert Path(clip_of(sample).path).read_bytes() == mirrors.clip(row["video_path"])


def test_tempcompass_asks_each_format_in_its_words(tmp_path):
    _, samples = load("tempcompass", tmp_path)
    endings = ["Please directly give the best option:", "Please answer yes or no:"]
    assert [wording(sample).rpartition("\n")[2] for sample in samples] == [*endings, endings[0]]
    assert [sample.groups["task"] for sample in samples] == ["multi-choice", "yes_no", "caption_matching"]


def test_egoschema_finds_both_spellings_of_a_suffix(tmp_path):
    _, samples = load("egoschema_subset", tmp_path)
    assert [Path(clip_of(sample).path).suffix for sample in samples] == [".mp4", ".MP4"]
    assert samples[0].meta["options"]["A"] == "C does a."
    assert [sample.reference for sample in samples] == ["D", "B"]


def test_nextqa_counts_previous_with_next(tmp_path):
    rows, samples = load("nextqa", tmp_path)
    assert [sample.groups["type"] for sample in samples] == ["CW", "CH", "TN", "TC", "TN", "DC", "DL", "DO"]
    assert [sample.groups["kind"][0].upper() for sample in samples] == [row["type"][0] for row in rows]
    assert [sample.reference for sample in samples] == ["ABCDE"[row["answer"]] for row in rows]
    assert samples[0].parts[1] == Text(
        "why did number CW move\nA. reason 0\nB. reason 1\nC. reason 2\nD. reason 3\nE. reason 4\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_perceptiontest_has_three_options_and_any_number_of_tags(tmp_path):
    _, samples = load("perceptiontest", tmp_path)
    assert [sample.reference for sample in samples] == ["A", "B", "C"]
    assert [sample.groups["tag"] for sample in samples] == [("motion",), ("camera", "motion"), ()]
