"""Decode steps as CUDA graphs: the kernels of a step are captured once, and then replayed as a whole.

Launched one by one, the kernels of a step take longer to launch than to run. A captured step is bound to its
KV caches: it computes all their sequences, finished ones too, and lasts until the caches change or its slots
are used up.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from evalkit.inference.async_copies import to_device
from evalkit.inference.attention import AttentionFn
from evalkit.inference.counters import EngineCounters
from evalkit.inference.kv_cache import DecodeAttention, DecodeMetadata, KVCache
from evalkit.inference.sequence import SequenceState

CAPTURE_AFTER_STEPS = 4
"""Steps with the same caches before one is captured, which takes as long as a few of them."""

MIN_STEPS_LEFT = 16
"""Steps that must still be possible, going by the longest answer allowed."""

STEPS_PER_CAPTURE = 64
"""Steps that a captured step has slots for."""

StepFn = Callable[[], Tensor]

Capture = Callable[[StepFn], StepFn]
"""Makes a function that repeats what a function computes, from inputs that stay at their place in memory."""

Forward = Callable[[Tensor, Tensor, AttentionFn], Tensor]
"""Hidden states ``[m, hidden]`` of tokens ``[m]`` at positions ``[1 + R, 1, m]``."""

Positions = Callable[[Sequence[SequenceState]], Tensor]
"""Position ids ``[1 + R, 1, m]`` of the last tokens of sequences."""


def cuda_graph(work: StepFn) -> StepFn:
    """See :data:`Capture`; does the work once before, so that libraries are set up for it."""
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
    return partial(_replay, graph, result, work)


def _replay(graph: Any, result: Tensor, work: StepFn) -> Tensor:
    """``result``, computed anew; ``work`` is passed on only to keep the memory that the graph reads."""
    graph.replay()
    return result


@dataclass(kw_only=True)
class CapturedStep:
    """A decode step of all ``N`` sequences of some caches, of which attention reads ``widths`` slots.

    ``replay`` computes hidden states ``[N, hidden]`` from what is in memory at ``ids [N]`` (the last tokens),
    ``positions [1 + R, 1, N]``, and the ``slot_mappings`` of each cache.
    """

    kv_caches: Sequence[KVCache]
    widths: Sequence[int]
    ids: Tensor
    positions: Tensor
    slot_mappings: Sequence[Tensor]
    replay: StepFn

    def fits(self, kv_caches: Sequence[KVCache]) -> bool:
        """Whether it can do the next step of ``kv_caches``."""
        return _same(self.kv_caches, kv_caches) and all(
            kv_cache.next_length <= width for kv_cache, width in zip(kv_caches, self.widths, strict=True)
        )

    def step(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Hidden states ``[m, hidden]`` of the running sequences, from tokens and positions of all."""
        self.ids.copy_(to_device(ids, self.ids.device))
        self.positions.copy_(to_device(positions, self.positions.device))
        for kv_cache, slots, width in zip(self.kv_caches, self.slot_mappings, self.widths, strict=True):
            kv_cache.allocate_slots()
            slots.copy_(to_device(_next_slots(kv_cache, width), slots.device))
        hidden = self.replay()
        running = [
            number
            for number, sequence in enumerate(all_sequences(self.kv_caches))
            if sequence.finish_reason is None
        ]
        return hidden[to_device(torch.tensor(running), hidden.device)]


@dataclass
class GraphRunner:
    """Captures decode steps where that pays, and replays them; with ``capture`` None it never does.

    ``num_key_value_groups``: query heads of a key-value head.
    """

    capture: Capture | None
    num_key_value_groups: int
    stats: EngineCounters
    _kv_caches: Sequence[KVCache] = ()
    _steps: int = 0
    _captured: CapturedStep | None = field(default=None, repr=False)

    def step(self, kv_caches: Sequence[KVCache], forward: Forward, positions: Positions) -> Tensor | None:
        """Hidden states ``[m, hidden]`` of the running sequences after their last tokens, by a captured
        step of ``forward``; None if capturing does not pay yet.
        """
        if self.capture is None:
            return None
        self._steps = self._steps + 1 if _same(self._kv_caches, kv_caches) else 0
        self._kv_caches = list(kv_caches)
        if self._captured is not None and not self._captured.fits(kv_caches):
            self._captured = None  # frees its memory for the next one
        pays = self._steps >= CAPTURE_AFTER_STEPS and _steps_left(kv_caches) >= MIN_STEPS_LEFT
        if self._captured is None and pays:
            self._try_capture(self.capture, forward, positions)
        if self._captured is None:
            return None
        sequences = all_sequences(kv_caches)
        return self._captured.step(last_tokens(sequences), positions(sequences))

    def release(self) -> None:
        """Free the memory of the captured step and its caches."""
        self._captured, self._kv_caches, self._steps = None, (), 0

    def _try_capture(self, capture: Capture, forward: Forward, positions: Positions) -> None:
        try:
            self._captured = self._capture_step(capture, forward, positions)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # whatever a library does that can't be captured
            self.release()
            self.capture = None
            warnings.warn(f"decoding goes on without CUDA graphs: {str(error).splitlines()[0]}", stacklevel=2)
        else:
            self.stats.counts["graphs"] += 1

    def _capture_step(self, capture: Capture, forward: Forward, positions: Positions) -> CapturedStep:
        kv_caches = self._kv_caches
        device, dtype = kv_caches[0].attention_mask.device, kv_caches[0].keys[0].dtype
        widths = [
            each.rounded_width(each.next_length + (STEPS_PER_CAPTURE - 1) * each.group_size)
            for each in kv_caches
        ]
        sequences = all_sequences(kv_caches)
        ids = to_device(last_tokens(sequences), device)
        position_ids = to_device(positions(sequences), device).contiguous()
        slot_mappings = [
            to_device(_next_slots(each, width), device) for each, width in zip(kv_caches, widths, strict=True)
        ]
        batch_index = [
            torch.arange(len(each.sequences) * each.group_size, device=device) for each in kv_caches
        ]
        group_index = [index // each.group_size for each, index in zip(kv_caches, batch_index, strict=True)]

        def work() -> Tensor:
            biases = [
                each.bias(width, self.num_key_value_groups, dtype)
                for each, width in zip(kv_caches, widths, strict=True)
            ]
            metadata = list(map(DecodeMetadata, group_index, batch_index, slot_mappings, biases))
            return forward(ids, position_ids, DecodeAttention(kv_caches, metadata).attend)

        return CapturedStep(
            kv_caches=kv_caches,
            widths=widths,
            ids=ids,
            positions=position_ids,
            slot_mappings=slot_mappings,
            replay=capture(work),
        )


def all_sequences(kv_caches: Sequence[KVCache]) -> list[SequenceState]:
    """Sequences of all groups, finished or not."""
    return [sequence for kv_cache in kv_caches for group in kv_cache.sequences for sequence in group]


def last_tokens(sequences: Sequence[SequenceState]) -> Tensor:
    """The last token of each sequence, ``[m]``."""
    return torch.tensor([sequence.token_ids[-1] for sequence in sequences])


def _steps_left(kv_caches: Sequence[KVCache]) -> int:
    """Steps that the longest answer may still take."""
    return max(
        sequence.item.max_new_tokens - len(sequence.token_ids)
        for kv_cache in kv_caches
        for sequence in kv_cache.running
    )


def _same(some: Sequence[KVCache], others: Sequence[KVCache]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _next_slots(kv_cache: KVCache, width: int) -> Tensor:
    """The next slot of every sequence; of finished groups any one, since nobody reads it any more."""
    return torch.tensor(
        [min(size + member, width - 1) for size in kv_cache.lengths for member in range(kv_cache.group_size)]
    )
