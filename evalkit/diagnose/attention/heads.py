"""What the heads and layers of a model with an installed variant are rotated by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from evalkit.rope.hf.install import Installed

ALL_HEADS = "all"


@dataclass(frozen=True)
class HeadLayout:
    """The axes of a variant inside a model, and which heads and layers follow which.

    Attributes:
        axes: names of the axes that rotate any pair of any head.
        axis_rows: of each of them, its row among a layer group's position ids.
        num_axes: rows of a layer group.
        groups: names of the head groups: the axes that they are rotated by, ``none`` where no pair is
            rotated; one group, ``all``, unless heads differ.
        group_of_kv_head: the group of every key-value head.
        layer_groups: of every layer, which of the sequence's sets of position ids it uses.
        heads: query heads.
    """

    axes: tuple[str, ...]
    axis_rows: tuple[int, ...]
    num_axes: int
    groups: tuple[str, ...]
    group_of_kv_head: tuple[int, ...]
    layer_groups: tuple[int, ...]
    heads: int

    @classmethod
    def of(cls, model: Any, installed: Installed) -> HeadLayout:
        """Read it from a model that a variant is installed in."""
        text_model = model.model.language_model
        rotary, config = text_model.rotary_emb, text_model.config
        names = installed.resolved.position.axes
        by_head = [
            tuple(sorted(set(axes[rotated].tolist())))
            for axes, rotated in zip(_by_kv_head(rotary.axes), _by_kv_head(rotary.inv_freq != 0), strict=True)
        ]
        used = sorted({axis for axes in by_head for axis in axes})
        labels = ["+".join(names[axis] for axis in axes) or "none" for axes in by_head]
        if len(labels) == 1:
            labels = [ALL_HEADS] * config.num_key_value_heads
        groups = tuple(dict.fromkeys(labels))
        return cls(
            axes=tuple(names[axis] for axis in used),
            axis_rows=tuple(used),
            num_axes=rotary.num_axes,
            groups=groups,
            group_of_kv_head=tuple(groups.index(label) for label in labels),
            layer_groups=installed.resolved.position.layer_groups(len(text_model.layers))[1],
            heads=config.num_attention_heads,
        )

    @property
    def group_of_head(self) -> list[int]:
        """The group of every query head."""
        each = self.heads // len(self.group_of_kv_head)
        return [group for group in self.group_of_kv_head for _ in range(each)]


def _by_kv_head(pairs: Tensor) -> Tensor:
    """``[KV, P]``, or ``[1, P]`` where all heads are alike."""
    return pairs.cpu().view(-1, pairs.shape[-1])
