"""Qwen3-VL with experts: all but the language model is Qwen3-VL's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from evalkit.models import hf_model
from evalkit.models.families.qwen3_vl.adapter import FAMILY_ADAPTER as QWEN3_VL
from evalkit.models.families.qwen3_vl_moe import FAMILY

FAMILY_ADAPTER = replace(QWEN3_VL, family=FAMILY, model_class="Qwen3VLMoeForConditionalGeneration")
describe = partial(hf_model.describe, FAMILY_ADAPTER)
