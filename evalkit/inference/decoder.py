"""Greedy answers of a transformers model: prefill_batch_of prompts, then one batch that sequences leave and enter.

A prompt's positions are those that it has alone; generated token ``k`` sits at ``next_position + k * step``.
What is answered depends on the prompt alone: in float32 its tokens are the same in every company.

The first tokens of prompts are fetched in the call after the one that reads them, so that a GPU has work
while the next prompts are laid out.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
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
from evalkit.inference.cuda_graphs import Capture, CapturedStep, GraphRunner, all_sequences
from evalkit.inference.kv_cache import DecodeAttention, KVCache, kv_caches_of, merge_kv_caches
from evalkit.inference.prefill import PrefillBatch, prefill_batch_of, split_by_tokens
from evalkit.inference.sequence import SequenceState
from evalkit.inference.stopping import GenerationTokens
from evalkit.inference.vision_encoder import VisionEncoder, insert_features
from evalkit.rope.batch import positions_after
from evalkit.rope.hf.install import Installed

P = ParamSpec("P")
T = TypeVar("T")


def _guarded(work: Callable[Concatenate[HfDecoder, P], T]) -> Callable[Concatenate[HfDecoder, P], T]:
    """Without gradients; running out of memory frees what was made till then, and is told as what it is."""

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
        self._release_graph()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(reason)

    return guarded


@dataclass
class _PendingPrefill:
    """Prompts that were read in one call, and ``first``: their first tokens on their way, until the sequences have
    taken them.
    """

    batch: PrefillBatch
    sequences: list[SequenceState]
    first: AsyncHostCopy | None


@dataclass
class HfDecoder:
    """See :class:`evalkit.inference.base.Decoder`; ``model`` has a variant ``installed``; ``capture`` records
    steps.
    """

    model: Any
    installed: Installed
    vision_encoder: VisionEncoder
    generation_tokens: GenerationTokens
    text: Callable[[Sequence[int]], str]
    stats: EngineCounters = field(default_factory=EngineCounters)
    uncached_vision: bool = False
    capture: Capture | None = None
    _kv_caches: list[KVCache] = field(default_factory=list)
    _pending_prefills: list[_PendingPrefill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._graph_runner = self.capture and GraphRunner(
            self.capture, self._forward, _num_key_value_groups(self.model)
        )

    @property
    def running(self) -> list[Prepared]:
        """See :class:`evalkit.inference.base.Decoder`."""
        return [sequence.item for sequence in self._sequences()]

    @property
    def tokens(self) -> int:
        """See :class:`evalkit.inference.base.Decoder`."""
        read = sum(len(pending.batch.token_ids) for pending in self._pending_prefills)
        return read + sum(kv_cache.capacity for kv_cache in self._kv_caches)

    @_guarded
    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        """See :class:`evalkit.inference.base.Decoder`."""
        self._release_graph()  # its kv_caches won't be alone any more
        new = [self._prefill(run) for run in split_by_tokens(prefix_groups, MAX_PREFILL_TOKENS)]
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
            sequences = [sequence for kv_cache in self._kv_caches for sequence in kv_cache.running]
            self._accept(sequences, self._select_tokens(sequences, self._decode(sequences)))
            self.stats.counts["steps"] += 1
        for kv_cache in self._kv_caches:
            kv_cache.advance()
        return self._finished(sequences)

    def preempt(self, keep: int) -> list[Prepared]:
        """See :class:`evalkit.inference.base.Decoder`."""
        forgotten = self._sequences()[keep:]
        for sequence in forgotten:
            sequence.finish_reason = "error"
        self._kv_caches = [kv_cache for kv_cache in self._kv_caches if kv_cache.active_groups()]
        self._pending_prefills = [each for each in self._pending_prefills if _not_preempted(each.sequences)]
        return [sequence.item for sequence in forgotten]

    def _sequences(self) -> list[SequenceState]:
        """Those that go on, and those whose first token nobody was told yet."""
        going = [sequence for kv_cache in self._kv_caches for sequence in kv_cache.running]
        return going + [
            sequence for pending in self._pending_prefills for sequence in _not_preempted(pending.sequences)
        ]

    def _prefill(self, prefix_groups: Sequence[PrefixGroup]) -> _PendingPrefill:
        """Let prompts be read in one call; waits for nothing on a GPU."""
        batch = prefill_batch_of(prefix_groups, self.installed)
        with self.stats.stage("vision"):
            firsts = [prefix_group.items[0] for prefix_group in prefix_groups]
            features = self.vision_encoder.features(firsts, self.stats, uncached_vision=self.uncached_vision)
        with self.stats.stage("prefill"):
            ids = to_device(batch.token_ids, self.model.device)
            inputs = insert_features(
                self.model.get_input_embeddings()(ids), batch.token_ids, features, self.generation_tokens
            )
            hidden = self._call(inputs, batch.positions, batch.attend)
            ends = torch.tensor([suffix.stop - 1 for suffix in batch.suffixes])
            sequences = [SequenceState(*pair) for pair in zip(batch.items, batch.next_position, strict=True)]
            first = self._select_tokens(sequences, hidden[to_device(ends, hidden.device)])
            self.stats.counts["visual"] += sum(len(each.tokens) for each in features)
            self.stats.counts["prefill"] += len(ids)
            self.stats.counts["prompt"] += sum(item.length for item in batch.items)
            return _PendingPrefill(batch, sequences, first)

    def _finish_prefills(self) -> list[SequenceState]:
        """Let the prompts that were read take their first tokens, and keep what those go on from that do;
        their sequences. If that fails, it can be tried again.
        """
        sequences: list[SequenceState] = []
        new: list[KVCache] = []
        with self.stats.stage("prefill"):
            for pending in self._pending_prefills:
                if pending.first is not None:
                    self._accept(pending.sequences, pending.first)
                    pending.first = None
                sequences += _not_preempted(pending.sequences)
                new += kv_caches_of(pending.batch, pending.sequences)
        self._kv_caches = [*self._kv_caches, *new]  # merge_kv_caches when they are needed: more may come
        self._pending_prefills = []
        return sequences

    def _decode(self, sequences: Sequence[SequenceState]) -> Tensor:
        """Hidden states ``[m, hidden]`` after the last token of every active_groups sequence."""
        captured_step = self._captured_step()
        if captured_step is not None:
            in_graph = all_sequences(self._kv_caches)
            return captured_step.step(
                [sequence.token_ids[-1] for sequence in in_graph], self._positions(in_graph)
            )
        num_key_value_groups = _num_key_value_groups(self.model)
        steps = [
            kv_cache.decode_metadata(num_key_value_groups, self.model.dtype) for kv_cache in self._kv_caches
        ]
        ids = to_device(torch.tensor([sequence.token_ids[-1] for sequence in sequences]), self.model.device)
        return self._forward(ids, self._positions(sequences), DecodeAttention(self._kv_caches, steps).attend)

    def _captured_step(self) -> CapturedStep | None:
        """A captured_step of the next step, where there is one."""
        if self._graph_runner is None:
            return None
        try:
            before = self._graph_runner.captures
            found = self._graph_runner.captured(
                self._kv_caches, lambda: self._positions(all_sequences(self._kv_caches))
            )
            self.stats.counts["graphs"] += self._graph_runner.captures - before
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # whatever a library does that can't be recorded
            self._graph_runner = None
            warnings.warn(f"decoding goes on without CUDA graphs: {str(error).splitlines()[0]}", stacklevel=2)
            return None
        return found

    def _release_graph(self) -> None:
        """Give back what a captured_step and its kv_caches hold."""
        if self._graph_runner is not None:
            self._graph_runner.release()

    def _forward(self, ids: Tensor, positions: Tensor, attend: AttentionFn) -> Tensor:
        """Hidden states of single tokens. Compiled layers take longer to enter than these take to compute."""
        embeddings = self.model.get_input_embeddings()(ids)
        with uncompiled(self.model.model.language_model.layers):
            return self._call({"inputs_embeds": embeddings[None]}, positions, attend)

    def _positions(self, sequences: Sequence[SequenceState]) -> Tensor:
        """Positions ``[1 + R, 1, m]`` of the last token of every sequence."""
        next_position = torch.stack([sequence.next_position for sequence in sequences], dim=1)
        lengths = torch.tensor([sequence.item.length for sequence in sequences])
        index = lengths + torch.tensor([len(sequence.token_ids) - 1 for sequence in sequences])
        step = torch.tensor(self.installed.position_id_builder.text_steps(), dtype=torch.float64)
        # float64 whatever their values: a captured_step keeps what it was made with.
        return positions_after(next_position, step, lengths, index[:, None]).transpose(1, 2)

    def _call(self, inputs: dict[str, Any], positions: Tensor, attend: AttentionFn) -> Tensor:
        """Hidden states ``[T, hidden]`` of the language model after its last layer."""
        language_model = self.model.model.language_model
        with text_attention(language_model, attend) as attention_kwargs:
            output = language_model(
                **inputs,
                **attention_kwargs,
                position_ids=to_device(positions, self.model.device).contiguous(),
                attention_mask=None,
                use_cache=False,
            )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def _select_tokens(self, sequences: Sequence[SequenceState], hidden: Tensor) -> AsyncHostCopy:
        """Of every sequence the likeliest token, if it has choices among these, its margin, and whether all logits
        are finite; of equals, the lowest id.
        """
        head = self.model.lm_head
        logits = _logits(head, hidden.to(head.weight.device))  # a model may be spread over devices
        finite = _finite(logits)
        banned = torch.tensor(self.generation_tokens.banned_token_ids, dtype=torch.long)
        logits.index_fill_(1, to_device(banned, logits.device), -torch.inf)
        for own, sequence in zip(logits, sequences, strict=True):
            if sequence.item.choices:
                ids = to_device(torch.tensor(sequence.item.choices), logits.device)
                among = own[ids]
                own.fill_(-torch.inf)
                own[ids] = among
        best = logits.argmax(dim=-1, keepdim=True)
        highest = logits.gather(1, best)
        margins = highest - logits.scatter(1, best, -torch.inf).amax(dim=-1, keepdim=True)
        return AsyncHostCopy(best[:, 0], margins[:, 0], finite)

    def _accept(self, sequences: Sequence[SequenceState], chosen: AsyncHostCopy) -> None:
        """Let sequences take their tokens, but for those that were dropped."""
        for sequence, token, margin, finite in zip(sequences, *chosen.wait(), strict=True):
            if sequence.finish_reason is None and not finite:
                sequence.fail(_not_finite(len(sequence.token_ids), self.model.dtype))
            elif sequence.finish_reason is None:
                sequence.accept(token, margin, self.generation_tokens.stop_token_ids)
        self.stats.counts["decoded"] += len(sequences)

    def _compact(self) -> None:
        """Leave out what is finished if that is much, join kv_caches of a bucket, and widen those that are all_active."""
        running = len(self._sequences())
        scattered = len({kv_cache.bucket for kv_cache in self._kv_caches}) < len(self._kv_caches)
        if scattered or 2 * running <= sum(
            len(prefix_group) for kv_cache in self._kv_caches for prefix_group in kv_cache.sequences
        ):
            self._kv_caches = _merged_by_bucket(self._kv_caches)
        for number, kv_cache in enumerate(self._kv_caches):
            slots = kv_cache.bucket[1]
            if kv_cache.next_length > slots:
                self._kv_caches[number] = merge_kv_caches(
                    [(kv_cache, kv_cache.active_groups())], slots + slots // 2
                )

    def _finished(self, sequences: Sequence[SequenceState]) -> Finished:
        self._kv_caches = [kv_cache for kv_cache in self._kv_caches if kv_cache.active_groups()]
        if not self._kv_caches:
            self._release_graph()
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
    """The active_groups prefix_groups, with one kv_cache for each bucket."""
    buckets: dict[tuple[int, int], list[tuple[KVCache, list[int]]]] = {}
    for kv_cache in kv_caches:
        if kv_cache.active_groups():
            buckets.setdefault(kv_cache.bucket, []).append((kv_cache, kv_cache.active_groups()))
    return [
        parts[0][0] if len(parts) == 1 and parts[0][0].all_active else merge_kv_caches(parts, slots)
        for (_, slots), parts in buckets.items()
    ]


def _not_preempted(sequences: Sequence[SequenceState]) -> list[SequenceState]:
    """Those that were not dropped."""
    return [
        sequence for sequence in sequences if sequence.finish_reason != "error" or sequence.error is not None
    ]


def _num_key_value_groups(model: Any) -> int:
    """Query heads of a key-value head."""
    config = model.config.get_text_config()
    return int(config.num_attention_heads // config.num_key_value_heads)


def _finite(logits: Tensor) -> Tensor:
    """Whether all of a sequence's logits ``[m, vocabulary]`` are finite: one pass, since NaN is the least and the
    greatest of all.
    """
    least, greatest = torch.aminmax(logits, dim=-1)
    return least.isfinite() & greatest.isfinite()


_WIDER = {torch.float16: "try `--dtype bfloat16`", torch.bfloat16: "try `--dtype float32`"}


def _not_finite(place: int, dtype: torch.dtype) -> str:
    """Why an answer has no token at a place."""
    name = str(dtype).removeprefix("torch.")
    fix = _WIDER.get(dtype, "the checkpoint's weights, or its RoPE variant's positions, make it so")
    return f"the logits of token {place + 1} of its answer are not finite in {name}; {fix}"


def _logits(head: Any, hidden: Tensor) -> Tensor:
    """Logits ``[m, vocabulary]`` in float32: those of bfloat16 tie too often."""
    if hidden.dtype == torch.float32:
        logits: Tensor = head(hidden)
    elif hidden.is_cuda:
        logits = torch.mm(hidden, head.weight.T, out_dtype=torch.float32)
    else:
        logits = hidden.float() @ head.weight.float().T
    return logits
