"""A decoder whose batches vLLM makes: prompts go to its process, answers come back as they are finished."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from evalkit.core.types import Generation, Prepared
from evalkit.inference.base import Finished, PrefixGroup
from evalkit.inference.counters import EngineCounters
from evalkit.inference.stopping import GenerationTokens
from evalkit.inference.vision_encoder import cache_key
from evalkit.integrations.vllm.client import VllmProcess
from evalkit.integrations.vllm.drawing import described_draws
from evalkit.integrations.vllm.media import PlacedMedium, placed_media, segments_with
from evalkit.integrations.vllm.protocol import Array
from evalkit.rope.positions import PositionDesign, SequencePlan


@dataclass
class VllmLink:
    """The process of a loaded model, which several decoders may use one after the other; ``owners`` maps the
    id of each request in flight to its decoder.
    """

    process: VllmProcess
    owners: dict[str, VllmDecoder] = field(default_factory=dict)
    count: int = 0

    def new_id(self, owner: VllmDecoder) -> str:
        """An id that no other request has."""
        self.count += 1
        self.owners[str(self.count)] = owner
        return str(self.count)

    def deliver(self, *, wait: bool) -> bool:
        """Hand over the next answer to its decoder; False if there is none."""
        try:
            head, _ = self.process.receive(wait=wait)
        except queue.Empty:
            return False
        owner = self.owners.pop(head["id"], None)
        if owner is not None:
            owner.take(head)
        return True


@dataclass(kw_only=True)
class VllmDecoder:
    """See :class:`evalkit.inference.base.Decoder`; ``designs`` are those of the layer groups, with the
    parameters that the model decides.
    """

    link: VllmLink
    generation_tokens: GenerationTokens
    designs: Sequence[PositionDesign]
    text: Callable[[Sequence[int]], str]
    stats: EngineCounters = field(default_factory=EngineCounters)
    _items: dict[str, Prepared] = field(default_factory=dict)
    _finished: Finished = field(default_factory=list)

    @property
    def running(self) -> list[Prepared]:
        """See :class:`evalkit.inference.base.Decoder`."""
        return list(self._items.values())

    @property
    def tokens(self) -> int:
        """See :class:`evalkit.inference.base.Decoder`: what the running prompts may come to."""
        return sum(item.length + item.max_new_tokens for item in self._items.values())

    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        """See :class:`evalkit.inference.base.Decoder`."""
        for group in prefix_groups:
            self._send(group)
        while self.link.deliver(wait=False):
            pass
        return self._take_finished()

    def step(self) -> Finished:
        """See :class:`evalkit.inference.base.Decoder`; waits until a prompt is finished."""
        with self.stats.stage("decode"):
            while self._items and not self._finished:
                self.link.deliver(wait=True)
            while self.link.deliver(wait=False):
                pass
        self.stats.counts["steps"] += 1
        return self._take_finished()

    def preempt(self, keep: int) -> list[Prepared]:
        """See :class:`evalkit.inference.base.Decoder`."""
        dropped = list(self._items)[keep:]
        for each in dropped:
            self.link.owners.pop(each, None)
        if dropped:
            self.link.process.send({"op": "abort", "ids": dropped})
        return [self._items.pop(each) for each in dropped]

    def take(self, head: dict[str, Any]) -> None:
        """Note an answer, or why there is none."""
        item = self._items.pop(head["id"], None)
        if item is None:
            return
        if head.get("error") is not None:
            self._finished.append((item, Generation("", (), "error", error=str(head["error"]))))
            return
        ids, margins = tuple(head["token_ids"]), tuple(head["margins"])
        known = [each for each in margins if each >= 0]
        self.stats.counts["decoded"] += len(margins)
        self._finished.append(
            (
                item,
                Generation(
                    self.text(ids),
                    ids,
                    head["reason"],
                    min(known, default=float("inf")),
                    margins=margins,
                ),
            )
        )

    def _take_finished(self) -> Finished:
        found, self._finished = self._finished, []
        return found

    def _send(self, group: PrefixGroup) -> None:
        """Send prompts, and the media that they share once."""
        requests: list[dict[str, Any]] = []
        arrays: list[Array] = []
        described: list[dict[str, Any]] = []
        for item in group.items:
            placed = placed_media(item, self.generation_tokens.placeholder_token_ids)
            if (problem := self._inexpressible(item, placed)) is not None:
                self._finished.append((item, Generation("", (), "error", error=problem)))
                continue
            if not described:
                described = [
                    {**each.describe(), "hash": _hash(item, number, each)}
                    for number, each in enumerate(placed)
                ]
                arrays = [each.vision.patches for each in placed]
            number = self.link.new_id(self)
            self._items[number] = item
            requests.append(
                {
                    "id": number,
                    "max_new_tokens": item.max_new_tokens,
                    "choices": [*map(int, item.choices)],
                    "draws": described_draws(item.draws),
                    "reasoning_tokens": item.reasoning_tokens,
                    "prompt": None if item.reasoning_tokens is None else item.prompt,
                }
            )
            arrays += [item.input_ids, *(each.indices for each in placed)]
            self.stats.counts["prompt"] += item.length
            self.stats.counts["prefill"] += item.length
        if requests:
            self.stats.counts["media"] += len(described)
            self.stats.counts["visual"] += sum(each.indices.size for each in placed)
            self.link.process.send({"op": "add", "requests": requests, "media": described}, arrays)

    def _inexpressible(self, item: Prepared, placed: Sequence[PlacedMedium]) -> str | None:
        """Why vLLM would number this prompt wrongly: the design was tried on others before."""
        segments = segments_with(item.length, placed)
        if all(SequencePlan(design, segments).is_integer for design in self.designs):
            return None
        return "its positions are fractions, which vLLM can't keep; run it on evalkit's own engine"


def _hash(item: Prepared, number: int, placed: PlacedMedium) -> str:
    """What tells a medium's features and positions from all others', for vLLM's caches."""
    import hashlib

    key = cache_key(item, number)
    digest = hashlib.sha256(repr(placed.describe()).encode())
    if isinstance(key, tuple):
        digest.update(repr(key).encode())
    else:
        digest.update(np.ascontiguousarray(placed.vision.patches).data)
    return digest.hexdigest()
