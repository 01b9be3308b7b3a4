"""Qwen3.5: inputs and positions are Qwen3-VL's; its tower has no deepstack."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from evalkit.models import hf_model
from evalkit.models.families.qwen3_5 import FAMILY
from evalkit.models.families.qwen3_vl.adapter import FAMILY_ADAPTER as QWEN3_VL

FAMILY_ADAPTER = replace(
    QWEN3_VL,
    family=FAMILY,
    model_class="Qwen3_5ForConditionalGeneration",
    connector=("model.visual.merger",),
)
describe = partial(hf_model.describe, FAMILY_ADAPTER)
