"""Which channels are rotated together, and which not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from transformers.models.glm4v import modeling_glm4v
from transformers.models.qwen3_5 import modeling_qwen3_5

from evalkit.models.families.glm4v.tiny import TINY as GLM
from evalkit.models.families.qwen3_5.tiny import TINY as QWEN
from evalkit.rope.hf.install import CannotInstall, install
from evalkit.rope.hf.layouts import TOKEN_LAYOUTS, TokenLayouts
from evalkit.rope.parameters import BadParameter
from evalkit.rope.rotary import APPLY_PER_HEAD, VariantRotary
from evalkit.rope.variants import VARIANTS, parse_variant

KINDS: Any = {"half": modeling_qwen3_5, "adjacent": modeling_glm4v}


@pytest.mark.parametrize("pairs", KINDS)
@pytest.mark.parametrize("size", [32, 48])
def test_heads_that_are_rotated_alike_are_rotated_as_transformers_does(pairs: Any, size: int) -> None:
    """Bit for bit; the channels from the 32nd on are no one's."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 6, 5, size), torch.randn(2, 3, 5, size)
    rotary = VariantRotary(torch.rand(16), 1.0, torch.zeros(16, dtype=torch.long), pairs=pairs)
    cos, sin = rotary(torch.zeros(1), torch.arange(10).view(2, 5))
    theirs = KINDS[pairs].apply_rotary_pos_emb(query, key, cos, sin)
    per_head = [each[:, None].expand(-1, 3, -1, -1) for each in (cos, sin)]
    ours = APPLY_PER_HEAD[pairs](query, key, *per_head)
    for mine, other, given in zip(ours, theirs, (query, key), strict=True):
        assert torch.equal(mine, other)
        assert torch.equal(mine[..., 32:], given[..., 32:])
        assert not torch.equal(mine[:, :, 1:, :32], given[:, :, 1:, :32])


@pytest.mark.parametrize("variant", ["mhrope", "il-rope", "videorope", "circlerope(age=odd)"])
def test_channels_that_the_model_does_not_rotate_stay_as_they_are(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Qwen3.5, three quarters of each query and key."""
    from transformers import AttentionInterface

    model = QWEN.model("Qwen3_5ForConditionalGeneration")
    seen: list[torch.Tensor] = []

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **_: Any) -> tuple[Any, None]:
        seen.append(torch.cat([query, key], dim=1))
        return torch.zeros_like(query).transpose(1, 2), None

    AttentionInterface.register("evalkit_test_seen", attend)
    monkeypatch.setattr(
        model.model.language_model.config, "_attn_implementation_internal", "evalkit_test_seen"
    )
    ids = torch.arange(3, 40).view(1, -1)
    with torch.inference_mode():
        model(input_ids=ids)
        untouched = list(seen)
        install(model, parse_variant(variant))
        seen.clear()
        model(input_ids=ids)
    assert len(seen) == len(untouched) == 2
    for mine, other in zip(seen, untouched, strict=True):
        assert torch.equal(mine[..., 32:], other[..., 32:])


@pytest.mark.parametrize(
    ("config", "heads", "section"),
    [
        (transformers.Qwen3_5Config, 4, [11, 11, 10]),
        (transformers.Qwen3_5MoeConfig, 2, [11, 11, 10]),
        (transformers.Glm4vConfig, 2, [8, 12, 12]),
    ],
)
def test_every_variant_fits_the_sizes_of_released_models(config: Any, heads: int, section: list[int]) -> None:
    """Sizes of transformers' default configurations; GLM's section is of the half that is rotated."""
    text = config().text_config
    size = text.head_dim if hasattr(text, "head_dim") else text.hidden_size // text.num_attention_heads
    rotated = 32 if config is transformers.Glm4vConfig else size // 8
    assert (text.num_key_value_heads, sum(section)) == (heads, rotated)
    for name, variant in VARIANTS.items():
        if name == "mhrope" and heads < 3:
            with pytest.raises(BadParameter, match="need one each"):
                variant.axis_map(rotated, heads, tuple(section))
        else:
            assert variant.axis_map(rotated, heads, tuple(section)).shape[-1] == rotated


def test_a_layout_with_the_wrong_pairs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GLM.model("Glm4vForConditionalGeneration")
    half = replace(TOKEN_LAYOUTS["glm4v"], pairs="half")
    monkeypatch.setattr(TokenLayouts, "__getitem__", lambda self, name: half)
    with pytest.raises(CannotInstall, match="does not rotate text as the model does"):
        install(model, parse_variant("mrope"))
