"""InternVL3 in its ``-hf`` form: tiles, and a tile for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from evalkit.core.types import VisionInput
from evalkit.inference.normalisation import Normalisations, normalised
from evalkit.inference.vision_features import Features
from evalkit.models import hf_model, tiles
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.internvl import FAMILY
from evalkit.models.families.internvl.layout import LAYOUT
from evalkit.models.families.internvl.preprocess import InternVLPreprocessor


def encode(model: Any, media: Sequence[VisionInput], normalise: Normalisations) -> list[Features]:
    """See :class:`evalkit.inference.vision_features.Encode`."""
    found = []
    for run in tiles.media_batches(media):
        pixels = normalised([(each, each.patches) for each in run], normalise, model.device)
        output = model.model.get_image_features(pixels.to(model.dtype)).pooler_output
        sizes = [len(each.patches) for each in run]
        found += [Features(tokens.flatten(0, 1)) for tokens in output.split(sizes)]
    return found


FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="InternVLForConditionalGeneration",
    placeholders=InternVLPreprocessor.placeholders,
    # As InternVL's evaluation of RefCOCO words it; answers are <box>[[x1, y1, x2, y2]]</box>.
    locate="Please provide the bounding box coordinates of the region this sentence describes: <ref>{}</ref>",
    preprocessor=InternVLPreprocessor.from_processor,
    encode=encode,
    layout=LAYOUT,
    vision_tower="model.vision_tower",
    connector=("model.multi_modal_projector",),
    whole_block=lambda vision: -1,  # the thumbnail, or the only tile
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
