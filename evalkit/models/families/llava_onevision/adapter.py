"""LLaVA-OneVision in its ``-hf`` form: anyres images, pooled video frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evalkit.core.types import VisionInput
from evalkit.inference.normalisation import Normalisations, normalised
from evalkit.inference.vision_features import Features
from evalkit.models import hf_model, tiles
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.llava_onevision import FAMILY
from evalkit.models.families.llava_onevision.layout import LAYOUT
from evalkit.models.families.llava_onevision.preprocess import LlavaPreprocessor


def encode(model: Any, media: Sequence[VisionInput], normalise: Normalisations) -> list[Features]:
    """See :class:`evalkit.inference.vision_features.Encode`."""
    found: dict[int, Features] = {}
    for each in media:
        if each.kind == "video":
            found[id(each)] = Features(_video(model, each, normalise))
    for cut_up in (True, False):
        images = [each for each in media if each.kind == "image" and (len(each.patches) > 1) == cut_up]
        for run in tiles.media_batches(images):
            found |= zip(map(id, run), _images(model, run, normalise, cut_up), strict=False)
    return [found[id(each)] for each in media]


def _images(
    model: Any, images: Sequence[VisionInput], normalise: Normalisations, cut_up: bool
) -> Iterator[Features]:
    """Features of images in tiles, or of whole ones, which transformers takes only if there are several."""
    if not cut_up and len(images) == 1:
        images = [*images, *images]
    most = max(len(each.patches) for each in images)
    padded = torch.zeros(
        len(images), most, *images[0].patches.shape[1:], device=model.device, dtype=model.dtype
    )
    for number, each in enumerate(images):
        padded[number, : len(each.patches)] = normalised([(each, each.patches)], normalise, model.device)
    found = model.model.get_image_features(
        padded,
        torch.tensor([each.grid[1:] for each in images]),
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        vision_aspect_ratio=model.config.vision_aspect_ratio,
        batch_num_images=[1] * len(images) if cut_up else [len(images)],
    )
    return map(Features, found.pooler_output)


def _video(model: Any, video: VisionInput, normalise: Normalisations) -> Tensor:
    output = model.model.get_video_features(
        normalised([(video, video.patches)], normalise, model.device)[None].to(model.dtype),
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    )
    frames: Tensor = output.pooler_output.flatten(0, 1)
    if len(frames) > video.grid[0] * video.grid[1] * video.grid[2]:
        return frames
    return torch.cat([frames, model.model.image_newline[None]])  # transformers before 5.20 adds it elsewhere


FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="LlavaOnevisionForConditionalGeneration",
    placeholders=LlavaPreprocessor.placeholders,
    # As LLaVA's training data words it; answers are fractions of the image, [x1, y1, x2, y2].
    locate="Please provide the bounding box coordinate of the region this sentence describes: {}",
    preprocessor=LlavaPreprocessor.from_processor,
    encode=encode,
    layout=LAYOUT,
    vision_tower="model.vision_tower",
    connector=("model.multi_modal_projector", "model.image_newline"),
    whole_block=lambda vision: 0 if len(vision.blocks) > 1 else None,  # one of several images is padded
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
