"""RefCOCO+, RefCOCOg and ScreenSpot, from a mirror in the hub's own layout to a score."""

import pytest
from mirrors_grounding import (
    BOXES,
    HEIGHT,
    PHRASES,
    WIDTH,
    build_corner_mirror,
    build_extent_mirror,
    build_screenspot_mirror,
)

from evalkit.core.registry import load_task, resolve
from evalkit.core.types import Locate
from evalkit.data.images import image_size
from evalkit.metrics.base import Answer

CORNERS = {"refcoco_plus_val": "jxu124/refcocoplus", "refcocog_val": "jxu124/refcocog"}
EXTENTS = {
    "refcoco_plus_testA": ("lmms-lab-encoder/RefCOCOplus", "testA"),
    "refcoco_plus_testB": ("lmms-lab-encoder/RefCOCOplus", "testB"),
    "refcocog_test": ("lmms-lab-encoder/RefCOCOg", "test"),
}
EXPECTED = [(box, phrase) for box, phrases in zip(BOXES, PHRASES, strict=True) for phrase in phrases]


def load(name, root):
    if name in CORNERS:
        build_corner_mirror(root, CORNERS[name])
    else:
        build_extent_mirror(root, *EXTENTS[name])
    return list(load_task(name).samples(str(root)))


def answer(sample, box, space="abs"):
    return Answer(
        str(list(box)), sample.reference, image_size=tuple(sample.meta["image_size"]), box_space=space
    )


@pytest.mark.parametrize("name", [*CORNERS, *EXTENTS])
def test_one_sample_for_each_expression(tmp_path, name):
    samples = load(name, tmp_path)
    assert len(samples) == len(EXPECTED) == len({sample.id for sample in samples})
    for sample, (box, phrase) in zip(samples, EXPECTED, strict=True):
        picture, request = sample.parts
        assert image_size(picture) == (WIDTH, HEIGHT)
        assert request == Locate(phrase)
        assert sample.reference == pytest.approx(box, abs=0.011)
        assert sample.meta == {"question": phrase, "image_size": [WIDTH, HEIGHT]}
    assert len({sample.cluster_id for sample in samples}) == 2


@pytest.mark.parametrize("name", [*CORNERS, *EXTENTS])
def test_a_right_box_scores_and_a_wrong_one_does_not(tmp_path, name):
    metric = load_task(name).metric
    for sample in load(name, tmp_path):
        x1, y1, x2, y2 = sample.reference
        assert metric.score(answer(sample, (x1, y1, x2, y2))).value == 1.0
        thousands = (1000 * x1 / WIDTH, 1000 * y1 / HEIGHT, 1000 * x2 / WIDTH, 1000 * y2 / HEIGHT)
        assert metric.score(answer(sample, thousands, "norm1000")).value == 1.0
        assert metric.score(answer(sample, (x1, y1, x1 + (x2 - x1) / 3, y2))).value == 0.0
        assert metric.score(Answer("nowhere", sample.reference, box_space="abs")).parse_error


def test_all_rows_of_the_paper():
    assert resolve(["grounding"])[:8] == [
        *("refcoco_val", "refcoco_testA", "refcoco_testB"),
        *("refcoco_plus_val", "refcoco_plus_testA", "refcoco_plus_testB"),
        *("refcocog_val", "refcocog_test"),
    ]


def test_screenspot_by_platform_and_kind_of_element(tmp_path):
    rows = build_screenspot_mirror(tmp_path)
    samples = list(load_task("screenspot").samples(str(tmp_path)))
    assert [sample.parts[1] for sample in samples] == [Locate(row["instruction"]) for row in rows]
    assert [sample.groups["cell"] for sample in samples] == [
        *("mobile_icon", "mobile_text", "desktop_icon", "desktop_text", "web_icon")
    ]
    for sample in samples:
        assert sample.reference == [12.0, 16.0, 48.0, 48.0]
        assert sample.meta["image_size"] == [WIDTH, HEIGHT]
