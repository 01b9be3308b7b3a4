"""The interface of decoders: prefix groups in, finished answers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evalkit.core.types import Generation, Prepared

MAX_PREFILL_TOKENS = 16384
"""Prompt tokens in one call of a language model."""


@dataclass(frozen=True)
class PrefixGroup:
    """Prompts with the same first ``prefix`` tokens, which contain all their media."""

    items: tuple[Prepared, ...]
    prefix: int

    @property
    def tokens(self) -> int:
        """Tokens to prefill: the prefix once, and all suffixes."""
        return self.prefix + sum(item.length - self.prefix for item in self.items)

    @property
    def max_tokens(self) -> int:
        """Tokens in the KV cache when all answers are as long as they may be."""
        return self.tokens + sum(item.max_new_tokens for item in self.items)


Finished = list[tuple[Prepared, Generation]]
"""Finished prompts with their answers."""


class Decoder(Protocol):
    """Continuous batching: every step generates a token for each running prompt; prompts may be added and
    preempted between any two steps.
    """

    @property
    def running(self) -> Sequence[Prepared]:
        """Prompts that have been added and are not finished."""

    @property
    def tokens(self) -> int:
        """Tokens that the KV cache has slots for now."""

    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        """Prefill prompts; return what is finished, which may be prompts of earlier calls.

        Raises:
            OutOfMemory: they did not fit; none of them was added.
        """

    def step(self) -> Finished:
        """Generate a token for every running prompt, or finish a pending prefill; return what is finished.

        Raises:
            OutOfMemory: it did not fit; nothing has changed.
        """

    def preempt(self, keep: int) -> list[Prepared]:
        """Drop all running prompts but the first ``keep``, and return those that were dropped."""


def generate_all(decoder: Decoder, prefix_groups: Sequence[PrefixGroup]) -> Finished:
    """Add prefix groups to a decoder and step until nothing runs.

    Raises:
        OutOfMemory: they did not fit.
    """
    found = decoder.add(prefix_groups)
    while decoder.running:
        found += decoder.step()
    return found
