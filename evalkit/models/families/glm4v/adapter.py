"""GLM-4.1V: Qwen's patches, frames written as images, neighbouring channels rotated together."""

from __future__ import annotations

from functools import partial

from evalkit.models import hf_model
from evalkit.models.families._glm.preprocess import GlmPreprocessor
from evalkit.models.families._qwen.vision import compile_tower, encode
from evalkit.models.families.adapter import FamilyAdapter
from evalkit.models.families.glm4v import FAMILY
from evalkit.rope.hf.layouts.grid_inputs import GRIDS_BY_FRAME_ADJACENT

FAMILY_ADAPTER = FamilyAdapter(
    family=FAMILY,
    model_class="Glm4vForConditionalGeneration",
    placeholders=GlmPreprocessor.placeholders,
    # The wording of GLM-V's own page (https://github.com/zai-org/GLM-V, "Grounding").
    locate="Please pinpoint the bounding box [[x1,y1,x2,y2], …] in the image "
    "as per the given description. {}",
    preprocessor=GlmPreprocessor.from_processor,
    encode=partial(encode, frames_apart=True),
    layout=GRIDS_BY_FRAME_ADJACENT,
    vision_tower="model.visual",
    connector=("model.visual.merger",),
    compile_tower=compile_tower,
    mixes_kinds=False,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
