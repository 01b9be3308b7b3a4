import shutil

import pytest
from mirrors import build_refcoco_mirror

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.registry import load_task
from evalkit.core.types import Locate, MediaRef


def test_refcoco_val_one_sample_per_expression(tmp_path, shared):
    objects = build_refcoco_mirror(shared, tmp_path)["val"]
    found = list(load_task("refcoco_val").samples(str(tmp_path)))
    lines = [line for group in objects for line in group]
    assert len(found) == len(lines) == 8
    assert len({sample.id for sample in found}) == 8
    for sample, line in zip(found, lines, strict=True):
        path = tmp_path / "coco/train2014" / line["image"]
        assert sample.parts == (MediaRef("image", path=str(path)), Locate(line["expression"]))
        assert sample.reference == [round(value, 2) for value in line["bbox_xyxy_abs"]]
        assert sample.meta == {"question": line["expression"], "image_size": [line["width"], line["height"]]}
        assert sample.cluster_id == line["image"]


@pytest.mark.parametrize("split", ["testA", "testB"])
def test_refcoco_test_one_sample_per_expression(tmp_path, shared, split):
    objects = build_refcoco_mirror(shared, tmp_path)["testA"]
    found = list(load_task(f"refcoco_{split}").samples(str(tmp_path)))
    lines = [line for group in (objects if split == "testA" else objects[-2:]) for line in group]
    assert len(found) == len(lines) > 4
    assert len({sample.id for sample in found}) == len(lines)
    for sample, line in zip(found, lines, strict=True):
        data = (shared / "media/refcoco_photos" / line["image"]).read_bytes()
        assert sample.parts == (MediaRef("image", data=data), Locate(line["expression"]))
        # Width and height went through float32, as in the repository: two decimals survive it.
        assert sample.reference == pytest.approx(line["bbox_xyxy_abs"], abs=0.011)
        assert sample.meta == {"question": line["expression"], "image_size": [line["width"], line["height"]]}
        assert sample.cluster_id == line["image"]


def test_refcoco_val_says_how_to_get_the_images(tmp_path, shared):
    build_refcoco_mirror(shared, tmp_path)
    shutil.rmtree(tmp_path / "coco")
    with pytest.raises(EnvironmentProblem) as caught:
        list(load_task("refcoco_val").samples(str(tmp_path)))
    assert str(tmp_path / "coco/train2014/COCO_train2014_000000580957.jpg") in caught.value.why
    assert "train2014.zip" in caught.value.fix


def test_refcoco_test_image_that_can_not_be_read_becomes_a_sample_all_the_same():
    from evalkit.benchmarks.refcoco import extent_expressions

    row = {
        "question_id": "1",
        "image": {"bytes": b"no image", "path": None},
        "answer": ["a", "b"],
        "bbox": [1.0, 2.0, 3.0, 4.0],
        "file_name": "COCO_train2014_000000581857_16.jpg",
    }
    first, second = extent_expressions(row)
    assert first["size"] is None
    assert (first["box"], first["image_name"]) == ([1, 2, 4, 6], "COCO_train2014_000000581857.jpg")
    assert first["id"] != second["id"]
