"""GLM-V: prompts as its processor writes them, answers between box tags, one kind of medium in a prompt."""

from __future__ import annotations

import pytest
import torch

from evalkit.core.errors import UsageError
from evalkit.core.types import Text
from evalkit.metrics.boxes import to_original
from evalkit.metrics.coordinates import parse_box
from evalkit.metrics.reasoning import split_reasoning
from evalkit.models.conformance.tested_family import TestedFamily
from evalkit.models.detokenize import control_tokens
from evalkit.models.processor_reference import film, picture
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant


@pytest.fixture(scope="module", params=["glm4v", "glm46v"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TestedFamily:
    found = TestedFamily(request.param, tmp_path_factory.mktemp("tiny") / request.param)
    assert found.checkpoint.is_dir()
    return found


def test_frames_are_images_before_their_times(family: TestedFamily) -> None:
    prepared = next(each.prepared for each in family.prompts if each.name == "a video")
    tokenizer = family.model.info.processor.tokenizer
    text = tokenizer.decode(prepared.input_ids)
    times = {"glm4v": ("0", "1"), "glm46v": ("0.0 seconds", "1.5 seconds")}[family.name]
    frame = "<|begin_of_image|>" + "<|image|>" * (int((prepared.token_types == 2).sum()) // 2)
    assert "<|begin_of_video|>" + "".join(f"{frame}<|end_of_image|>{each}" for each in times) in text
    assert "<|video|>" not in text


def test_what_an_image_token_stands_for_is_told_from_the_tokens_alone(family: TestedFamily) -> None:
    """A video's frames have an image's token: without ``mm_token_type_ids``, its start and end tell."""
    model = family.model.module
    for prompt in family.prompts:
        install(model, parse_variant("mrope"))
        given = prompt.arguments
        without = {name: each for name, each in given.items() if name != "mm_token_type_ids"}
        with torch.inference_mode():
            expected = model(input_ids=prompt.input_ids, **given).logits
            assert torch.equal(model(input_ids=prompt.input_ids, **without).logits, expected)


def test_images_and_videos_in_one_prompt_are_refused(family: TestedFamily) -> None:
    """Transformers' own model counts the tokens of both for either."""
    parts = [picture(family.folder, (56, 56)), Text("or"), film(family.folder, (56, 56), 4)]
    with pytest.raises(UsageError, match="images and videos"):
        family.model.info.render(parts)


def test_boxes_between_box_tags_are_thousandths(family: TestedFamily) -> None:
    """Tags that a tokenizer calls special are no control tokens of the chat."""
    said = "<think>On the left.</think><answer><|begin_of_box|>[[120, 80, 560, 900]]<|end_of_box|></answer>"
    final = split_reasoning(said).final
    assert final == "[[120, 80, 560, 900]]"
    box = to_original(parse_box(final), family.adapter.family.box_space, (2000, 500), None)
    assert box == pytest.approx((240, 40, 1120, 450))


def test_box_tags_reach_the_metric(family: TestedFamily) -> None:
    from tokenizers import AddedToken

    tokenizer = family.model.info.processor.tokenizer
    tags = ["<|begin_of_box|>", "<|end_of_box|>"]
    tokenizer.add_tokens([AddedToken(each, special=True) for each in tags])
    control = control_tokens(tokenizer, "<|im_start|>user", [])
    assert not control & set(tokenizer.convert_tokens_to_ids(tags))


@pytest.mark.parametrize(("most", "shown"), [(10, 9), (27, 25)])
def test_a_recipe_limits_the_pixels_of_an_image_itself(family: TestedFamily, most: int, shown: int) -> None:
    """The processor counts an image twice, as the two frames that it stands for."""
    preprocessor = family.model.info.preprocessor.with_own_limits({"image_max_pixels": most * 28**2})
    image = picture(family.folder, (300, 300))
    assert preprocessor.process_image(image, [image]).info.tokens == shown
