"""PaddleOCR-VL: a tower that sees every image at its own size, and a projector that merges patches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evalkit.core.types import VisionInput
from evalkit.inference.async_copies import to_device
from evalkit.inference.attention import vision_attention
from evalkit.inference.memory import max_patches_per_call
from evalkit.inference.normalisation import Normalisations, normalised
from evalkit.inference.vision_features import Features
from evalkit.models import hf_model
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.paddleocr_vl import FAMILY
from evalkit.models.families.paddleocr_vl.preprocess import PaddleOCRPreprocessor
from evalkit.models.tiles import media_batches
from evalkit.rope.hf.layouts.grid_inputs import GRIDS


def encode(model: Any, media: Sequence[VisionInput], normalise: Normalisations) -> list[Features]:
    """See :class:`evalkit.inference.vision_features.Encode`."""
    tower, projector = model.model.visual, model.model.projector
    side = model.config.vision_config.patch_size
    found: list[Features] = []
    for batch in media_batches(media, max_patches_per_call(model.device)):
        grids = torch.tensor([each.grid for each in batch])
        pixels = normalised([(each, each.patches) for each in batch], normalise, model.device)
        given = {"grid_thw": to_device(grids, model.device)} | _derived(tower, grids, model.device)
        with vision_attention(tower) as attention_kwargs:
            patches = pixels.view(1, len(pixels), 3, side, side).to(tower.dtype)
            output = tower(patches, **given, **attention_kwargs).last_hidden_state
        tokens = projector(output, grids)
        sizes = (grids.prod(dim=1) // model.config.vision_config.spatial_merge_size**2).tolist()
        found += [Features(each) for each in tokens.split(sizes)]
    return found


def _derived(tower: Any, grids: Tensor, device: torch.device) -> dict[str, Any]:
    """What the tower derives from grids, on the CPU: it would wait for the GPU for each."""
    from transformers import vision_utils

    embeddings, cu_seqlens = tower.vision_model.embeddings, vision_utils.get_vision_cu_seqlens(grids)
    indices, weights = vision_utils.get_vision_interpolation_indices_and_weights(
        grids,
        num_grid_per_side=embeddings.num_grid_per_side,
        mode=embeddings.interpolation_mode,
        align_corners=embeddings.interpolation_align_corners,
        spatial_merge_size=1,
    )
    derived = {
        "position_ids": vision_utils.get_vision_position_ids(grids, 1),
        "cu_seqlens": cu_seqlens,
        "interp_indices": indices,
        "interp_weights": weights,
    }
    moved = {name: to_device(each, device) for name, each in derived.items()}
    return moved | {"max_seqlen": int(cu_seqlens.diff().max())}


FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="PaddleOCRVLForConditionalGeneration",
    placeholders=PaddleOCRPreprocessor.placeholders,
    # It is not trained to find what is referred to: grounding tasks show what it makes of the request.
    locate="Locate {} in this image and output the bbox coordinates.",
    preprocessor=PaddleOCRPreprocessor.from_processor,
    encode=encode,
    layout=GRIDS,
    vision_tower="model.visual",
    connector=("model.projector",),
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
