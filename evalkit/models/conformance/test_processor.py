"""Prompts, pixels and positions of a family are those of transformers."""

from __future__ import annotations

import pickle

import pytest
import torch

from evalkit.core.errors import UsageError
from evalkit.core.types import MediaRef, Request, Text
from evalkit.models.base import LoadConfig
from evalkit.models.check import check_checkpoint
from evalkit.models.conformance.tested_family import TestedFamily
from evalkit.models.processor_reference import our_pixels, picture, processor_inputs
from evalkit.rope.hf.install import install, uninstall
from evalkit.rope.variants import parse_variant

GREY_LEVELS = 8
"""Of 255, by which bicubic resizing may differ at an edge between Pillow and torchvision."""


def test_an_image_and_a_video_are_what_transformers_makes_of_them(family: TestedFamily) -> None:
    """Chat, token ids, pixels and native positions, as ``evalkit models check`` compares them."""
    report = check_checkpoint(str(family.checkpoint), load_config=LoadConfig(device="cpu"))
    assert len(report.findings) == 4 * len(family.adapter.placeholders)
    assert [each for each in report.findings if each.outcome == "different"] == []


def test_several_images_of_any_size(family: TestedFamily) -> None:
    sizes = [(640, 480), (90, 300), (28, 28), (300, 299)]
    info = family.model.info
    images = [picture(family.folder, size) for size in sizes]
    for media in ([each] for each in images), [images]:
        for shown in media:
            chat = info.render([part for ref in shown for part in (ref, Text("and"))])
            request = Request(
                key="k", task="t", sample_id="s", prompt=chat, media=tuple(shown), max_new_tokens=8
            )
            mine = info.preprocessor.prepare(request)
            theirs = processor_inputs(info.processor, shown, mine, chat)
            assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
            assert info.preprocessor.estimate(request) == mine.length
            apart = our_pixels(info.processor, mine.vision).reshape(theirs["pixel_values"].shape)
            apart = (apart - theirs["pixel_values"]).abs() * max(info.processor.normalise["image"].std) * 255
            assert apart.mean() < 1
            assert apart.max() < GREY_LEVELS
            visual = sum(t * h * w for each in mine.vision for t, h, w in each.blocks)
            assert visual == int((mine.token_types > 0).sum()) == sum(each.tokens for each in mine.media)


def test_text_has_no_media(family: TestedFamily) -> None:
    info = family.model.info
    chat = info.render([Text("What is <|im_end|> for?")])
    mine = info.preprocessor.prepare(
        Request(key="k", task="t", sample_id="s", prompt=chat, media=(), max_new_tokens=8)
    )
    theirs = processor_inputs(info.processor, [], mine, chat)
    assert mine.input_ids.tolist() == theirs["input_ids"][0].tolist()
    assert chat.count("<|im_end|>") == 1  # the question's own is broken up
    assert not mine.token_types.any()


def test_the_preprocessor_is_sent_to_worker_processes(family: TestedFamily) -> None:
    preprocessor = family.model.info.preprocessor
    assert pickle.loads(pickle.dumps(preprocessor)) == preprocessor


def test_limits_on_visual_tokens_are_kept(family: TestedFamily) -> None:
    preprocessor = family.model.info.preprocessor.with_limits(2, 40)
    images = tuple(picture(family.folder, (200, 200), shift) for shift in range(2))
    chat = family.model.info.render([*images, Text("?")])
    prepared = preprocessor.prepare(
        Request(key="k", task="t", sample_id="s", prompt=chat, media=images, max_new_tokens=8)
    )
    assert sum(each.tokens for each in prepared.media) <= 40


def test_the_native_variant_is_the_untouched_model_bit_for_bit(family: TestedFamily) -> None:
    module = family.model.module
    prompts = family.prompts
    if family.adapter.text_after_video_differs:
        prompts = [each for each in prompts if not any(v.kind == "video" for v in each.prepared.vision)]
    for prompt in prompts:
        install(module, parse_variant(family.adapter.family.native_rope))
        with torch.inference_mode():
            ours = module(input_ids=prompt.input_ids, **prompt.arguments).logits
            uninstall(module)
            theirs = module(input_ids=prompt.input_ids, **prompt.arguments).logits
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, msg=prompt.name)


def test_media_that_the_family_does_not_take_are_refused(family: TestedFamily) -> None:
    if "video" in family.adapter.placeholders:
        pytest.skip("it takes images and videos")
    with pytest.raises(UsageError, match="take images only"):
        family.model.info.render([MediaRef("video", path="film.mp4"), Text("?")])
