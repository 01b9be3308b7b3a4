"""InternVL3 in its ``-hf`` form: tiles, and a tile for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from evalkit.models import hf, tiles
from evalkit.models.families import FAMILIES
from evalkit.models.generation import DecodingRules
from evalkit.models.internvl_preprocess import InternVLPreprocessor
from evalkit.types import Prepared


def media_inputs(
    model: Any, batch: Sequence[Prepared], inputs: dict[str, Tensor], rules: DecodingRules
) -> dict[str, Tensor]:
    """All tiles and frames of a batch, in order of appearance."""
    shown = [medium.patches for item in batch for medium in item.vision]
    return {"pixel_values": tiles.pixels(shown, rules, model.device)}


ADAPTER = hf.Adapter(
    FAMILIES["internvl"],
    "InternVLForConditionalGeneration",
    InternVLPreprocessor.placeholders,
    # As InternVL's evaluation of RefCOCO words it; answers are <box>[[x1, y1, x2, y2]]</box>.
    "Please provide the bounding box coordinates of the region this sentence describes: <ref>{}</ref>",
    InternVLPreprocessor.from_folder,
    media_inputs,
)
load = partial(hf.load, ADAPTER)
