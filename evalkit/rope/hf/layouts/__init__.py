"""How transformers' models lay out visual tokens: from a call's inputs to segments.

A layout reads what ``forward`` or ``generate`` is called with and says which tokens of every row are text and
which belong to visual blocks of which grid. Families bring their own; what several share is
:mod:`~evalkit.rope.hf.layouts.grid_inputs`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalkit.rope.layout import Segment
from evalkit.rope.pairs import Pairs

if TYPE_CHECKING:
    from torch import Tensor

SegmentReader = Callable[[Any, "Tensor", "Tensor | None", Mapping[str, Any]], list[list[Segment]]]

FAMILY_REGISTRY = "evalkit.models.families.registry"
"""The module that knows the layouts which were not registered, by ``layout_names()`` and ``layout_of(name)``.
It is imported by name, when a variant is installed: this package works without it.
"""


def counts_frames(config: Any) -> dict[str, Any]:
    """The time rule of most models: temporal steps are counted, whatever the seconds between them."""
    return {"absolute_time": False}


@dataclass(frozen=True)
class TokenLayout:
    """Where a transformers model has its visual tokens.

    Attributes:
        batch_segments: ``(config, input_ids, attention_mask, inputs)`` to the segments of every unpadded row,
            ``inputs`` being the other keyword arguments of the call; ``ValueError`` where they don't fit the
            tokens.
        describes_media: whether ``inputs`` hold the grids of the media in the whole prompt (when a
            conversation goes on, they usually hold none).
        axes: position axes of the untouched model.
        time_rule: parameters of a position design that the model's configuration decides.
        pairs: which channels of a head its language model rotates together.
    """

    batch_segments: SegmentReader
    describes_media: Callable[[Mapping[str, Any]], bool]
    axes: int = 3
    time_rule: Callable[[Any], Mapping[str, Any]] = counts_frames
    pairs: Pairs = "half"


class TokenLayouts(Mapping[str, TokenLayout]):
    """Layouts by the ``model_type`` of a model's configuration."""

    def __init__(self) -> None:
        self._registered: dict[str, TokenLayout] = {}

    def register(self, model_type: str, layout: TokenLayout) -> None:
        """Say how models of a type lay out their tokens; what was known of the type before is forgotten."""
        self._registered[model_type] = layout

    def __getitem__(self, model_type: str) -> TokenLayout:
        if model_type in self._registered:
            return self._registered[model_type]
        if model_type not in self._names():
            raise KeyError(model_type)
        layout: TokenLayout = _family_registry().layout_of(model_type)
        return layout

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> dict[str, None]:
        registry = _family_registry()
        return dict.fromkeys([*self._registered, *(registry.layout_names() if registry else ())])


TOKEN_LAYOUTS = TokenLayouts()


def _family_registry() -> Any:
    try:
        return importlib.import_module(FAMILY_REGISTRY)
    except ModuleNotFoundError as error:
        if error.name and FAMILY_REGISTRY.startswith(error.name):
            return None
        raise
