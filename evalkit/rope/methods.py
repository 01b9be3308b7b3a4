"""Methods that stand in for transformers' own on one instance.

They find what they need on ``self``, so that a deep copy of a model is a model of its own: the
positioner as ``_evalkit_positioner``, and an instance's earlier ``forward`` as ``_evalkit_forward``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from evalkit.rope.calls import Positioner, cached
from evalkit.rope.signature import cache_in


def get_rope_index(self: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    """Positions ``[R, B, L]`` (0 on padding) and deltas ``[B, 1]`` relative to the *unpadded* length.

    Arguments as the model's own method takes them, which families order differently; by name
    ``mm_token_type_ids``, ``image_grid_thw``, ``video_grid_thw``, ``second_per_grid_ts`` and
    ``attention_mask``.
    """
    inputs = self._evalkit_index.by_name((input_ids, *args), kwargs)
    ids, mask = inputs.pop("input_ids"), inputs.pop("attention_mask", None)
    positioner: Positioner = self._evalkit_positioner
    placement = positioner.of_call(ids, mask, inputs)
    return placement.prompt[1:].to(ids.device), positioner.deltas().to(ids.device)


def base_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """``forward`` of the model around the language model, with positions where none are given."""
    inputs = self._evalkit_signature.by_name(args, kwargs)
    positioner: Positioner = self._evalkit_positioner
    cache = cache_in(inputs)
    if inputs.get("position_ids") is None:
        tokens = inputs.get("input_ids")
        tokens = inputs["inputs_embeds"] if tokens is None else tokens
        mask = inputs.get("attention_mask")
        inputs["position_ids"] = positioner.of_forward(tokens, mask, cached(cache), inputs)
        self.rope_deltas = None if positioner.last is None else positioner.deltas().to(tokens.device)
    output = _forward(self, **inputs)
    if cache is None:
        cache = cache_in(
            output if isinstance(output, Mapping) else {str(n): each for n, each in enumerate(output)}
        )
    positioner.remember(inputs["position_ids"], cache)
    return output


def text_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
    """``forward`` of the language model, which takes position ids ``[1 + R, B, S]``.

    Row 0 counts tokens and is what the language model itself gets; the rotary module gets the axes.
    ``[R, B, S]``, ``[1, B, S]`` and ``[B, S]`` (text) are taken too.
    """
    rotary = self.rotary_emb
    inputs = self._evalkit_signature.by_name(args, kwargs)
    position_ids = inputs.pop("position_ids", None)
    if position_ids is None or position_ids.ndim == 2:
        return _forward(self, position_ids=position_ids, **inputs)
    axes = len(rotary.text_step)
    if len(position_ids) not in (1, axes, axes + 1):
        raise ValueError(f"position ids have {len(position_ids)} rows; the installed variant has {axes} axes")
    text = None if len(position_ids) == axes else position_ids[0].long()
    rotary.assigned = position_ids if len(position_ids) == 1 else position_ids[-axes:]
    try:
        return _forward(self, position_ids=text, **inputs)
    finally:
        rotary.assigned = None


def attention_forward(self: Any, *args: Any, position_embeddings: Any, **kwargs: Any) -> Any:
    """``forward`` of an attention layer that uses one of two tracks, cos and sin ``[2, ...]``."""
    cos, sin = position_embeddings
    track = self._evalkit_track
    return _forward(self, *args, position_embeddings=(cos[track], sin[track]), **kwargs)


def prepare_position_ids(self: Any, inputs_tensor: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
    """``_prepare_position_ids_for_generation``: ``[1 + R, B, L]``, ``L`` all tokens so far."""
    positioner: Positioner = self.model._evalkit_positioner
    return positioner.before_generation(inputs_tensor, model_kwargs)


def expand_inputs(
    self: Any, expand_size: int = 1, *args: Any, **kwargs: Any
) -> tuple[Tensor | None, dict[str, Any]]:
    """``_expand_inputs_for_generation``: the rows of position ids are axis 1, whatever the family."""
    positions = kwargs.pop("position_ids", None)
    # A static method in transformers 5.17, an ordinary one later.
    own = inspect.getattr_static(type(self), "_expand_inputs_for_generation").__get__(self)
    ids, expanded = own(expand_size, *args, **kwargs)
    if positions is not None:
        rows = 1 if positions.ndim == 3 else 0
        expanded["position_ids"] = positions.repeat_interleave(expand_size, dim=rows)
    return ids, expanded


def update_model_kwargs(
    self: Any, outputs: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
) -> dict[str, Any]:
    """``_update_model_kwargs_for_generation``, which counts on by one on every axis from the prompt's last
    token: a design may say otherwise.
    """
    before = model_kwargs.get("position_ids")
    updated: dict[str, Any] = type(self)._update_model_kwargs_for_generation(
        self, outputs, model_kwargs, *args, **kwargs
    )
    positioner: Positioner = self.model._evalkit_positioner
    if before is not None and before.ndim == 3 and len(before) == 1 + len(positioner.steps()):
        count = updated["position_ids"].shape[-1] - before.shape[-1]
        updated["position_ids"] = torch.cat([before, positioner.going_on(before, count)], dim=-1)
    return updated


def _forward(module: Any, *args: Any, **kwargs: Any) -> Any:
    """The forward that evalkit's stands in for.

    Called through the class, not as a bound method: torch.compile would look that up on the instance
    after a graph break, and find the stand-in.
    """
    earlier = module._evalkit_forward
    return type(module).forward(module, *args, **kwargs) if earlier is None else earlier(*args, **kwargs)
