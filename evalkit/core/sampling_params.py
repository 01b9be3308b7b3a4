"""How answers are drawn: parameters of sampling, and random numbers that a question alone decides on."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingParams:
    """Parameters of sampling, by vLLM's names; there are none where decoding is greedy.

    Attributes:
        temperature: above 0.
        top_p: the least probable tokens, as many as leave this much probability, are never drawn; 1 for none.
        top_k: only so many of the likeliest tokens are drawn; 0 for all.
        presence_penalty: taken off the logits of every token that the answer has already.
        seed: of all random numbers.
    """

    temperature: float
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        parts = [f"temperature {self.temperature:g}"]
        parts += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
        parts += [f"top-k {self.top_k}"] if self.top_k else []
        parts += [f"presence penalty {self.presence_penalty:g}"] if self.presence_penalty else []
        return ", ".join([*parts, f"seed {self.seed}"])

    def draws(self, task: str, sample_id: str, repetition: int) -> Draws:
        """The random numbers of one answer: the same for every model and variant, whatever the batch."""
        named = repr((self.seed, task, sample_id, repetition)).encode("utf-8", "surrogatepass")
        return Draws(self, hashlib.sha256(named).digest())


@dataclass(frozen=True)
class Draws:
    """The sampling of one answer; ``key`` decides on its random numbers."""

    params: SamplingParams
    key: bytes

    def uniform(self, step: int) -> float:
        """A number in [0, 1) for the token of a step: a counter is hashed, so that no state has to be kept,
        and an answer that is begun anew comes out the same.

        >>> draws = SamplingParams(1.0).draws("t", "s", 0)
        >>> draws.uniform(3) == draws.uniform(3), draws.uniform(3) == draws.uniform(4)
        (True, False)
        """
        hashed = hashlib.blake2b(step.to_bytes(8, "little"), key=self.key, digest_size=8).digest()
        return (int.from_bytes(hashed, "little") >> 11) / (1 << 53)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The unbiased estimate of the chance that one of ``k`` answers is right, from ``n`` of which ``correct``
    are (Chen et al. 2021, arXiv 2107.03374, section 2.1).

    Raises:
        ValueError: ``k`` isn't within 1 to ``n``, or ``correct`` not within 0 to ``n``.

    >>> pass_at_k(4, 1, 1), pass_at_k(4, 1, 2), pass_at_k(4, 3, 2)
    (0.25, 0.5, 1.0)
    """
    if not (1 <= k <= n and 0 <= correct <= n):
        raise ValueError(f"pass@{k} of {n} answers, {correct} of them right")
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)
