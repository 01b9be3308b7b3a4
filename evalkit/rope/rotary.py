"""Positions to cos and sin, for any axis map."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VariantRotary(nn.Module):
    """Takes the place of a transformers rotary module; the spectrum is the model's own, frozen.

    Args:
        inv_freq: the model's spectrum ``[P]``, float32.
        attention_scaling: factor on cos and sin (YaRN); 1 otherwise.
        axis_map: ``[P]`` or, per key-value head, ``[KV, P]``; 0 time, 1 height, 2 width, -1 none.
    """

    inv_freq: Tensor
    axes: Tensor

    def __init__(self, inv_freq: Tensor, attention_scaling: float, axis_map: Tensor) -> None:
        super().__init__()
        axis_map = axis_map.to(inv_freq.device)
        spectrum = torch.where(axis_map < 0, 0.0, inv_freq.detach().expand(axis_map.shape))
        self.register_buffer("inv_freq", spectrum, persistent=False)
        self.register_buffer("axes", axis_map.clamp(min=0), persistent=False)
        self.attention_scaling = attention_scaling

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cos and sin in the dtype of ``x``: ``[B, S, 2P]``, or ``[B, KV, S, 2P]`` per head.

        Args:
            x: anything on the right device and in the right dtype.
            position_ids: ``[3, B, S]``; ``[1, B, S]`` and ``[B, S]`` mean equal axes.
        """
        if self.inv_freq.dtype != torch.float32:
            raise ValueError(
                f"the rotary spectrum was cast to {self.inv_freq.dtype}, which rounds positions; "
                "load the model with `dtype=` instead of casting it"
            )
        if position_ids.ndim == 2:
            position_ids = position_ids[None]
        positions = position_ids.to(self.inv_freq.device).expand(3, -1, -1).float()[self.axes]
        # [P, B, S] -> [B, S, P], or [KV, P, B, S] -> [B, KV, S, P]; elementwise, since a matmul may
        # run in TF32, which is exact only up to position 2048.
        if positions.ndim == 3:
            angles = positions.permute(1, 2, 0) * self.inv_freq
        else:
            angles = positions.permute(2, 0, 3, 1) * self.inv_freq[:, None, :]
        both = torch.cat((angles, angles), dim=-1)
        cos, sin = both.cos() * self.attention_scaling, both.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)


def rotate_half(x: Tensor) -> Tensor:
    """Turn each pair (channels ``i`` and ``i + P``) by a quarter."""
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def apply_per_head(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """Rotate ``q [B, H, S, D]`` and ``k [B, KV, S, D]`` by cos and sin ``[B, KV, S, D]``.

    Stands in for transformers' ``apply_rotary_pos_emb``; query head ``i`` turns with its key-value
    head ``i // (H // KV)``.
    """
    groups = q.shape[1] // cos.shape[1]
    cos_q, sin_q = cos.repeat_interleave(groups, dim=1), sin.repeat_interleave(groups, dim=1)
    return q * cos_q + rotate_half(q) * sin_q, k * cos + rotate_half(k) * sin
