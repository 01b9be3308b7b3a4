"""The calls of varlen attention and cuDNN on a GPU, with PyTorch's own attention in their place."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from test_optimizations import SOME, alone, new, put, questions, texts
from tiny_families import TINY
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers_reference import NORMALISE, adapter_of

from evalkit.inference import attention, prefill
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.padded_linear import ALIGNMENT, pad_gated_mlps


def loop(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    scaling: float | None,
    causal: bool,
) -> Tensor:
    """:func:`evalkit.inference.attention.varlen_attention`, a sequence at a time."""
    cu_seqlens = (cu_seqlens_q, cu_seqlens_k)
    assert all(each.dtype == torch.int32 for each in cu_seqlens)
    lengths = [[stop - start for start, stop in pairwise(each.tolist())] for each in cu_seqlens]
    assert (max(lengths[0]), max(lengths[1])) == (max_seqlen_q, max_seqlen_k)
    assert (sum(lengths[0]), sum(lengths[1])) == (query.shape[1], key.shape[1])
    groups, found = query.shape[0] // key.shape[0], []
    for own, seen in zip(pairwise(cu_seqlens[0].tolist()), pairwise(cu_seqlens[1].tolist()), strict=True):
        q = query[:, own[0] : own[1]]
        k, v = (each[:, seen[0] : seen[1]].repeat_interleave(groups, dim=0) for each in (key, value))
        mask = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool, device=q.device)
        mask = mask.tril(k.shape[1] - q.shape[1]) if causal else mask
        found.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling))
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("variant", SOME)
@pytest.mark.parametrize("long", [prefill.LONG_PREFIX, 8])
@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl"])
def test_varlen_attention_gives_the_answers_of_single_calls(
    name: str, long: int, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, model, installed = put(name, variant)
    asked = questions(family)
    expected = alone(name, model, installed, [*asked, *family.prompts])
    for module in (attention, prefill):
        monkeypatch.setattr(module, "flash_supports", lambda query: True)
        monkeypatch.setattr(module, "varlen_attention", loop)
    monkeypatch.setattr(prefill, "LONG_PREFIX", long)
    monkeypatch.setattr(prefill, "MAX_GATHERED_KEYS", 60)
    prefix_groups = [PrefixGroup((item,), item.prefix) for item in family.prompts]
    prefix_groups.insert(1, PrefixGroup(tuple(asked), asked[0].prefix))
    assert texts(generate_all(new(name, model, installed), prefix_groups)) == expected


def test_padded_mlps_give_the_same_features() -> None:
    family = TINY["qwen2_5_vl"]
    model = family.model()
    pad_modules = adapter_of("qwen2_5_vl").pad_modules
    assert pad_modules is not None
    media = [each for item in family.prompts for each in item.vision]
    before = family.encode(model, media, NORMALISE)
    widths = [model.model.visual.blocks[0].mlp.gate_proj.out_features]
    for odd in model.model.visual.blocks:
        narrowed(odd.mlp, widths[0] - 3)
    narrow = family.encode(model, media, NORMALISE)
    pad_gated_mlps(pad_modules(model))
    widths.append(model.model.visual.blocks[0].mlp.gate_proj.out_features)
    wide = family.encode(model, media, NORMALISE)
    assert widths[1] % ALIGNMENT == 0
    assert (widths[0] - 3) % ALIGNMENT != 0
    for one, other, first in zip(narrow, wide, before, strict=True):
        torch.testing.assert_close(one.tokens, other.tokens)
        assert not torch.equal(one.tokens, first.tokens)


def narrowed(mlp: Any, width: int) -> None:
    """Leave the last neurons of a gated MLP out."""
    for layer in (mlp.gate_proj, mlp.up_proj):
        layer.weight = torch.nn.Parameter(layer.weight[:width])
        layer.bias = torch.nn.Parameter(layer.bias[:width])
        layer.out_features = width
    mlp.down_proj.weight = torch.nn.Parameter(mlp.down_proj.weight[:, :width])
    mlp.down_proj.in_features = width
