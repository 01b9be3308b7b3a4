"""Optimizations of the engine: each can be switched off by name, and none changes an answer."""

from __future__ import annotations

from dataclasses import dataclass, fields

from evalkit.core.errors import unknown_name


@dataclass(frozen=True)
class Optimizations:
    """All on by default.

    Attributes:
        media: questions about the same media are preprocessed together, so that these are decoded once.
        vision: the vision tower encodes a medium once, and a batch of media at a time.
        prefix: questions about the same media share the keys and values up to the last visual token.
        packing: prompts of several questions are prefilled in one call, without padding.
        continuous: finished sequences leave the decoding batch, and new ones enter it.
        graphs: on a GPU, a decoding step is captured once and then launched as a whole (CUDA graphs).
        lockstep: models of one run with equal preprocessors run side by side: media are decoded once for all
            of them, and encoded once for those with the same vision tower.
    """

    media: bool = True
    vision: bool = True
    prefix: bool = True
    packing: bool = True
    continuous: bool = True
    graphs: bool = True
    lockstep: bool = True

    @classmethod
    def names(cls) -> list[str]:
        """Names of all optimizations."""
        return [each.name for each in fields(cls)]

    @classmethod
    def without(cls, *names: str) -> Optimizations:
        """All but the named ones; ``all`` switches everything off.

        Raises:
            UsageError: there is no optimization of this name.
        """
        known = cls.names()
        for name in names:
            if name not in (*known, "all"):
                raise unknown_name("optimization", name, known, f"known: all, {', '.join(known)}")
        return cls(**{name: not {name, "all"} & set(names) for name in known})
