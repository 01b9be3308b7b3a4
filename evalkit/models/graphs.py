"""Steps of decoding as CUDA graphs: what a step launches is recorded once, and then launched all at once.

Launched one by one, the kernels of a step take longer to launch than to run. A recording is bound to its
slabs: it computes all of their slots, those of finished rows too, and lasts until the slabs change or its
columns are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from evalkit.models.attention import Attend
from evalkit.models.generation import Row
from evalkit.models.slabs import Growing, Slab, Step
from evalkit.models.transfer import sent

AFTER = 4
"""Steps that the same slabs must have made before one is recorded, which takes as long as a few of them."""

WORTH = 16
"""Steps that must still be to come, as far as the longest answer may go."""

AHEAD = 64
"""Steps that a recording has columns for."""

Work = Callable[[], Tensor]

Capture = Callable[[Work], Work]
"""Makes of some work, whose inputs stay at their place in memory, the same work recorded."""

Forward = Callable[[Tensor, Tensor, Attend], Tensor]
"""Hidden states ``[m, hidden]`` of tokens ``[m]`` at positions ``[1 + R, 1, m]``."""


@dataclass(frozen=True)
class _Replay:
    """A graph, where its result will be, and the work, which holds the memory that the graph reads."""

    graph: Any
    result: Tensor
    work: Work

    def __call__(self) -> Tensor:
        self.graph.replay()
        return self.result


def cuda_graph(work: Work) -> Work:
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
    return _Replay(graph, result, work)


@dataclass
class Recording:
    """One step of all slots of some slabs, of which ``widths`` columns are seen: the token of each
    ``ids [N]``, its ``positions [1 + R, 1, N]`` and its column in each slab.
    """

    slabs: Sequence[Slab]
    widths: Sequence[int]
    ids: Tensor
    positions: Tensor
    columns: Sequence[Tensor]
    work: Work

    def fits(self, slabs: Sequence[Slab]) -> bool:
        """Whether the next step of ``slabs`` can be made by it."""
        return _same(self.slabs, slabs) and all(
            slab.reach <= width for slab, width in zip(slabs, self.widths, strict=True)
        )

    def step(self, ids: Sequence[int], positions: Tensor) -> Tensor:
        """Hidden states of the living rows, from tokens and positions of all slots."""
        self.ids.copy_(sent(torch.tensor(ids), self.ids.device))
        self.positions.copy_(sent(positions, self.positions.device))
        for slab, columns, width in zip(self.slabs, self.columns, self.widths, strict=True):
            slab.mark()
            columns.copy_(sent(torch.tensor(_columns(slab, width)), columns.device))
        hidden = self.work()
        living = [number for number, row in enumerate(slots_of(self.slabs)) if row.finish is None]
        return hidden[sent(torch.tensor(living), hidden.device)]


@dataclass
class Recorder:
    """Records steps where that pays.

    Attributes:
        capture: records.
        forward: the language model.
        groups: query heads of a key-value head.
    """

    capture: Capture
    forward: Forward
    groups: int
    recordings: int = 0
    _slabs: Sequence[Slab] = ()
    _steps: int = 0
    _last: Recording | None = field(default=None, repr=False)

    def of(self, slabs: Sequence[Slab], like: Callable[[], Tensor]) -> Recording | None:
        """A recording of the next step of ``slabs``; None as long as it is to be made unrecorded. ``like``:
        positions of all slots.
        """
        self._steps = self._steps + 1 if _same(self._slabs, slabs) else 0
        self._slabs = list(slabs)
        if self._last is not None and self._last.fits(slabs):
            return self._last
        self._last = None  # its memory is free for the next one
        if self._steps >= AFTER and _left(slabs) >= WORTH:
            self._last = self._recorded(slabs, like())
            self.recordings += 1
        return self._last

    def forget(self) -> None:
        """Give the memory back."""
        self._last, self._slabs, self._steps = None, (), 0

    def _recorded(self, now: Sequence[Slab], like: Tensor) -> Recording:
        slabs = list(now)
        device = slabs[0].seen.device
        widths = [slab.rounded(slab.reach + (AHEAD - 1) * slab.kind[0]) for slab in slabs]
        ids = sent(torch.tensor([row.token_ids[-1] for row in slots_of(slabs)]), device)
        positions = sent(like, device).contiguous()
        columns = [
            sent(torch.tensor(_columns(slab, width)), device)
            for slab, width in zip(slabs, widths, strict=True)
        ]
        places = [_places(slab) for slab in slabs]
        dtype = slabs[0].keys[0].dtype

        def work() -> Tensor:
            steps = [
                Step(units, slots, column, slab.bias(width, self.groups, dtype))
                for slab, (units, slots), column, width in zip(slabs, places, columns, widths, strict=True)
            ]
            return self.forward(ids, positions, Growing(slabs, steps).attend)

        return Recording(slabs, widths, ids, positions, columns, self.capture(work))


def slots_of(slabs: Sequence[Slab]) -> list[Row]:
    """Rows of all slots, finished or not."""
    return [row for slab in slabs for unit in slab.rows for row in unit]


def _left(slabs: Sequence[Slab]) -> int:
    """Steps that the longest answer may still take."""
    return max(row.item.max_new_tokens - len(row.token_ids) for slab in slabs for row in slab.live)


def _same(some: Sequence[Slab], others: Sequence[Slab]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


def _places(slab: Slab) -> tuple[Tensor, Tensor]:
    """Unit and number of every slot."""
    slots = torch.arange(len(slab.rows) * slab.kind[0], device=slab.seen.device)
    return slots // slab.kind[0], slots


def _columns(slab: Slab, width: int) -> list[int]:
    """The next column of every slot; a finished unit's may be any, since nobody reads it any more."""
    return [min(size + slot, width - 1) for size in slab.filled for slot in range(slab.kind[0])]
