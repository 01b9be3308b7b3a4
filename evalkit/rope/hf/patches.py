"""Methods that replace transformers' own on one instance.

They find what they need on ``self``, so that a deep copy of a model is a model of its own: the
:class:`PositionIdBuilder` as ``_evalkit_position_ids``, and an instance's earlier ``forward`` as
``_evalkit_forward``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from evalkit.rope.hf.position_ids import PositionIdBuilder, cached_length
from evalkit.rope.hf.signature import find_cache


def get_rope_index(self: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Positions ``[R, B, L]`` (0 on padding) and deltas ``[B, 1]`` relative to the *unpadded* length.

    The arguments are those of the model's own method, which families order differently; by name
    ``mm_token_type_ids``, ``image_grid_thw``, ``video_grid_thw``, ``second_per_grid_ts`` and
    ``attention_mask``.
    """
    inputs = self._evalkit_index.bind((input_ids, *args), kwargs)
    ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask", None)
    position_id_builder: PositionIdBuilder = self._evalkit_position_ids
    batch = position_id_builder.for_prompts(ids, mask, inputs)
    return batch.prompt[1:].to(ids.device), position_id_builder.deltas().to(ids.device)


def base_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """``forward`` of the model around the language model: works out positions where none are given."""
    inputs = self._evalkit_signature.bind(args, kwargs)
    position_id_builder: PositionIdBuilder = self._evalkit_position_ids
    cache = find_cache(inputs)
    if inputs.get("position_ids") is None:
        tokens = inputs.get("input_ids")
        tokens = inputs["inputs_embeds"] if tokens is None else tokens
        mask = inputs.get("attention_mask")
        inputs["position_ids"] = position_id_builder.for_forward(tokens, mask, cached_length(cache), inputs)
        self.rope_deltas = (
            None
            if position_id_builder.last_prompts is None
            else position_id_builder.deltas().to(tokens.device)
        )
    output = _forward(self, **inputs)
    if cache is None:
        cache = find_cache(
            output if isinstance(output, Mapping) else {str(n): each for n, each in enumerate(output)}
        )
    position_id_builder.attach_to_cache(inputs["position_ids"], cache)
    return output


def text_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """``forward`` of the language model, which takes position ids ``[1 + R, B, S]``.

    Index 0 counts tokens and goes to the language model itself; the rotary module gets the axes.
    ``[R, B, S]``, ``[1, B, S]`` and ``[B, S]`` (text) are accepted too.
    """
    rotary = self.rotary_emb
    inputs = self._evalkit_signature.bind(args, kwargs)
    position_ids = inputs.pop("position_ids", None)
    if position_ids is None or position_ids.ndim == 2:
        return _forward(self, position_ids=position_ids, **inputs)
    axes = len(rotary.text_step)
    if len(position_ids) not in (1, axes, axes + 1):
        raise ValueError(
            f"position ids are on {len(position_ids)} axes, those of the installed variant on {axes}"
        )
    text = None if len(position_ids) == axes else position_ids[0].long()
    rotary.pending_position_ids = position_ids if len(position_ids) == 1 else position_ids[-axes:]
    try:
        return _forward(self, position_ids=text, **inputs)
    finally:
        rotary.pending_position_ids = None


def attention_forward(self: Any, *args: Any, position_embeddings: Any, **kwargs: Any) -> Any:
    """``forward`` of an attention layer of one of two layer groups; cos and sin ``[2, ...]``."""
    cos, sin = position_embeddings
    group = self._evalkit_layer_group
    return _forward(self, *args, position_embeddings=(cos[group], sin[group]), **kwargs)


def prepare_position_ids(self: Any, inputs_tensor: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
    """``_prepare_position_ids_for_generation``: ``[1 + R, B, L]``, ``L`` all tokens so far."""
    position_id_builder: PositionIdBuilder = self.model._evalkit_position_ids
    return position_id_builder.for_generate(inputs_tensor, model_kwargs)


def expand_inputs(
    self: Any, expand_size: int = 1, *args: Any, **kwargs: Any
) -> tuple[Tensor | None, dict[str, Any]]:
    """``_expand_inputs_for_generation``: the batch is dimension 1 of position ids, whatever the family."""
    positions = kwargs.pop("position_ids", None)
    # A static method in transformers 5.17, an ordinary one later.
    own = inspect.getattr_static(type(self), "_expand_inputs_for_generation").__get__(self)
    ids, expanded = own(expand_size, *args, **kwargs)
    if positions is not None:
        batch_dim = 1 if positions.ndim == 3 else 0
        expanded["position_ids"] = positions.repeat_interleave(expand_size, dim=batch_dim)
    return ids, expanded


def update_model_kwargs(
    self: Any, outputs: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
) -> dict[str, Any]:
    """``_update_model_kwargs_for_generation``: transformers goes on by one on every axis from the prompt's
    last token; a design may say otherwise.
    """
    before = model_kwargs.get("position_ids")
    updated: dict[str, Any] = type(self)._update_model_kwargs_for_generation(
        self, outputs, model_kwargs, *args, **kwargs
    )
    position_id_builder: PositionIdBuilder = self.model._evalkit_position_ids
    if before is not None and before.ndim == 3 and len(before) == 1 + len(position_id_builder.text_steps()):
        count = updated["position_ids"].shape[-1] - before.shape[-1]
        updated["position_ids"] = torch.cat([before, position_id_builder.extend(before, count)], dim=-1)
    return updated


def _forward(module: Any, *args: Any, **kwargs: Any) -> Any:
    """The forward that evalkit's replaces.

    Called through the class, not as a bound method: torch.compile would look that up on the instance
    after a graph break, and find the replacement.
    """
    earlier = module._evalkit_forward
    return type(module).forward(module, *args, **kwargs) if earlier is None else earlier(*args, **kwargs)
