"""What generation is compared with: transformers' own calls of a batch that is padded on the left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tiny_qwen import PAD
from torch import Tensor

from evalkit.core.types import Generation, Prepared, VisionInput
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.decoder import HfDecoder
from evalkit.inference.normalisation import Normalisation, Normalisations
from evalkit.inference.sequence import segments_of
from evalkit.inference.stopping import GenerationTokens
from evalkit.inference.vision_encoder import VisionEncoder
from evalkit.inference.vision_features import Encode
from evalkit.models.families.registry import adapter_of as adapter_of
from evalkit.rope.batch import BatchPositions
from evalkit.rope.hf.install import Installed

MediaInputs = Callable[..., dict[str, Any]]

HALF = Normalisation((0.5,) * 3, (0.5,) * 3)
NORMALISE: Normalisations = {"image": HALF, "video": HALF}
"""Every tiny model's, whose folders don't say otherwise."""


def decoder(
    model: Any, installed: Installed, generation_tokens: GenerationTokens, encode: Encode, **options: Any
) -> HfDecoder:
    return HfDecoder(
        model=model,
        installed=installed,
        vision_encoder=VisionEncoder(model, encode, NORMALISE, ()),
        generation_tokens=generation_tokens,
        text=str,
        **options,
    )


def generate(
    model: Any,
    installed: Installed,
    batch: Sequence[Prepared],
    generation_tokens: GenerationTokens,
    encode: Encode,
) -> list[Generation]:
    """Answers of prompts that go through the decoder together, each a unit of its own."""
    prefix_groups = [PrefixGroup((item,), item.prefix) for item in batch]
    found = {
        id(item): each
        for item, each in generate_all(decoder(model, installed, generation_tokens, encode), prefix_groups)
    }
    return [found[id(item)] for item in batch]


def prefill(
    model: Any,
    installed: Installed,
    batch: Sequence[Prepared],
    generation_tokens: GenerationTokens,
    media_inputs: MediaInputs,
) -> tuple[BatchPositions, dict[str, Any]]:
    """Positions of a left-padded batch, and the model's keyword arguments for its prompts."""
    width = max(item.length for item in batch)
    ids = torch.full((len(batch), width), PAD, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    placement = installed.position_batch([segments_of(item) for item in batch], width)
    for index, item in enumerate(batch):
        ids[index, width - item.length :] = torch.from_numpy(item.input_ids)
        mask[index, width - item.length :] = 1
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": placement.prompt}
    if any(item.vision for item in batch):
        inputs |= media_inputs(model, batch, inputs)
    return placement, inputs


def qwen_inputs(model: Any, batch: Sequence[Prepared], inputs: Any) -> dict[str, Any]:
    """Patches and grids of all images and all videos of a batch, in order of appearance."""
    media = [medium for item in batch for medium in item.vision]
    added: dict[str, Any] = {}
    for kind, pixels, grid in (
        ("image", "pixel_values", "image_grid_thw"),
        ("video", "pixel_values_videos", "video_grid_thw"),
    ):
        shown = [medium for medium in media if medium.kind == kind]
        if shown:
            patches = torch.cat([torch.from_numpy(medium.patches) for medium in shown]).float()
            added[pixels] = normalised(patches.view(len(patches), 3, -1)).view(len(patches), -1)
            added[grid] = torch.tensor([medium.grid for medium in shown])
    return added


def internvl_inputs(model: Any, batch: Sequence[Prepared], inputs: Any) -> dict[str, Any]:
    """All tiles and frames of a batch, in order of appearance."""
    return {"pixel_values": torch.cat([tiles(medium) for item in batch for medium in item.vision])}


def llava_inputs(model: Any, batch: Sequence[Prepared], inputs: Any) -> dict[str, Any]:
    """Embeddings of text and media: videos of different lengths fit no single ``pixel_values_videos``."""
    ids = inputs["input_ids"]
    embeddings = model.get_input_embeddings()(ids)
    for row, item in enumerate(batch):
        for kind, token in (("image", model.config.image_token_id), ("video", model.config.video_token_id)):
            shown = [each for each in item.vision if each.kind == kind]
            if shown:
                features = _llava_features(model, kind, shown)
                places = (ids[row] == token)[:, None].expand_as(embeddings[row])
                embeddings[row] = embeddings[row].masked_scatter(places, features.to(embeddings))
    return {"input_ids": None, "inputs_embeds": embeddings}


def _llava_features(model: Any, kind: str, shown: Sequence[VisionInput]) -> Tensor:
    layers = {
        "vision_feature_layer": model.config.vision_feature_layer,
        "vision_feature_select_strategy": model.config.vision_feature_select_strategy,
    }
    if kind == "image":
        most = max(len(each.patches) for each in shown)
        padded = torch.zeros(len(shown), most, *shown[0].patches.shape[1:])
        for number, each in enumerate(shown):
            padded[number, : len(each.patches)] = tiles(each)
        sizes = torch.tensor([each.grid[1:] for each in shown])
        aspect = model.config.vision_aspect_ratio
        found = model.model.get_image_features(
            padded, sizes, **layers, vision_aspect_ratio=aspect, batch_num_images=[len(shown)]
        )
        return torch.cat(list(found.pooler_output))
    features = []
    for each in shown:
        frames = model.model.get_video_features(tiles(each)[None], **layers).pooler_output.flatten(0, 1)
        features.append(frames)
        if len(frames) == each.grid[0] * each.grid[1] * each.grid[2]:
            features.append(model.model.image_newline[None])
    return torch.cat(features)


def tiles(medium: VisionInput) -> Tensor:
    pixels = torch.from_numpy(medium.patches).float()
    return normalised(pixels.flatten(2)).view(pixels.shape)


def normalised(pixels: Tensor) -> Tensor:
    """``[n, 3, ...]`` bytes as transformers' fast image processor normalises them."""
    mean, std = (torch.tensor(values).view(1, 3, 1) * 255 for values in (HALF.mean, HALF.std))
    return (pixels - mean) / std
