"""From generated tokens to text: chat control is dropped, the markup of an answer is kept.

Tokenizers call both *special*: ``<|im_end|>``, and the ``<|box_start|>`` that a family writes around a box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.metrics.reasoning import is_tag

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_PLACEHOLDER = re.compile(
    r"(?:^|[^a-z])(?:image|img|video|vision|audio|pad|endoftext)(?:[^a-z]|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class Detokenizer:
    """Decodes token ids without those that are ``control``."""

    tokenizer: Any
    control: frozenset[int]

    def __call__(self, token_ids: Sequence[int]) -> str:
        """The text of an answer."""
        kept = [token for token in map(int, token_ids) if token not in self.control]
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False)
        return text


def control_tokens(tokenizer: Any, chat: str, ends: Iterable[int]) -> frozenset[int]:
    """Ids of a tokenizer's special tokens that steer a chat and are no part of an answer.

    These are the tokens that it names (``eos_token`` and the like), those that end an answer (``ends``),
    those that the chat template writes (``chat``: a rendered conversation with every kind of medium) and
    those that stand for media. All other special tokens are markup that the family writes on purpose, as
    are the tags of reasoning that a template may open.
    """
    named = {str(getattr(tokenizer, name)) for name in _NAMED if getattr(tokenizer, name, None) is not None}
    special = {
        place: token.content for place, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    control = {
        place
        for place, content in special.items()
        if (content in named or content in chat or _PLACEHOLDER.search(content)) and not is_tag(content)
    }
    return frozenset(control | set(ends))
