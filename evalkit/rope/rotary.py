"""Cos and sin from positions, for any axis map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from evalkit.rope.pairs import Pairs


class VariantRotary(nn.Module):
    """Replaces a transformers rotary module; the spectrum is fixed.

    Args:
        inv_freq: the spectrum, float32, ``[P]`` or shaped like ``axis_map``.
        attention_scaling: factor on cos and sin (YaRN); 1 otherwise.
        axis_map: ``[P]`` or, per key-value head, ``[KV, P]``: the index of an axis of the design, -1 none.
        text_steps: what a text token adds on each axis, for each layer group; ``R`` numbers in all.
        pairs: the order in which the model takes cos and sin.

    ``pending_position_ids``: positions ``[R, B, S]`` for the current call of the language model; used instead
    of those that the model itself passes.
    """

    inv_freq: Tensor
    axes: Tensor
    text_step: Tensor

    def __init__(
        self,
        inv_freq: Tensor,
        attention_scaling: float,
        axis_map: Tensor,
        text_steps: Sequence[Sequence[float]] = ((1.0, 1.0, 1.0),),
        pairs: Pairs = "half",
    ) -> None:
        super().__init__()
        axis_map = axis_map.to(inv_freq.device)
        spectrum = torch.where(axis_map < 0, 0.0, inv_freq.detach().expand(axis_map.shape))
        self.register_buffer("inv_freq", spectrum, persistent=False)
        self.register_buffer("axes", axis_map.clamp(min=0), persistent=False)
        steps = torch.tensor(text_steps, dtype=torch.float64, device=inv_freq.device).view(-1, 1, 1)
        self.register_buffer("text_step", steps, persistent=False)
        self.num_axes = len(text_steps[0])
        self.attention_scaling = attention_scaling
        self.pairs = pairs
        self.pending_position_ids: Tensor | None = None

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cos and sin in the dtype of ``x``: ``[B, S, 2P]``, or ``[B, KV, S, 2P]`` per head; with two layer
        groups ``[2, B, ...]``.

        Args:
            x: anything on the right device and in the right dtype.
            position_ids: ``[R, B, S]``, after an index or not; ``[1, B, S]``, ``[B, S]`` are those of text.
        """
        if self.inv_freq.dtype != torch.float32:
            raise ValueError(
                f"the rotary spectrum was cast to {self.inv_freq.dtype}, which rounds positions; "
                "load the model with `dtype=` instead of casting it"
            )
        angles = self.angles(position_ids if self.pending_position_ids is None else self.pending_position_ids)
        halves = self.pairs == "half"
        both = torch.cat((angles, angles), dim=-1) if halves else angles.repeat_interleave(2, dim=-1)
        cos, sin = both.cos() * self.attention_scaling, both.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)

    def angles(self, position_ids: Tensor) -> Tensor:
        """Position times frequency, float32: ``[B, S, P]``, or ``[B, KV, S, P]`` per head; with two layer
        groups ``[2, B, ...]``.
        """
        given = self._on_all_axes(position_ids).to(self.inv_freq.device).float()
        begins = range(0, len(given), self.num_axes)
        found = [self._group_angles(given[begin : begin + self.num_axes]) for begin in begins]
        return found[0] if len(found) == 1 else torch.stack(found)

    def _on_all_axes(self, position_ids: Tensor) -> Tensor:
        """``[R, B, S]``, the last of ``[1 + R, B, S]``; positions of text on one axis are spread over all."""
        axes = len(self.text_step)
        if position_ids.ndim == 3 and len(position_ids) in (axes, axes + 1):
            return position_ids[-axes:]
        text = position_ids if position_ids.ndim == 2 else position_ids[0]
        return text.to(self.text_step.device) * self.text_step

    def _group_angles(self, positions: Tensor) -> Tensor:
        """Angles of one layer group, from its positions ``[axes, B, S]``.

        Elementwise, since a matmul may run in TF32, which is exact only up to position 2048.
        """
        chosen = positions[self.axes]
        if chosen.ndim == 3:
            return chosen.permute(1, 2, 0) * self.inv_freq
        return chosen.permute(2, 0, 3, 1) * self.inv_freq[:, None, :]


def rotate_half(x: Tensor) -> Tensor:
    """Rotate each pair (channels ``i`` and ``i + P``) by a quarter turn."""
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def rotate_adjacent(x: Tensor) -> Tensor:
    """Rotate each pair (channels ``2 * i`` and ``2 * i + 1``) by a quarter turn."""
    return torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)


def apply_per_head(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Rotate ``q [B, H, S, D]`` and ``k [B, KV, S, D]`` by cos and sin ``[B, KV, S, 2P]``; channels from
    ``2P`` on stay as they are.

    Replaces transformers' ``apply_rotary_pos_emb``; query head ``i`` is rotated like its key-value head,
    ``i // (H // KV)``.
    """
    groups = q.shape[1] // cos.shape[1]
    cos_q, sin_q = cos.repeat_interleave(groups, dim=1), sin.repeat_interleave(groups, dim=1)
    return _rotated(q, cos_q, sin_q, rotate_half), _rotated(k, cos, sin, rotate_half)


def apply_adjacent_per_head(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """:func:`apply_per_head` for models that rotate neighbouring channels."""
    groups = q.shape[1] // cos.shape[1]
    cos_q, sin_q = cos.repeat_interleave(groups, dim=1), sin.repeat_interleave(groups, dim=1)
    return _rotated(q, cos_q, sin_q, rotate_adjacent), _rotated(k, cos, sin, rotate_adjacent)


APPLY_PER_HEAD: Mapping[Pairs, Callable[..., tuple[Tensor, Tensor]]] = {
    "half": apply_per_head,
    "adjacent": apply_adjacent_per_head,
}


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, turn: Callable[[Tensor], Tensor]) -> Tensor:
    size = cos.shape[-1]
    if size == x.shape[-1]:
        return x * cos + turn(x) * sin
    rotated, rest = x[..., :size], x[..., size:]
    return torch.cat((rotated * cos + turn(rotated) * sin, rest), dim=-1)
