"""The rotation of a variant alone, for an engine that numbers tokens itself and may fuse projections."""

from __future__ import annotations

from types import MethodType
from typing import Any

import pytest
import torch
from tiny_qwen import make_model

from evalkit.rope.hf.install import install, install_rotation, installed_in, uninstall
from evalkit.rope.rotary import apply_per_head
from evalkit.rope.variants import parse_variant

IDS = torch.arange(3, 40)[None]


def hidden(model: Any, position_ids: torch.Tensor) -> torch.Tensor:
    embedded = model.get_input_embeddings()(IDS)
    with torch.inference_mode():
        output = model.model.language_model(
            inputs_embeds=embedded, position_ids=position_ids, use_cache=False
        )
    found: torch.Tensor = output.last_hidden_state
    return found


@pytest.mark.parametrize("variant", ["mrope-i", "mhrope", "hope", "circlerope(age=odd)"])
def test_it_rotates_positions_that_are_given_as_the_whole_variant_does(variant: str) -> None:
    model = make_model()
    forward = model.model.language_model.__dict__.get("forward")
    whole = install(model, parse_variant(variant))
    axes = len(whole.position_id_builder.text_steps())
    position_ids = torch.randint(0, 50, (axes, 1, IDS.shape[1]), generator=torch.Generator().manual_seed(0))
    expected = hidden(model, position_ids)
    uninstall(model)
    before = hidden(model, position_ids[:3])
    installed = install_rotation(model, parse_variant(variant))
    assert installed_in(model) is installed
    assert model.model.language_model.__dict__.get("forward") is forward
    if axes == 3:
        assert torch.equal(hidden(model, position_ids), expected)
    uninstall(model)
    assert torch.equal(hidden(model, position_ids[:3]), before)


def apply_rotary_pos_emb(*_: Any) -> Any:
    raise AssertionError("the layer's heads are rotated alike")


def fused(self: Any, hidden_states: torch.Tensor, position_embeddings: Any = None, **_: Any) -> Any:
    """A forward as an engine writes it that fused the projections; it returns the rotated queries."""
    heads = (1, hidden_states.shape[1], -1, self.head_dim)
    query, key = (part.view(heads).transpose(1, 2) for part in self.qkv(hidden_states))
    query, _ = apply_rotary_pos_emb(query, key, *position_embeddings)
    return query.transpose(1, 2).flatten(2), None


@torch.inference_mode()
def test_heads_are_rotated_in_the_forward_that_an_engine_gave_the_layer() -> None:
    model = make_model()
    text_model = model.model.language_model
    attention = text_model.layers[0].self_attn
    projections = attention.q_proj, attention.k_proj
    attention.qkv = lambda hidden_states: [project(hidden_states) for project in projections]
    attention.forward = MethodType(fused, attention)
    del attention.q_proj
    install_rotation(model, parse_variant("mhrope"))
    states = torch.randn(1, IDS.shape[1], attention.hidden_size)
    cos, sin = text_model.rotary_emb(states, IDS)
    found, _ = attention(states, position_embeddings=(cos, sin))
    heads = [
        part.view(1, IDS.shape[1], -1, attention.head_dim).transpose(1, 2) for part in attention.qkv(states)
    ]
    assert torch.equal(found, apply_per_head(*heads, cos, sin)[0].transpose(1, 2).flatten(2))
    uninstall(model)
    assert attention.forward.__func__ is fused
