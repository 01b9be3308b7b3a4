"""How transformers' model families lay out visual tokens: from a call's inputs to segments.

One file per layout. A host reads what ``forward`` or ``generate`` is called with and says which
tokens of every row are text and which belong to visual blocks of which grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from evalkit.rope.hosts import internvl, llava_onevision, qwen
from evalkit.rope.layout import Segment

if TYPE_CHECKING:
    from torch import Tensor

Rows = Callable[[Any, "Tensor", "Tensor | None", Mapping[str, Any]], list[list[Segment]]]


@dataclass(frozen=True)
class Host:
    """A family of transformers models.

    ``rows(config, input_ids, attention_mask, inputs)`` gives the segments of every unpadded row,
    ``inputs`` being the other keyword arguments of the call; ``ValueError`` where they don't fit the
    tokens. ``described(inputs)`` says whether they hold the grids of the media in the whole prompt (when
    a conversation goes on, they usually hold none). ``axes``: position axes of the untouched model.
    """

    rows: Rows
    described: Callable[[Mapping[str, Any]], bool]
    axes: int = 3


_QWEN = Host(qwen.rows, qwen.described)

HOSTS: Mapping[str, Host] = MappingProxyType(
    {
        "qwen2_vl": _QWEN,
        "qwen2_5_vl": _QWEN,
        "qwen3_vl": Host(qwen.rows_by_frame, qwen.described),
        "qwen3_vl_moe": Host(qwen.rows_by_frame, qwen.described),
        "llava_onevision": Host(llava_onevision.rows, llava_onevision.described, axes=1),
        "internvl": Host(internvl.rows, internvl.described, axes=1),
    }
)
