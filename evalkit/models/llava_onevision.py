"""LLaVA-OneVision in its ``-hf`` form: anyres images, pooled video frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evalkit.models import hf, tiles
from evalkit.models.families import FAMILIES
from evalkit.models.generation import DecodingRules
from evalkit.models.llava_preprocess import LlavaPreprocessor
from evalkit.types import Prepared, VisionInput


def media_inputs(
    model: Any, batch: Sequence[Prepared], inputs: dict[str, Tensor], rules: DecodingRules
) -> dict[str, Any]:
    """Embeddings of text and media: videos of different lengths fit no single ``pixel_values_videos``."""
    ids = inputs["input_ids"]
    embeddings: Tensor = model.get_input_embeddings()(ids)
    for kind, token in (("image", model.config.image_token_id), ("video", model.config.video_token_id)):
        shown = [[each for each in item.vision if each.kind == kind] for item in batch]
        if any(shown):
            encode = _images if kind == "image" else _videos
            features = encode(model, [row for row in shown if row], rules)
            places = (ids == token)[..., None].expand_as(embeddings)
            embeddings = embeddings.masked_scatter(places, features.to(embeddings))
    return {"input_ids": None, "inputs_embeds": embeddings}


def _images(model: Any, shown: Sequence[Sequence[VisionInput]], rules: DecodingRules) -> Tensor:
    media = [each for row in shown for each in row]
    most = max(len(each.patches) for each in media)
    padded = torch.zeros(len(media), most, *media[0].patches.shape[1:], device=model.device)
    for number, each in enumerate(media):
        padded[number, : len(each.patches)] = tiles.pixels([each.patches], rules, model.device)
    found = model.model.get_image_features(
        padded,
        torch.tensor([each.grid[1:] for each in media]),
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        vision_aspect_ratio=model.config.vision_aspect_ratio,
        batch_num_images=[len(row) for row in shown],
    )
    return torch.cat(list(found.pooler_output))


def _videos(model: Any, shown: Sequence[Sequence[VisionInput]], rules: DecodingRules) -> Tensor:
    found = []
    for each in (each for row in shown for each in row):
        output = model.model.get_video_features(
            tiles.pixels([each.patches], rules, model.device)[None],
            vision_feature_layer=model.config.vision_feature_layer,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        )
        frames = output.pooler_output.flatten(0, 1)
        found.append(frames)
        if len(frames) == each.grid[0] * each.grid[1] * each.grid[2]:
            found.append(model.model.image_newline[None])  # transformers before 5.20 adds it elsewhere
    return torch.cat(found)


ADAPTER = hf.Adapter(
    FAMILIES["llava_onevision"],
    "LlavaOnevisionForConditionalGeneration",
    LlavaPreprocessor.placeholders,
    # As LLaVA's training data words it; answers are fractions of the image, [x1, y1, x2, y2].
    "Please provide the bounding box coordinate of the region this sentence describes: {}",
    LlavaPreprocessor.from_folder,
    media_inputs,
)
load = partial(hf.load, ADAPTER)
