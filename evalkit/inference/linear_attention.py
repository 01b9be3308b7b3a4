"""Layers without attention (gated delta nets) in the engine: what they remember of each sequence.

Such a layer has no keys and values but a state of fixed size: the last inputs of its convolution, and a
matrix for every head. In a prefill batch each sequence runs by itself: a group's prefix once, and every
suffix from the state after it, whether or not the prefix is shared. In a decode step all running sequences
are one batch of one token each. No call holds padding that a sequence would see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from evalkit.inference.prefill import PrefillBatch, length_of
from evalkit.inference.sequence import LinearState, SequenceState
from evalkit.rope.hf.signature import CallSignature

RunLayer = Callable[[Tensor, LinearState | None], tuple[Tensor, LinearState]]
"""A layer over sequences of one length, ``[n, S, hidden]``, after their states: its output, and their states
after it."""


class LinearAttentionFn(Protocol):
    """One layer over a batch of sequences without padding, one after the other in one dimension:
    ``hidden [1, T, hidden]``; the result is shaped like it.
    """

    def __call__(self, layer: int, hidden: Tensor, run: RunLayer) -> Tensor: ...


def linear_layers(language_model: Any) -> list[Any]:
    """The gated delta nets of a language model, from its first layer to its last; usually none."""
    return [layer.linear_attn for layer in language_model.layers if hasattr(layer, "linear_attn")]


@contextmanager
def linear_attention(language_model: Any, mix: LinearAttentionFn) -> Iterator[None]:
    """Within, the gated delta nets of a language model are called by ``mix``."""
    replaced = [(module, module.__dict__.get("forward")) for module in linear_layers(language_model)]
    try:
        for module, _ in replaced:
            module.forward = partial(
                _forward, partial(_run_layer, module, module.forward), module.layer_idx, mix
            )
        yield
    finally:
        for module, own in replaced:
            if own is None:
                module.__dict__.pop("forward", None)
            else:
                module.forward = own


def _forward(run: RunLayer, layer: int, mix: LinearAttentionFn, /, hidden_states: Tensor, **_: Any) -> Tensor:
    return mix(layer, hidden_states, run)


def _run_layer(
    module: Any, forward: Callable[..., Tensor], hidden: Tensor, state: LinearState | None
) -> tuple[Tensor, LinearState]:
    cache = _StateCache(module.layer_idx, state)
    name = CallSignature.of(type(module).forward).cache
    if name is None:
        raise TypeError(f"`{type(module).__name__}.forward` takes no cache in this transformers version")
    output = forward(hidden_states=hidden, attention_mask=None, **{name: cache})
    return output, cache.state


class _StateCache:
    """What a gated delta net asks its cache in transformers 5.17 and later, for one layer. States are
    replaced, never written into: a group's suffixes start from the same one.
    """

    def __init__(self, layer: int, state: LinearState | None) -> None:
        # The kernel of one step writes into the convolution's state.
        self._conv = None if state is None else state[0].clone()
        self._recurrent = None if state is None else state[1]
        self._previous = state is not None
        self.layers: Mapping[int, Any] = {
            layer: SimpleNamespace(
                record_past=False, conv_states=[self._conv], recurrent_states=[self._recurrent]
            )
        }

    @property
    def state(self) -> LinearState:
        """The state after the call."""
        assert self._conv is not None
        assert self._recurrent is not None
        return self._conv, self._recurrent

    def has_previous_state(self, layer_idx: int, state_idx: int = 0) -> bool:
        return self._previous

    def is_recording_past(self, layer_idx: int) -> bool:
        return False

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self._conv

    def get_recurrent_state(self, layer_idx: int, state_idx: int = 0) -> Tensor | None:
        return self._recurrent

    def update_conv_state(
        self, conv_states: Tensor, layer_idx: int, state_idx: int = 0, conv_kernel_size: int = 0, **_: Any
    ) -> Tensor:
        """The new inputs ``[n, channels, S]`` after those of before, all that the convolution needs."""
        if self._conv is None:
            missing = max(0, conv_kernel_size - conv_states.shape[-1])
            seen = torch.nn.functional.pad(conv_states, (missing, 0))
        else:
            seen = torch.cat([self._conv, conv_states], dim=-1)
        self._conv = seen[..., -conv_kernel_size:].contiguous()
        return seen

    def update_recurrent_state(self, recurrent_states: Tensor, layer_idx: int, **_: Any) -> Tensor:
        self._recurrent = recurrent_states
        return recurrent_states


@dataclass
class PrefillStates:
    """The layers of a prefill batch; ``states``: of every layer that has run, those after each prompt."""

    batch: PrefillBatch
    states: dict[int, list[LinearState]] = field(default_factory=dict)

    def mix(self, layer: int, hidden: Tensor, run: RunLayer) -> Tensor:
        """See :class:`LinearAttentionFn`."""
        found = torch.empty_like(hidden)
        after: list[LinearState] = []
        for slices in self.batch.group_slices:
            state = None
            if length_of(slices.prefix):
                found[:, slices.prefix], state = run(hidden[:, slices.prefix], None)
            for suffix in slices.suffixes:
                found[:, suffix], end = run(hidden[:, suffix], state)
                after.append(end)
        self.states[layer] = after
        return found

    def hand_over(self, sequences: Sequence[SequenceState]) -> None:
        """Give the states to the sequences of the batch's prompts."""
        for number, sequence in enumerate(sequences):
            sequence.linear_states = {layer: states[number] for layer, states in self.states.items()}


@dataclass
class DecodeStates:
    """The layers of a decode step; tokens beyond ``sequences`` are padding."""

    sequences: Sequence[SequenceState]
    _new: dict[int, LinearState] = field(default_factory=dict)

    def mix(self, layer: int, hidden: Tensor, run: RunLayer) -> Tensor:
        """See :class:`LinearAttentionFn`."""
        own = [sequence.linear_states[layer] for sequence in self.sequences]
        own += [own[0]] * (hidden.shape[1] - len(own))
        conv, recurrent = (torch.cat(parts) for parts in zip(*own, strict=True))
        output, self._new[layer] = run(hidden.transpose(0, 1), (conv, recurrent))
        return output.transpose(0, 1)

    def commit(self) -> None:
        """Let the sequences go on from here; before that a step can be repeated."""
        for number, sequence in enumerate(self.sequences):
            one = slice(number, number + 1)
            sequence.linear_states = {
                layer: (conv[one], recurrent[one]) for layer, (conv, recurrent) in self._new.items()
            }
