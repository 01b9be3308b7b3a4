import hashlib
from collections import Counter

from mirrors import build_chartqa_mirror, build_docvqa_mirror, build_mmmu_mirror, png

from evalkit.core.registry import builtin_dir, load_module, load_task
from evalkit.core.types import MediaRef, Text
from evalkit.metrics.mmmu import DISCIPLINES

mmmu = load_module(builtin_dir() / "image/mmmu_val.py")
SUBJECTS = tuple(sorted(subject for subjects in DISCIPLINES.values() for subject in subjects))
SHORT = "\nPlease try to answer the question with short words or phrases if possible."


def samples(name, root):
    found = list(load_task(name).samples(str(root)))
    assert len({sample.id for sample in found}) == len(found)
    return found


def test_chartqa_every_sample(tmp_path, shared):
    rows = build_chartqa_mirror(shared, tmp_path)
    found = samples("chartqa", tmp_path)
    assert len(found) == len(rows) == 60
    for number, (sample, row) in enumerate(zip(found, rows, strict=True)):
        data = row["image"]["bytes"]
        assert sample.id == str(number)
        assert sample.parts == (MediaRef("image", data=data), Text(row["question"] + SHORT))
        assert sample.reference == row["answer"]
        assert sample.groups == {"split": row["type"].removesuffix("_test")}
        assert sample.meta == {"question": row["question"]}
    assert Counter(sample.groups["split"] for sample in found) == {"human": 30, "augmented": 30}
    charts = {hashlib.sha256(row["image"]["bytes"]).hexdigest() for row in rows}
    assert len({sample.cluster_id for sample in found}) == len(charts)


def test_docvqa_every_sample(tmp_path):
    rows = build_docvqa_mirror(tmp_path)
    found = samples("docvqa_val", tmp_path)
    for sample, row in zip(found, rows, strict=True):
        assert sample.id == row["questionId"]
        assert sample.parts == (MediaRef("image", data=row["image"]["bytes"]), Text(row["question"] + SHORT))
        assert sample.reference == row["answers"]
        assert sample.groups == {"question_type": tuple(row["question_types"])}
        assert sample.meta == {"question": row["question"]}
    assert [sample.cluster_id for sample in found] == ["pybv0228-81", "pybv0228-81", "pybv0228-82"]


def test_mmmu_every_sample(tmp_path):
    rows = build_mmmu_mirror(tmp_path, SUBJECTS)
    found = {sample.id: sample for sample in samples("mmmu_val", tmp_path)}
    assert list(found) == [row["id"] for row in rows]
    assert len(found) == 60
    assert load_task("mmmu_val").dataset.config == SUBJECTS
    special = {"validation_Math_1", "validation_Music_2"}
    for row in rows:
        sample = found[row["id"]]
        subject = row["subfield"]
        assert sample.groups["subject"] == subject
        assert subject in DISCIPLINES[sample.groups["discipline"]]
        assert sample.groups["question_type"] == row["question_type"]
        assert sample.meta["question"] == row["question"]
        if row["id"] not in special:
            assert sample.parts == (
                Text(f"Question: Question {row['id'][-1]} of {subject}, about "),
                MediaRef("image", data=row["image_1"]["bytes"]),
                Text(
                    "?\nOptions:\nA. $6\nB. $7\nC. it's 8\n"
                    "Please select the correct answer from the options above."
                ),
            )
            assert sample.reference == "B"
            assert sample.meta["options"] == {"A": "$6", "B": "$7", "C": "it's 8"}


def test_mmmu_options_that_are_images(tmp_path):
    build_mmmu_mirror(tmp_path, SUBJECTS)
    sample = next(s for s in samples("mmmu_val", tmp_path) if s.id == "validation_Math_1")
    assert [part.text if isinstance(part, Text) else part.data for part in sample.parts] == [
        "Question: Question 1 of Math, about ",
        png((1, 0, 0)),
        "?\nOptions:\nA. ",
        png((0, 2, 0)),
        "\nB. ",
        png((0, 3, 0)),
        " turned\nPlease select the correct answer from the options above.",
    ]
    assert sample.meta["options"] == {"A": "<image 2>", "B": "<image 3> turned"}


def test_mmmu_open_questions(tmp_path):
    build_mmmu_mirror(tmp_path, SUBJECTS)
    sample = next(s for s in samples("mmmu_val", tmp_path) if s.id == "validation_Music_2")
    assert sample.reference == ["C major", "C-major"]
    assert sample.meta["options"] == {}
    assert sample.parts[-1] == Text("?\nAnswer the question using a single word or phrase.")


def test_mmmu_marks_and_images_that_do_not_match():
    cells = {"image_1": {"path": "one"}, "image_2": {"path": "two"}, "image_3": None}
    row = {"question_type": "open", "question": "<image 1><image 3> and <image 1> of <image 12>", **cells}
    pieces = list(mmmu.pieces(row))
    assert [piece.text if isinstance(piece, Text) else piece["path"] for piece in pieces] == [
        "two",
        "Question: ",
        "one",
        "<image 3> and <image 1> of <image 12>\nAnswer the question using a single word or phrase.",
    ]
    texts = [piece.wording("internvl", "plain") for piece in pieces if isinstance(piece, Text)]
    assert texts == ["", pieces[-1].text]


def test_mmmu_has_thirty_subjects_in_six_disciplines():
    assert len(SUBJECTS) == len(set(SUBJECTS)) == 30
    assert [len(subjects) for subjects in DISCIPLINES.values()] == [4, 5, 5, 5, 4, 7]


def test_mmmu_subjects_are_those_of_real_ids(shared):
    import json

    lines = (shared / "parity/mmmu_val-llava1.5_13b/cases.jsonl").read_text().splitlines()
    cases = [json.loads(line) for line in lines]
    assert {mmmu.subject(case) for case in cases} == set(SUBJECTS)
    assert all(mmmu.subject(case) == case["group"]["subject"] for case in cases)
