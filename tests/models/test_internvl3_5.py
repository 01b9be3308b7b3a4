"""InternVL3.5: the family `internvl` around Qwen3's language models, which norm queries and keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers

from evalkit.core.errors import UsageError
from evalkit.models.conformance import test_generation, test_processor
from evalkit.models.conformance.checkpoint import TinyCheckpoint, text_config
from evalkit.models.conformance.tested_family import TestedFamily
from evalkit.models.families.internvl.tiny import TINY
from evalkit.models.hf_model import _check_attention

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
LANGUAGE_MODELS = {"qwen3": text_config("qwen3"), "qwen3_moe": text_config("qwen3_moe", **EXPERTS)}


@dataclass(frozen=True)
class WithQwen3(TestedFamily):
    """Of the language model ``text``; the fields of a frozen class are what its caches go by."""

    text: str = "qwen3"

    @property
    def tiny(self) -> TinyCheckpoint:  # type: ignore[override]
        def config() -> Any:
            settings = TINY.config().to_dict()
            return transformers.InternVLConfig(**settings | {"text_config": LANGUAGE_MODELS[self.text]})

        return replace(TINY, config=config)


@pytest.fixture(scope="module", params=LANGUAGE_MODELS)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WithQwen3:
    found = WithQwen3("internvl", Path(tmp_path_factory.mktemp("tiny")) / request.param, request.param)
    assert found.checkpoint.is_dir()
    return found


@pytest.mark.parametrize("variant", ["vanilla", "mhrope", "circlerope(age=odd)"])
def test_it_passes_the_conformance_suite(family: WithQwen3, variant: str) -> None:
    assert family.model.module.model.language_model.config.model_type == family.text
    assert hasattr(family.model.module.model.language_model.layers[0].self_attn, "q_norm")
    test_generation.test_cache_batch_and_transformers_give_the_same_answers(family, variant)
    test_generation.test_text_is_answered_as_the_variant_promises(family, variant)


def test_its_prompts_and_native_variant_are_transformers_own(family: WithQwen3) -> None:
    test_processor.test_an_image_and_a_video_are_what_transformers_makes_of_them(family)
    test_processor.test_the_native_variant_is_the_untouched_model_bit_for_bit(family)
    test_generation.test_uninstalling_restores_everything(family)


def test_the_one_around_gpt_oss_is_refused() -> None:
    """Half of its layers attend within a window."""
    config = transformers.InternVLConfig(text_config={"model_type": "gpt_oss"})
    with pytest.raises(UsageError, match="sliding window") as caught:
        _check_attention(SimpleNamespace(config=config), "InternVL3_5-GPT-OSS-20B")
    assert "`gpt_oss`" in caught.value.why
