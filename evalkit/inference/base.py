"""What a decoder takes and gives, whoever decodes: groups of prompts with one prefix, and finished answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evalkit.core.types import Generation, Prepared

MAX_PREFILL_TOKENS = 16384
"""Prompt tokens in one call of a language model."""


@dataclass(frozen=True)
class PrefixGroup:
    """Prompts that are the same in their first ``prefix`` tokens, with all their media in these."""

    items: tuple[Prepared, ...]
    prefix: int

    @property
    def tokens(self) -> int:
        """Tokens to be read: the prefix once."""
        return self.prefix + sum(item.length - self.prefix for item in self.items)

    @property
    def max_tokens(self) -> int:
        """Tokens to be kept when all answers are as long as they may be."""
        return self.tokens + sum(item.max_new_tokens for item in self.items)


Finished = list[tuple[Prepared, Generation]]


class Decoder(Protocol):
    """Answers being generated, a token at a time; questions enter and leave at any step."""

    @property
    def running(self) -> Sequence[Prepared]:
        """The questions that are being answered."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens that the cache takes up now."""
        ...

    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        """Read prompts and begin their answers; return what is finished, which may be earlier ones.

        Raises:
            OutOfMemory: they did not fit; none of them was added.
        """
        ...

    def step(self) -> Finished:
        """Generate one more token for every question, or fetch the first ones of those that were read; return
        what is finished.

        Raises:
            OutOfMemory: it did not fit; nothing has changed.
        """
        ...

    def preempt(self, keep: int) -> list[Prepared]:
        """Forget all but the first ``keep`` questions, and return what was forgotten."""
        ...


def generate_all(decoder: Decoder, prefix_groups: Sequence[PrefixGroup]) -> Finished:
    """Add prefix_groups to a decoder and go on until it is empty.

    Raises:
        OutOfMemory: they did not fit.
    """
    found = decoder.add(prefix_groups)
    while decoder.running:
        found += decoder.step()
    return found
