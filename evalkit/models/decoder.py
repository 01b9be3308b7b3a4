"""Greedy answers of a transformers model: packed prompts, then one batch that rows leave and enter.

A prompt's positions are those that it has alone; generated token ``k`` sits at ``following + k * step``.
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

from evalkit.errors import OutOfMemory
from evalkit.models.attention import Attend, text_attention
from evalkit.models.base import PREFILL_TOKENS, Finished, Unit
from evalkit.models.compile import uncompiled
from evalkit.models.generation import DecodingRules, Row
from evalkit.models.graphs import Capture, Recorder, Recording, slots_of
from evalkit.models.packed import Pack, packed, packs
from evalkit.models.slabs import Growing, Slab, joined, of_pack
from evalkit.models.transfer import Fetching, sent
from evalkit.models.vision import Vision, inject
from evalkit.rope.install import Installed
from evalkit.rope.placement import positions_after
from evalkit.stats import Stats
from evalkit.types import FinishReason, Generation, Prepared

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
        self.vision.forget()
        self._forget_recording()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise OutOfMemory(reason)

    return guarded


@dataclass
class _Reading:
    """Prompts that were read in one call, and ``first``: their first tokens on their way, until the rows have
    taken them.
    """

    pack: Pack
    rows: list[Row]
    first: Fetching | None


@dataclass
class HfDecoder:
    """See :class:`evalkit.models.base.Decoder`; ``model`` has a variant ``installed``; ``capture`` records
    steps.
    """

    model: Any
    installed: Installed
    vision: Vision
    rules: DecodingRules
    text: Callable[[Sequence[int]], str]
    stats: Stats = field(default_factory=Stats)
    one_by_one: bool = False
    capture: Capture | None = None
    _slabs: list[Slab] = field(default_factory=list)
    _readings: list[_Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._recorder = self.capture and Recorder(self.capture, self._forward, _groups(self.model))

    @property
    def live(self) -> list[Prepared]:
        """See :class:`evalkit.models.base.Decoder`."""
        return [row.item for row in self._rows()]

    @property
    def tokens(self) -> int:
        """See :class:`evalkit.models.base.Decoder`."""
        read = sum(len(reading.pack.token_ids) for reading in self._readings)
        return read + sum(slab.columns for slab in self._slabs)

    @_guarded
    def add(self, units: Sequence[Unit]) -> Finished:
        """See :class:`evalkit.models.base.Decoder`."""
        self._forget_recording()  # its slabs won't be alone any more
        new = [self._read(run) for run in packs(units, PREFILL_TOKENS)]
        rows = self._settled()
        self._readings = new
        return self._finished(rows)

    @_guarded
    def step(self) -> Finished:
        """See :class:`evalkit.models.base.Decoder`."""
        if self._readings:
            return self._finished(self._settled())
        with self.stats.stage("decode"):
            self._make_room()
            rows = [row for slab in self._slabs for row in slab.live]
            self._accept(rows, self._chosen(rows, self._next(rows)))
            self.stats.counts["steps"] += 1
        for slab in self._slabs:
            slab.advance()
        return self._finished(rows)

    def drop(self, keep: int) -> list[Prepared]:
        """See :class:`evalkit.models.base.Decoder`."""
        forgotten = self._rows()[keep:]
        for row in forgotten:
            row.finish = "error"
        self._slabs = [slab for slab in self._slabs if slab.living()]
        self._readings = [each for each in self._readings if _kept(each.rows)]
        return [row.item for row in forgotten]

    def _rows(self) -> list[Row]:
        """Those that go on, and those whose first token nobody was told yet."""
        going = [row for slab in self._slabs for row in slab.live]
        return going + [row for reading in self._readings for row in _kept(reading.rows)]

    def _read(self, units: Sequence[Unit]) -> _Reading:
        """Let prompts be read in one call; waits for nothing on a GPU."""
        pack = packed(units, self.installed)
        with self.stats.stage("vision"):
            firsts = [unit.items[0] for unit in units]
            features = self.vision.features(firsts, self.stats, one_by_one=self.one_by_one)
        with self.stats.stage("prefill"):
            ids = sent(pack.token_ids, self.model.device)
            inputs = inject(self.model.get_input_embeddings()(ids), pack.token_ids, features, self.rules)
            hidden = self._call(inputs, pack.positions, pack.attend)
            ends = torch.tensor([rest.stop - 1 for rest in pack.rests])
            rows = [Row(*pair) for pair in zip(pack.items, pack.following, strict=True)]
            first = self._chosen(rows, hidden[sent(ends, hidden.device)])
            self.stats.counts["visual"] += sum(len(each.tokens) for each in features)
            self.stats.counts["prefill"] += len(ids)
            self.stats.counts["prompt"] += sum(item.length for item in pack.items)
            return _Reading(pack, rows, first)

    def _settled(self) -> list[Row]:
        """Let the prompts that were read take their first tokens, and keep what those go on from that do;
        their rows. If that fails, it can be tried again.
        """
        rows: list[Row] = []
        new: list[Slab] = []
        with self.stats.stage("prefill"):
            for reading in self._readings:
                if reading.first is not None:
                    self._accept(reading.rows, reading.first)
                    reading.first = None
                rows += _kept(reading.rows)
                new += of_pack(reading.pack, reading.rows)
        self._slabs = [*self._slabs, *new]  # joined when they are needed: more may come
        self._readings = []
        return rows

    def _next(self, rows: Sequence[Row]) -> Tensor:
        """Hidden states ``[m, hidden]`` after the last token of every living row."""
        recording = self._recording()
        if recording is not None:
            slots = slots_of(self._slabs)
            return recording.step([row.token_ids[-1] for row in slots], self._positions(slots))
        groups = _groups(self.model)
        steps = [slab.step(groups, self.model.dtype) for slab in self._slabs]
        ids = sent(torch.tensor([row.token_ids[-1] for row in rows]), self.model.device)
        return self._forward(ids, self._positions(rows), Growing(self._slabs, steps).attend)

    def _recording(self) -> Recording | None:
        """A recording of the next step, where there is one."""
        if self._recorder is None:
            return None
        try:
            before = self._recorder.recordings
            found = self._recorder.of(self._slabs, lambda: self._positions(slots_of(self._slabs)))
            self.stats.counts["graphs"] += self._recorder.recordings - before
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # whatever a library does that can't be recorded
            self._recorder = None
            warnings.warn(f"decoding goes on without CUDA graphs: {str(error).splitlines()[0]}", stacklevel=2)
            return None
        return found

    def _forget_recording(self) -> None:
        """Give back what a recording and its slabs hold."""
        if self._recorder is not None:
            self._recorder.forget()

    def _forward(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states of single tokens. Compiled layers take longer to enter than these take to compute."""
        embeddings = self.model.get_input_embeddings()(ids)
        with uncompiled(self.model.model.language_model.layers):
            return self._call({"inputs_embeds": embeddings[None]}, positions, attend)

    def _positions(self, rows: Sequence[Row]) -> Tensor:
        """Positions ``[1 + R, 1, m]`` of the last token of every row."""
        following = torch.stack([row.following for row in rows], dim=1)
        lengths = torch.tensor([row.item.length for row in rows])
        index = lengths + torch.tensor([len(row.token_ids) - 1 for row in rows])
        step = torch.tensor(self.installed.positioner.steps(), dtype=torch.float64)
        # float64 whatever their values: a recording keeps what it was made with.
        return positions_after(following, step, lengths, index[:, None]).transpose(1, 2)

    def _call(self, inputs: dict[str, Any], positions: Tensor, attend: Attend) -> Tensor:
        """Hidden states ``[T, hidden]`` of the language model after its last layer."""
        language_model = self.model.model.language_model
        with text_attention(language_model, attend) as handed:
            output = language_model(
                **inputs,
                **handed,
                position_ids=sent(positions, self.model.device).contiguous(),
                attention_mask=None,
                use_cache=False,
            )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def _chosen(self, rows: Sequence[Row], hidden: Tensor) -> Fetching:
        """Of every row the likeliest token, if it has choices among these, its margin, and whether all logits
        are finite; of equals, the lowest id.
        """
        head = self.model.lm_head
        logits = _logits(head, hidden.to(head.weight.device))  # a model may be spread over devices
        finite = _finite(logits)
        banned = torch.tensor(self.rules.banned, dtype=torch.long)
        logits.index_fill_(1, sent(banned, logits.device), -torch.inf)
        for own, row in zip(logits, rows, strict=True):
            if row.item.choices:
                ids = sent(torch.tensor(row.item.choices), logits.device)
                among = own[ids]
                own.fill_(-torch.inf)
                own[ids] = among
        best = logits.argmax(dim=-1, keepdim=True)
        highest = logits.gather(1, best)
        margins = highest - logits.scatter(1, best, -torch.inf).amax(dim=-1, keepdim=True)
        return Fetching(best[:, 0], margins[:, 0], finite)

    def _accept(self, rows: Sequence[Row], chosen: Fetching) -> None:
        """Let rows take their tokens, but for those that were dropped."""
        for row, token, margin, finite in zip(rows, *chosen.lists(), strict=True):
            if row.finish is None and not finite:
                row.fail(_not_finite(len(row.token_ids), self.model.dtype))
            elif row.finish is None:
                row.accept(token, margin, self.rules.stop)
        self.stats.counts["decoded"] += len(rows)

    def _make_room(self) -> None:
        """Leave out what is finished if that is much, join slabs of a kind, and widen those that are full."""
        live = len(self._rows())
        scattered = len({slab.kind for slab in self._slabs}) < len(self._slabs)
        if scattered or 2 * live <= sum(len(unit) for slab in self._slabs for unit in slab.rows):
            self._slabs = _arranged(self._slabs)
        for number, slab in enumerate(self._slabs):
            columns = slab.kind[1]
            if slab.reach > columns:
                self._slabs[number] = joined([(slab, slab.living())], columns + columns // 2)

    def _finished(self, rows: Sequence[Row]) -> Finished:
        self._slabs = [slab for slab in self._slabs if slab.living()]
        if not self._slabs:
            self._forget_recording()
        return [(row.item, self._answer(row, row.finish)) for row in rows if row.finish is not None]

    def _answer(self, row: Row, finish: FinishReason) -> Generation:
        if row.error is not None:
            return Generation("", (), "error", error=row.error)
        return Generation(self.text(row.token_ids), tuple(row.token_ids), finish, round(row.margin, 6))


def _arranged(slabs: Sequence[Slab]) -> list[Slab]:
    """The living units, with one slab for each kind."""
    kinds: dict[tuple[int, int], list[tuple[Slab, list[int]]]] = {}
    for slab in slabs:
        if slab.living():
            kinds.setdefault(slab.kind, []).append((slab, slab.living()))
    return [
        parts[0][0] if len(parts) == 1 and parts[0][0].full else joined(parts, columns)
        for (_, columns), parts in kinds.items()
    ]


def _kept(rows: Sequence[Row]) -> list[Row]:
    """Those that were not dropped."""
    return [row for row in rows if row.finish != "error" or row.error is not None]


def _groups(model: Any) -> int:
    """Query heads of a key-value head."""
    config = model.config.get_text_config()
    return int(config.num_attention_heads // config.num_key_value_heads)


def _finite(logits: Tensor) -> Tensor:
    """Whether all of a row's logits ``[m, vocabulary]`` are finite: one pass, since NaN is the least and the
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
