"""Qwen3.5 with experts: all but the language model's MLPs is Qwen3.5's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from evalkit.models import hf_model
from evalkit.models.families.qwen3_5.adapter import FAMILY_ADAPTER as QWEN3_5
from evalkit.models.families.qwen3_5_moe import FAMILY

FAMILY_ADAPTER = replace(QWEN3_5, family=FAMILY, model_class="Qwen3_5MoeForConditionalGeneration")
describe = partial(hf_model.describe, FAMILY_ADAPTER)
