"""The door every model goes through, real or mock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from evalkit.types import Generation, Part, Prepared, Request

if TYPE_CHECKING:
    from evalkit.rope.variants import RopeVariant


class Preprocessor(Protocol):
    """Turns requests into model inputs on the CPU. Picklable: it is sent to worker processes, so
    it must not hold weights nor need torch.
    """

    def estimate(self, request: Request) -> int:
        """Number of prompt tokens, from headers alone (nothing is decoded)."""
        ...

    def prepare(self, request: Request) -> Prepared:
        """Decode, sample frames, resize, tokenize.

        Raises:
            MediaError: an image or video can't be decoded.
        """
        ...


class Model(Protocol):
    """A loaded checkpoint with one RoPE variant installed."""

    @property
    def name(self) -> str:
        """What the user called it ("tiny", a path or a hub id)."""
        ...

    @property
    def family(self) -> str: ...

    @property
    def variant(self) -> RopeVariant: ...

    @property
    def box_space(self) -> str:
        """Convention of the coordinates the family emits (see ``metrics.base.Answer``)."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash over configuration and weights: part of every request's key."""
        ...

    @property
    def preprocessor(self) -> Preprocessor: ...

    def render(self, parts: Sequence[Part]) -> str:
        """The chat text for one user turn, with one placeholder per medium."""
        ...

    def generate(self, batch: Sequence[Prepared]) -> list[Generation]:
        """Answer a batch greedily; result ``i`` belongs to ``batch[i]``.

        Raises:
            OutOfMemory: the batch did not fit; nothing was answered.
        """
        ...
