"""GLM-4.6V-Flash: GLM-4.1V but for the times of frames."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from evalkit.models import hf_model
from evalkit.models.families._glm.preprocess import Glm46VPreprocessor
from evalkit.models.families.glm4v.adapter import FAMILY_ADAPTER as GLM4V
from evalkit.models.families.glm46v import FAMILY

FAMILY_ADAPTER = replace(
    GLM4V,
    family=FAMILY,
    model_class="Glm46VForConditionalGeneration",
    preprocessor=Glm46VPreprocessor.from_processor,
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
