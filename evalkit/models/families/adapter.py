"""What a family gives so that its models can be loaded and asked: a value in its folder's ``adapter.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evalkit.core.types import MediaKind, VisionInput
from evalkit.inference.vision_features import Encode
from evalkit.models.families.family import Family
from evalkit.models.preprocess import ChatPreprocessor
from evalkit.models.processor import Processor
from evalkit.rope.hf.layouts import TokenLayout


def vision_width(config: Any) -> tuple[int, int]:
    """Sizes of a vision tower's hidden states and of its MLPs, as most configurations name them."""
    return config.vision_config.hidden_size, config.vision_config.intermediate_size


def first_block(vision: VisionInput) -> int | None:
    """Of an image's blocks, the first shows all of it."""
    return 0


@dataclass(frozen=True, kw_only=True)
class FamilyAdapter:
    """What evalkit needs of a model family that transformers loads.

    Attributes:
        family: what is known without loading anything.
        model_class: name of transformers' class, or ``module:Class`` for one of another package.
        placeholders: what each kind of medium that the family takes becomes in the rendered chat.
        locate: wording of a referring expression, with ``{}`` for the phrase.
        preprocessor: does what a checkpoint's processor does, without torch.
        encode: features of media, as the language model takes them.
        layout: which of a call's tokens are visual, and the time rule.
        vision_tower: path of the tower in the transformers model.
        connector: paths of the modules and parameters between tower and language model, which are trained
            with the latter; lists of modules count as their members.
        vision_width: sizes of the tower's hidden states and of its MLPs, from the model's config.
        pad_modules: gated MLPs of the tower to be widened for a GPU
            (:func:`~evalkit.inference.padded_linear.pad_gated_mlps`); None for none.
        whole_block: which of an image's blocks shows the whole image and nothing else, stretched to the
            block's grid; None where none does.
        note: what a user should know of a checkpoint's processor, if anything.
        compile_tower: compiles the vision tower of a model, for ``--compile``; None leaves it as it is.
        mixes_kinds: one prompt may show images and videos.
        text_after_video_differs: transformers' own positions of text after a video are wrong (docs/ropes.md).
    """

    family: Family
    model_class: str
    placeholders: Mapping[MediaKind, str]
    locate: str
    preprocessor: Callable[[Processor], ChatPreprocessor]
    encode: Encode
    layout: TokenLayout
    vision_tower: str
    connector: tuple[str, ...]
    vision_width: Callable[[Any], tuple[int, int]] = vision_width
    pad_modules: Callable[[Any], Iterable[Any]] | None = None
    whole_block: Callable[[VisionInput], int | None] = first_block
    note: Callable[[Processor], str | None] | None = None
    compile_tower: Callable[[Any], None] | None = None
    mixes_kinds: bool = True
    text_after_video_differs: bool = False
