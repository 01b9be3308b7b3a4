"""Put a variant into one transformers model, and take it out again; nothing global is touched.

What changes on the instance: ``model.model.get_rope_index`` (positions, so that ``generate`` works),
``language_model.rotary_emb`` (cos and sin), each attention layer's ``forward`` where heads differ
(MHRoPE), and ``config.rope_variant`` (so that ``save_pretrained`` keeps the variant's name).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from evalkit.rope.layout import IMAGE, VIDEO, Grid, Segment, read_row
from evalkit.rope.positions import position_ids
from evalkit.rope.rotary import VariantRotary, apply_per_head
from evalkit.rope.variants import RopeVariant

_HANDLE = "_evalkit_rope"


class _Missing:
    """Stands for an attribute that an instance did not have."""


class CannotInstall(ValueError):
    """The model is not one that a variant can be put into, or the variant broke its promise."""


@dataclass(frozen=True)
class Installed:
    """A variant inside a model: ``variant`` as it was asked for, ``bound`` with the model's values."""

    variant: RopeVariant
    bound: RopeVariant
    _before: list[tuple[Any, str, Any]] = field(default_factory=list, repr=False, compare=False)

    def position_ids(self, segments: Sequence[Segment]) -> tuple[npt.NDArray[Any], float]:
        """Positions ``[3, L]`` of one unpadded row and ``p_next``, as this model computes them."""
        return position_ids(self.bound, segments)


def install(model: nn.Module, variant: RopeVariant) -> Installed:
    """Put ``variant`` into a Qwen2.5-VL model (``...ForConditionalGeneration``).

    A variant that is installed already is taken out first. Load the model with ``dtype=``; casting
    it afterwards would round the rotary spectrum.

    Raises:
        CannotInstall: not such a model, a cast spectrum, or the variant's promise does not hold.
        BadParameter: the allocation can't be laid out on the model's heads.
    """
    uninstall(model)
    base, text_model = _parts(model)
    own = text_model.rotary_emb
    text_config = text_model.config
    section = (text_config.rope_parameters or {}).get("mrope_section")
    axes = variant.frequency.axis_map(
        len(own.inv_freq), text_config.num_key_value_heads, tuple(section) if section else None
    )
    rotary = VariantRotary(own.inv_freq, own.attention_scaling, torch.from_numpy(axes))
    _check_promise(variant, own, rotary)

    vision = base.config.vision_config
    bound = variant.with_defaults(tokens_per_second=float(vision.tokens_per_second))
    installed = Installed(variant, bound)
    index = MethodType(_rope_index(bound, vision.spatial_merge_size), base)
    changes = [
        (text_model, "rotary_emb", rotary),
        (base, "get_rope_index", index),
        (model.config, "rope_variant", str(variant)),
    ]
    if axes.ndim == 2:
        changes += [(layer.self_attn, "forward", _per_head(layer.self_attn)) for layer in text_model.layers]
    for owner, name, value in changes:
        before = own if value is rotary else owner.__dict__.get(name, _Missing)
        installed._before.append((owner, name, before))
        setattr(owner, name, value)
    setattr(model, _HANDLE, installed)
    base.rope_deltas = None
    return installed


def uninstall(model: nn.Module) -> None:
    """Take the variant out: the model is again what it was, bit for bit. Without one, do nothing."""
    installed = installed_in(model)
    if installed is None:
        return
    for owner, name, before in installed._before:
        if before is _Missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
    delattr(model, _HANDLE)
    _parts(model)[0].rope_deltas = None


def installed_in(model: nn.Module) -> Installed | None:
    """The variant that is installed in the model, if any."""
    found: Installed | None = getattr(model, _HANDLE, None)
    return found


def _parts(model: Any) -> tuple[Any, Any]:
    base: Any = getattr(model, "model", None)
    text_model: Any = getattr(base, "language_model", None)
    if not (hasattr(base, "get_rope_index") and hasattr(text_model, "rotary_emb")):
        raise CannotInstall(
            f"`{type(model).__name__}` has no multimodal rotary embedding that could be replaced"
        )
    if text_model.rotary_emb.inv_freq.dtype != torch.float32:
        raise CannotInstall(
            f"the rotary spectrum is {text_model.rotary_emb.inv_freq.dtype}, cast after loading the model; "
            "load with `dtype=` instead"
        )
    return base, text_model


def _check_promise(variant: RopeVariant, own: nn.Module, rotary: VariantRotary) -> None:
    """Text positions through both rotary modules: equal to the last bit, or the promise is broken."""
    if not variant.keeps_text_prior:
        return
    device = rotary.inv_freq.device
    text = torch.tensor([*range(4096), 8191, 32767], device=device).expand(3, 1, -1)
    probe = torch.zeros(1, device=device)
    for mine, theirs in zip(rotary(probe, text), own(probe, text), strict=True):
        if not torch.equal(mine, (theirs if mine.ndim == 3 else theirs[:, None]).expand_as(mine)):
            raise CannotInstall(
                f"`{variant}` does not rotate text as the model does, although it promises to"
            )


def _per_head(attention: nn.Module) -> MethodType:
    """The layer's own forward, with cos and sin applied per key-value head.

    A copy of the function whose globals name another ``apply_rotary_pos_emb``: the module that
    defines it, and every other instance, stay as they are.
    """
    forward = type(attention).forward
    if "apply_rotary_pos_emb" not in forward.__code__.co_names:
        raise CannotInstall(
            f"`{type(attention).__name__}` does not call `apply_rotary_pos_emb` in this transformers version"
        )
    scope = {**forward.__globals__, "apply_rotary_pos_emb": apply_per_head}
    copy = FunctionType(forward.__code__, scope, forward.__name__, forward.__defaults__, forward.__closure__)
    copy.__kwdefaults__ = forward.__kwdefaults__
    return MethodType(copy, attention)


def _rope_index(variant: RopeVariant, merge: int) -> Callable[..., tuple[Tensor, Tensor]]:
    """``get_rope_index`` of a transformers model, with this variant's positions."""

    def get_rope_index(
        self: Any,
        input_ids: Tensor,
        mm_token_type_ids: Tensor,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        second_per_grid_ts: Tensor | Sequence[float] | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """Positions ``[3, B, L]`` (0 on padding) and deltas ``[B, 1]`` relative to the unpadded length."""
        media = {IMAGE: _media(image_grid_thw, None), VIDEO: _media(video_grid_thw, second_per_grid_ts)}
        kept = (
            np.ones(input_ids.shape, dtype=bool)
            if attention_mask is None
            else attention_mask.bool().cpu().numpy()
        )
        types = mm_token_type_ids.cpu().numpy()
        rows = [
            position_ids(variant, read_row(types[i, kept[i]].tolist(), media, merge))
            for i in range(len(types))
        ]
        whole = all(row.dtype == np.int64 for row, _ in rows)
        positions = np.zeros((3, *kept.shape), dtype=np.int64 if whole else np.float32)
        for i, (row, _) in enumerate(rows):
            positions[:, i, kept[i]] = row
        deltas = np.array([[following] for _, following in rows]) - kept.sum(axis=1, keepdims=True)
        placed, gaps = torch.from_numpy(positions), torch.from_numpy(deltas.astype(positions.dtype))
        return placed.to(input_ids.device), gaps.to(input_ids.device)

    return get_rope_index


def _media(
    grids: Tensor | None, seconds: Tensor | Sequence[float] | None
) -> Iterator[tuple[Grid, float | None]]:
    listed = [] if grids is None else grids.tolist()
    spacing = [None] * len(listed) if seconds is None else [float(each) for each in seconds]
    return iter([((t, h, w), each) for (t, h, w), each in zip(listed, spacing, strict=True)])
