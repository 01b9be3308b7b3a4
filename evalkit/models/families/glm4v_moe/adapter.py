"""GLM-4.5V: all but the language model, and its pairs of channels, is GLM-4.1V's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from evalkit.models import hf_model
from evalkit.models.families.glm4v.adapter import FAMILY_ADAPTER as GLM4V
from evalkit.models.families.glm4v_moe import FAMILY
from evalkit.rope.hf.layouts.grid_inputs import GRIDS_BY_FRAME

FAMILY_ADAPTER = replace(
    GLM4V, family=FAMILY, model_class="Glm4vMoeForConditionalGeneration", layout=GRIDS_BY_FRAME
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
