"""The decoder of transformers models: prefill, and continuous batching of decode steps.

A prompt's positions are those that it has alone; generated token ``k`` sits at ``next_position + k * step``.
An answer depends on its prompt alone: in float32 its tokens are the same in every batch.

The first tokens of a prefill batch are fetched in the next call, so that a GPU is busy while the next batch
is laid out.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from evalkit.core.errors import OutOfMemory
from evalkit.core.types import FinishReason, Generation, Prepared
from evalkit.inference.async_copies import AsyncHostCopy, to_device
from evalkit.inference.attention import AttentionFn, text_attention
from evalkit.inference.base import MAX_PREFILL_TOKENS, Finished, PrefixGroup
from evalkit.inference.compile import uncompiled
from evalkit.inference.counters import EngineCounters
from evalkit.inference.cuda_graphs import Capture, GraphRunner, all_sequences, last_tokens
from evalkit.inference.fixed_shapes import (
    SingleDecodeAttention,
    fixed_batches,
    next_cache_slots,
    padded,
)
from evalkit.inference.kv_cache import DecodeAttention, KVCache, kv_caches_of, merge_kv_caches
from evalkit.inference.linear_attention import (
    DecodeStates,
    LinearAttentionFn,
    PrefillStates,
    linear_attention,
    linear_layers,
)
from evalkit.inference.observation import AttentionObserver, ObservedAttention, continued_batch_of
from evalkit.inference.prefill import PrefillBatch, prefill_batch_of, split_by_tokens
from evalkit.inference.sampler import select_tokens
from evalkit.inference.sequence import SequenceState
from evalkit.inference.stopping import GenerationTokens, ReasoningBudget
from evalkit.inference.vision_encoder import VisionEncoder, insert_features
from evalkit.rope.batch import positions_after
from evalkit.rope.hf.install import Installed

P = ParamSpec("P")
T = TypeVar("T")


def _guarded(work: Callable[Concatenate[HfDecoder, P], T]) -> Callable[Concatenate[HfDecoder, P], T]:
    """Run a method without gradients; where memory runs out, free what can be computed again and raise
    ``OutOfMemory``.
    """

    @wraps(work)
    def guarded(self: HfDecoder, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with torch.inference_mode():
                return work(self, *args, **kwargs)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
                raise
            reason = str(error).splitlines()[0]
        # Outside the handler: the exception's frames held the tensors until here.
        self.vision_encoder.release()
        self._graph_runner.release()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(reason)

    return guarded


@dataclass
class _PendingPrefill:
    """A prefill batch and its sequences; ``first_tokens`` are being copied to the host, None when the
    sequences have accepted them.
    """

    batch: PrefillBatch
    sequences: list[SequenceState]
    first_tokens: AsyncHostCopy | None

    def remaining(self) -> list[SequenceState]:
        """Its sequences without preempted ones."""
        return [sequence for sequence in self.sequences if not sequence.preempted]


@dataclass(kw_only=True)
class HfDecoder:
    """See :class:`evalkit.inference.base.Decoder`.

    ``uncached_vision`` encodes every medium anew and alone, for comparison. ``capture`` captures decode steps
    as CUDA graphs; with None, every kernel is launched. ``deterministic`` computes every medium, prompt and
    decode step in shapes that depend on the sequence alone, so that its answer does, too, in 16 bits.
    """

    model: Any
    installed: Installed
    vision_encoder: VisionEncoder
    generation_tokens: GenerationTokens
    text: Callable[[Sequence[int]], str]
    stats: EngineCounters = field(default_factory=EngineCounters)
    uncached_vision: bool = False
    capture: Capture | None = None
    deterministic: bool = False
    _kv_caches: list[KVCache] = field(default_factory=list)
    _pending_prefills: list[_PendingPrefill] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.model.config.get_text_config()
        self._num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        # A captured step has no place for the states of layers without attention.
        capture = None if linear_layers(self.model.model.language_model) else self.capture
        self._graph_runner = GraphRunner(capture, self._num_key_value_groups, self.stats)

    @property
    def running(self) -> list[Prepared]:
        """See :class:`evalkit.inference.base.Decoder`."""
        return [sequence.item for sequence in self._sequences()]

    @property
    def tokens(self) -> int:
        """See :class:`evalkit.inference.base.Decoder`."""
        pending = sum(len(each.batch.token_ids) for each in self._pending_prefills)
        return pending + sum(len(each.sequences) * each.slots for each in self._kv_caches)

    @_guarded
    def observe(self, item: Prepared, answer: Sequence[int], observer: AttentionObserver) -> None:
        """Read a prompt and the tokens of its answer in one call; an observer is shown every layer's queries
        and keys. What is running stays as it is.

        Raises:
            OutOfMemory: they did not fit.
        """
        batch = continued_batch_of(item, answer, self.installed)
        attend = ObservedAttention(batch, observer).attend
        self._read(batch, attend, PrefillStates(batch).mix)

    @_guarded
    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        """See :class:`evalkit.inference.base.Decoder`."""
        self._graph_runner.release()  # it would hold caches that are about to be merged
        if self.deterministic:
            prefix_groups = [
                PrefixGroup((item,), item.prefix)
                for prefix_group in prefix_groups
                for item in prefix_group.items
            ]
        batches = split_by_tokens(prefix_groups, 1 if self.deterministic else MAX_PREFILL_TOKENS)
        new = [self._prefill(batch) for batch in batches]
        sequences = self._finish_prefills()
        self._pending_prefills = new
        return self._finished(sequences)

    @_guarded
    def step(self) -> Finished:
        """See :class:`evalkit.inference.base.Decoder`."""
        if self._pending_prefills:
            return self._finished(self._finish_prefills())
        with self.stats.stage("decode"):
            self._compact()
            sequences = self._decoding()
            for batch, hidden in self._decode(sequences):
                self._accept(batch, self._select_tokens(batch, hidden))
            self.stats.counts["steps"] += 1
        for kv_cache in self._kv_caches:
            kv_cache.advance()
        return self._finished(sequences)

    def preempt(self, keep: int) -> list[Prepared]:
        """See :class:`evalkit.inference.base.Decoder`."""
        preempted = self._sequences()[keep:]
        for sequence in preempted:
            sequence.preempt()
        self._kv_caches = [kv_cache for kv_cache in self._kv_caches if kv_cache.active_groups()]
        self._pending_prefills = [each for each in self._pending_prefills if each.remaining()]
        return [sequence.item for sequence in preempted]

    def _decoding(self) -> list[SequenceState]:
        """Unfinished sequences in KV caches."""
        return [sequence for kv_cache in self._kv_caches for sequence in kv_cache.running]

    def _sequences(self) -> list[SequenceState]:
        """Unfinished sequences in KV caches, and all of pending prefills."""
        pending = [each for prefill in self._pending_prefills for each in prefill.remaining()]
        return self._decoding() + pending

    def _read(self, batch: PrefillBatch, attend: AttentionFn, mix: LinearAttentionFn) -> tuple[Tensor, int]:
        """Hidden states ``[T, hidden]`` of a batch after the last layer, and its number of visual tokens."""
        with self.stats.stage("vision"):
            first_items = [slices.prefix_group.items[0] for slices in batch.group_slices]
            features = self.vision_encoder.features(
                first_items, self.stats, uncached_vision=self.uncached_vision, alone=self.deterministic
            )
        with self.stats.stage("prefill"):
            ids = to_device(batch.token_ids, self.model.device)
            inputs = insert_features(
                self.model.get_input_embeddings()(ids),
                batch.token_ids,
                features,
                self.generation_tokens.placeholder_token_ids,
            )
            hidden = self._forward(inputs, batch.positions, attend, mix)
        return hidden, sum(len(each.tokens) for each in features)

    def _prefill(self, prefix_groups: Sequence[PrefixGroup]) -> _PendingPrefill:
        """Launch the prefill of prompts in one call of the language model; waits for nothing on a GPU."""
        batch = prefill_batch_of(prefix_groups, self.installed)
        states = PrefillStates(batch)
        hidden, visual = self._read(batch, batch.attend, states.mix)
        with self.stats.stage("prefill"):
            last = torch.tensor([suffix.stop - 1 for suffix in batch.suffixes])
            sequences = [
                SequenceState(item, next_position, self._budget(item))
                for item, next_position in zip(batch.items, batch.next_position, strict=True)
            ]
            states.hand_over(sequences)
            first_tokens = self._select_tokens(sequences, hidden[to_device(last, hidden.device)])
            self.stats.counts["visual"] += visual
            self.stats.counts["prefill"] += len(batch.token_ids)
            self.stats.counts["prompt"] += sum(item.length for item in batch.items)
            return _PendingPrefill(batch, sequences, first_tokens)

    def _budget(self, item: Prepared) -> ReasoningBudget | None:
        if item.reasoning_tokens is None:
            return None
        return ReasoningBudget.of(item.prompt, item.reasoning_tokens, item.max_new_tokens, self.text)

    def _finish_prefills(self) -> list[SequenceState]:
        """Let the sequences of pending prefills accept their first tokens, and move the unfinished ones into
        KV caches. Returns all these sequences; if it fails, it can be repeated.
        """
        sequences: list[SequenceState] = []
        new: list[KVCache] = []
        with self.stats.stage("prefill"):
            for pending in self._pending_prefills:
                if pending.first_tokens is not None:
                    self._accept(pending.sequences, pending.first_tokens)
                    pending.first_tokens = None
                sequences += pending.remaining()
                new += kv_caches_of(pending.batch, pending.sequences)
        self._kv_caches = [*self._kv_caches, *new]  # merged before the next step: more may be added till then
        self._pending_prefills = []
        return sequences

    def _decode(self, sequences: Sequence[SequenceState]) -> Iterator[tuple[Sequence[SequenceState], Tensor]]:
        """Batches of running sequences, with hidden states ``[m, hidden]`` after the last token of each."""
        if self.deterministic:
            yield from self._decode_in_fixed_shapes(sequences)
            return
        states = DecodeStates(sequences)
        forward = partial(self._forward_tokens, mix=states.mix)
        hidden = self._graph_runner.step(self._kv_caches, forward, self._positions)
        if hidden is None:
            metadata = [
                each.decode_metadata(self._num_key_value_groups, self.model.dtype) for each in self._kv_caches
            ]
            attend = DecodeAttention(self._kv_caches, metadata).attend
            ids = to_device(last_tokens(sequences), self.model.device)
            hidden = forward(ids, self._positions(sequences), attend)
        yield sequences, hidden
        states.commit()

    def _decode_in_fixed_shapes(
        self, sequences: Sequence[SequenceState]
    ) -> Iterator[tuple[Sequence[SequenceState], Tensor]]:
        """See :mod:`evalkit.inference.fixed_shapes`; hidden states beyond the sequences are padding."""
        slots = next_cache_slots(self._kv_caches)
        for part in fixed_batches(len(sequences)):
            batch = sequences[part]
            ids = to_device(padded(last_tokens(batch)), self.model.device)
            attend = SingleDecodeAttention(slots[part]).attend
            states = DecodeStates(batch)
            yield batch, self._forward_tokens(ids, padded(self._positions(batch)), attend, states.mix)
            states.commit()

    def _forward_tokens(
        self, ids: Tensor, positions: Tensor, attend: AttentionFn, mix: LinearAttentionFn
    ) -> Tensor:
        """Hidden states ``[m, hidden]`` of one token of each sequence."""
        embeddings = self.model.get_input_embeddings()(ids)
        with uncompiled(self.model.model.language_model.layers):
            return self._forward({"inputs_embeds": embeddings[None]}, positions, attend, mix)

    def _forward(
        self, inputs: dict[str, Any], positions: Tensor, attend: AttentionFn, mix: LinearAttentionFn
    ) -> Tensor:
        """Hidden states ``[T, hidden]`` of the language model after its last layer."""
        language_model = self.model.model.language_model
        with (
            linear_attention(language_model, mix),
            text_attention(language_model, attend) as attention_kwargs,
        ):
            output = language_model(
                **inputs,
                **attention_kwargs,
                position_ids=to_device(positions, self.model.device).contiguous(),
                attention_mask=None,
                use_cache=False,
            )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def _positions(self, sequences: Sequence[SequenceState]) -> Tensor:
        """Position ids ``[1 + R, 1, m]`` of the last token of every sequence."""
        next_position = torch.stack([sequence.next_position for sequence in sequences], dim=1)
        lengths = torch.tensor([sequence.item.length for sequence in sequences])
        index = lengths + torch.tensor([len(sequence.token_ids) - 1 for sequence in sequences])
        # float64 whatever the variant: a captured step keeps the dtype that it was made with.
        step = torch.tensor(self.installed.position_id_builder.text_steps(), dtype=torch.float64)
        return positions_after(next_position, step, lengths, index[:, None]).transpose(1, 2)

    def _select_tokens(self, sequences: Sequence[SequenceState], hidden: Tensor) -> AsyncHostCopy:
        return select_tokens(self.model.lm_head, hidden, sequences, self.generation_tokens.banned_token_ids)

    def _accept(self, sequences: Sequence[SequenceState], selected: AsyncHostCopy) -> None:
        """Append the selected tokens to their sequences, preempted ones excepted."""
        for sequence, token, margin, finite in zip(sequences, *selected.wait(), strict=True):
            if sequence.finish_reason is None and not finite:
                sequence.fail(_not_finite(len(sequence.token_ids), self.model.dtype))
            elif sequence.finish_reason is None:
                sequence.accept(token, margin, self.generation_tokens.stop_token_ids)
        self.stats.counts["decoded"] += len(sequences)

    def _compact(self) -> None:
        """Drop finished groups if half of all sequences have finished, merge caches of one bucket, and
        enlarge caches whose slots are used up.
        """
        buckets = {kv_cache.bucket for kv_cache in self._kv_caches}
        held = len(all_sequences(self._kv_caches))
        if len(buckets) < len(self._kv_caches) or 2 * len(self._decoding()) <= held:
            self._kv_caches = _merged_by_bucket(self._kv_caches)
        for number, kv_cache in enumerate(self._kv_caches):
            if kv_cache.next_length > kv_cache.slots:
                larger = kv_cache.slots + kv_cache.slots // 2
                self._kv_caches[number] = merge_kv_caches([(kv_cache, kv_cache.active_groups())], larger)

    def _finished(self, sequences: Sequence[SequenceState]) -> Finished:
        self._kv_caches = [kv_cache for kv_cache in self._kv_caches if kv_cache.active_groups()]
        if not self._kv_caches:
            self._graph_runner.release()
        return [
            (sequence.item, self._generation(sequence, sequence.finish_reason))
            for sequence in sequences
            if sequence.finish_reason is not None
        ]

    def _generation(self, sequence: SequenceState, finish_reason: FinishReason) -> Generation:
        if sequence.error is not None:
            return Generation("", (), "error", error=sequence.error)
        return Generation(
            self.text(sequence.token_ids), tuple(sequence.token_ids), finish_reason, round(sequence.margin, 6)
        )


def _merged_by_bucket(kv_caches: Sequence[KVCache]) -> list[KVCache]:
    """The active groups of caches, in one cache for each bucket."""
    buckets: dict[tuple[int, int], list[tuple[KVCache, list[int]]]] = {}
    for kv_cache in kv_caches:
        if active := kv_cache.active_groups():
            buckets.setdefault(kv_cache.bucket, []).append((kv_cache, active))
    merged = []
    for (_, slots), parts in buckets.items():
        kv_cache, active = parts[0]
        unchanged = len(parts) == 1 and len(active) == len(kv_cache.sequences)
        merged.append(kv_cache if unchanged else merge_kv_caches(parts, slots))
    return merged


_WIDER = {torch.float16: "try `--dtype bfloat16`", torch.bfloat16: "try `--dtype float32`"}


def _not_finite(place: int, dtype: torch.dtype) -> str:
    """The error of an answer whose token at a place has logits that are not finite."""
    name = str(dtype).removeprefix("torch.")
    fix = _WIDER.get(dtype, "the checkpoint's weights, or its RoPE variant's positions, make it so")
    return f"the logits of token {place + 1} of its answer are not finite in {name}; {fix}"
