"""Which tokens lie under which part of a picture, and what a veil looks like."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from evalkit.core.types import MediaInfo, Prepared, VisionInput
from evalkit.diagnose.attention.pictures import THICKEST, Panel, _evenly, _frame_index, _places
from evalkit.models.families.registry import adapter_of

NOTHING = np.zeros((1, 1), np.uint8)


def item(*vision: VisionInput) -> Prepared:
    return Prepared("k", np.zeros(1, np.int64), np.zeros(1, np.uint8), vision, 1)


def test_frames_of_any_blocks_and_images_follow_one_another() -> None:
    image = VisionInput("image", NOTHING, (1, 4, 6), ((1, 2, 3),))
    video = VisionInput("video", NOTHING, (2, 4, 4), ((2, 2, 2),))
    by_frame = VisionInput("video", NOTHING, (2, 4, 4), ((1, 2, 2), (1, 2, 2)))
    found = list(_places(item(image, video, by_frame), adapter_of("qwen3_vl").whole_block))
    assert [(medium, frame) for medium, frame, _ in found] == [(0, None), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert np.concatenate([tokens.ravel() for _, _, tokens in found]).tolist() == list(range(22))
    assert found[0][2].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_tiles_lie_where_they_were_cut() -> None:
    tiled = VisionInput("image", NOTHING, (1, 4, 4), ((1, 2, 4),), tile=(2, 2))
    ((_, _, tokens),) = _places(item(tiled), adapter_of("qwen2_vl").whole_block)
    assert tokens.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_of_several_blocks_the_one_that_shows_the_whole_image_is_drawn() -> None:
    tiles = VisionInput("image", NOTHING, (3, 1, 2), ((1, 2, 2),) * 3)
    ((_, _, thumbnail),) = _places(item(tiles), adapter_of("internvl").whole_block)
    assert thumbnail.tolist() == [[8, 9], [10, 11]]
    mosaic = VisionInput("image", NOTHING, (1, 9, 9), ((1, 2, 2), (1, 3, 4)))
    ((_, _, base),) = _places(item(mosaic), adapter_of("llava_onevision").whole_block)
    assert base.tolist() == [[0, 1], [2, 3]]
    padded = VisionInput("image", NOTHING, (1, 9, 9), ((1, 2, 2),))
    assert not list(_places(item(padded, padded), adapter_of("llava_onevision").whole_block))


def test_a_veil_is_thick_where_there_is_no_attention_and_gone_at_four_times_the_mean() -> None:
    panel = Panel(0, None, np.array([[[0.0, 1.0], [4.0, 9.0]], [[0.0, 3.0], [4.0, 9.0]]]), "")
    data = base64.b64decode(panel.veil([0, 1]).removeprefix("data:image/png;base64,"))
    alpha = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[:, :, 3]
    assert alpha.tolist() == [[THICKEST, round(THICKEST / 2)], [0, 0]]
    assert panel.most([0]) == 9


def test_a_steps_picture_is_its_first_frame() -> None:
    video = VisionInput("video", NOTHING, (3, 4, 4), ((3, 2, 2),))
    info = MediaInfo("video", "d", (1, 1), (1, 1), 12, frames=(0, 10, 20, 30, 40))
    assert [_frame_index(video, info, step) for step in range(3)] == [0, 20, 40]
    assert (_evenly(3), _evenly(10)) == ([0, 1, 2], [0, 3, 6, 9])
