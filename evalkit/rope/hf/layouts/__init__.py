"""How transformers' model families lay out visual tokens: from a call's inputs to segments.

One file per layout. A layout reads what ``forward`` or ``generate`` is called with and says which
tokens of every row are text and which belong to visual blocks of which grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from evalkit.rope.hf.layouts import internvl, llava_onevision, qwen
from evalkit.rope.layout import Segment

if TYPE_CHECKING:
    from torch import Tensor

SegmentReader = Callable[[Any, "Tensor", "Tensor | None", Mapping[str, Any]], list[list[Segment]]]


@dataclass(frozen=True)
class TokenLayout:
    """A family of transformers models.

    ``batch_segments(config, input_ids, attention_mask, inputs)`` gives the segments of every unpadded row,
    ``inputs`` being the other keyword arguments of the call; ``ValueError`` where they don't fit the
    tokens. ``describes_media(inputs)`` says whether they hold the grids of the media in the whole prompt (when
    a conversation goes on, they usually hold none). ``axes``: position axes of the untouched model.
    """

    batch_segments: SegmentReader
    describes_media: Callable[[Mapping[str, Any]], bool]
    axes: int = 3


_QWEN_LAYOUT = TokenLayout(qwen.batch_segments, qwen.describes_media)

TOKEN_LAYOUTS: Mapping[str, TokenLayout] = MappingProxyType(
    {
        "qwen2_vl": _QWEN_LAYOUT,
        "qwen2_5_vl": _QWEN_LAYOUT,
        "qwen3_vl": TokenLayout(qwen.batch_segments_by_frame, qwen.describes_media),
        "qwen3_vl_moe": TokenLayout(qwen.batch_segments_by_frame, qwen.describes_media),
        "llava_onevision": TokenLayout(
            llava_onevision.batch_segments, llava_onevision.describes_media, axes=1
        ),
        "internvl": TokenLayout(internvl.batch_segments, internvl.describes_media, axes=1),
    }
)
