"""Steps of decoding as CUDA graphs: what a step launches is recorded once, and then launched all at once.

Launched one by one, the kernels of a step take longer to launch than to run. A recording is bound to its
kv_caches: it computes all of their batch_index, those of finished sequences too, and lasts until the kv_caches change or its
slots are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evalkit.inference.async_copies import to_device
from evalkit.inference.attention import AttentionFn
from evalkit.inference.kv_cache import DecodeAttention, DecodeMetadata, KVCache
from evalkit.inference.sequence import SequenceState

CAPTURE_AFTER_STEPS = 4
"""Steps that the same kv_caches must have made before one is recorded, which takes as long as a few of them."""

MIN_STEPS_LEFT = 16
"""Steps that must still be to come, as far as the longest answer may go."""

STEPS_PER_CAPTURE = 64
"""Steps that a recording has slots for."""

StepFn = Callable[[], Tensor]

Capture = Callable[[StepFn], StepFn]
"""Makes of some work, whose inputs stay at their place in memory, the same work recorded."""

Forward = Callable[[Tensor, Tensor, AttentionFn], Tensor]
"""Hidden states ``[m, hidden]`` of tokens ``[m]`` at positions ``[1 + R, 1, m]``."""


@dataclass(frozen=True)
class _CudaGraph:
    """A graph, where its result will be, and the work, which holds the memory that the graph reads."""

    graph: Any
    result: Tensor
    work: StepFn

    def __call__(self) -> Tensor:
        self.graph.replay()
        return self.result


def cuda_graph(work: StepFn) -> StepFn:
    """See :data:`Capture`; does the work once unrecorded, so that libraries are set up for it."""
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
        graph.capture_begin(capture_error_mode="thread_local")
        try:
            result = work()
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(stream)
    return _CudaGraph(graph, result, work)


@dataclass
class CapturedStep:
    """One step of all batch_index of some kv_caches, of which ``widths`` slots are attention_mask: the token of each
    ``ids [N]``, its ``positions [1 + R, 1, N]`` and its slot in each kv_cache.
    """

    kv_caches: Sequence[KVCache]
    widths: Sequence[int]
    ids: Tensor
    positions: Tensor
    slot_mappings: Sequence[Tensor]
    work: StepFn

    def fits(self, kv_caches: Sequence[KVCache]) -> bool:
        """Whether the next step of ``kv_caches`` can be made by it."""
        return _same(self.kv_caches, kv_caches) and all(
            kv_cache.next_length <= width for kv_cache, width in zip(kv_caches, self.widths, strict=True)
        )

    def step(self, ids: Sequence[int], positions: Tensor) -> Tensor:
        """Hidden states of the running sequences, from tokens and positions of all batch_index."""
        self.ids.copy_(to_device(torch.tensor(ids), self.ids.device))
        self.positions.copy_(to_device(positions, self.positions.device))
        for kv_cache, slots, width in zip(self.kv_caches, self.slot_mappings, self.widths, strict=True):
            kv_cache.allocate_slots()
            slots.copy_(to_device(torch.tensor(_next_slots(kv_cache, width)), slots.device))
        hidden = self.work()
        unfinished = [
            number
            for number, sequence in enumerate(all_sequences(self.kv_caches))
            if sequence.finish_reason is None
        ]
        return hidden[to_device(torch.tensor(unfinished), hidden.device)]


@dataclass
class GraphRunner:
    """Records steps where that pays.

    Attributes:
        capture: records.
        forward: the language model.
        num_key_value_groups: query heads of a key-value head.
    """

    capture: Capture
    forward: Forward
    num_key_value_groups: int
    captures: int = 0
    _kv_caches: Sequence[KVCache] = ()
    _steps: int = 0
    _captured: CapturedStep | None = field(default=None, repr=False)

    def captured(
        self, kv_caches: Sequence[KVCache], example_positions: Callable[[], Tensor]
    ) -> CapturedStep | None:
        """A recording of the next step of ``kv_caches``; None as long as it is to be made unrecorded. ``example_positions``:
        positions of all batch_index.
        """
        self._steps = self._steps + 1 if _same(self._kv_caches, kv_caches) else 0
        self._kv_caches = list(kv_caches)
        if self._captured is not None and self._captured.fits(kv_caches):
            return self._captured
        self._captured = None  # its memory is free for the next one
        if self._steps >= CAPTURE_AFTER_STEPS and _steps_left(kv_caches) >= MIN_STEPS_LEFT:
            self._captured = self._capture_step(kv_caches, example_positions())
            self.captures += 1
        return self._captured

    def release(self) -> None:
        """Give the memory back."""
        self._captured, self._kv_caches, self._steps = None, (), 0

    def _capture_step(self, now: Sequence[KVCache], example_positions: Tensor) -> CapturedStep:
        kv_caches = list(now)
        device = kv_caches[0].attention_mask.device
        widths = [
            kv_cache.rounded_width(kv_cache.next_length + (STEPS_PER_CAPTURE - 1) * kv_cache.bucket[0])
            for kv_cache in kv_caches
        ]
        ids = to_device(
            torch.tensor([sequence.token_ids[-1] for sequence in all_sequences(kv_caches)]), device
        )
        positions = to_device(example_positions, device).contiguous()
        slots = [
            to_device(torch.tensor(_next_slots(kv_cache, width)), device)
            for kv_cache, width in zip(kv_caches, widths, strict=True)
        ]
        places = [_places(kv_cache) for kv_cache in kv_caches]
        dtype = kv_caches[0].keys[0].dtype

        def work() -> Tensor:
            steps = [
                DecodeMetadata(
                    groups, batch_index, slot, kv_cache.bias(width, self.num_key_value_groups, dtype)
                )
                for kv_cache, (groups, batch_index), slot, width in zip(
                    kv_caches, places, slots, widths, strict=True
                )
            ]
            return self.forward(ids, positions, DecodeAttention(kv_caches, steps).attend)

        return CapturedStep(kv_caches, widths, ids, positions, slots, self.capture(work))


def all_sequences(kv_caches: Sequence[KVCache]) -> list[SequenceState]:
    """Rows of all batch_index, finished or not."""
    return [sequence for kv_cache in kv_caches for group in kv_cache.sequences for sequence in group]


def _steps_left(kv_caches: Sequence[KVCache]) -> int:
    """Steps that the longest answer may still take."""
    return max(
        sequence.item.max_new_tokens - len(sequence.token_ids)
        for kv_cache in kv_caches
        for sequence in kv_cache.running
    )


def _same(some: Sequence[KVCache], others: Sequence[KVCache]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _places(kv_cache: KVCache) -> tuple[Tensor, Tensor]:
    """PrefixGroup and number of every member."""
    batch_index = torch.arange(
        len(kv_cache.sequences) * kv_cache.bucket[0], device=kv_cache.attention_mask.device
    )
    return batch_index // kv_cache.bucket[0], batch_index


def _next_slots(kv_cache: KVCache, width: int) -> list[int]:
    """The next slot of every member; a finished group's may be any, since nobody reads it any more."""
    return [
        min(size + member, width - 1) for size in kv_cache.lengths for member in range(kv_cache.bucket[0])
    ]
