"""Keys and values of answers that are being generated.

A slab holds units with the same number of prompts and of like length. A unit's columns are its prefix,
the rests of its prompts, and then one column for every prompt and step; a mask says which of them a
prompt sees. So one call attends to a whole slab, and a shared prefix is read once for all its prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from evalkit.models.generation import Row
from evalkit.models.packed import Pack, Span
from evalkit.models.transfer import sent

SMALLEST = 64
ROOM = 32
"""Generated tokens that a new unit has room for, if its answers may be that long."""


@dataclass(frozen=True)
class Step:
    """One step of the living rows of a slab: their slots ``[m]``, and the bias of all slots
    ``[U, 1, n * G, width]``.
    """

    units: Tensor
    slots: Tensor
    columns: Tensor
    bias: Tensor


@dataclass(eq=False)
class Slab:
    """``rows [U][n]``, columns in use ``filled [U]``, what a row sees ``seen [U, n, C]``; ``keys`` and
    ``values`` of every layer ``[U, KV, C, D]``.
    """

    rows: list[list[Row]]
    filled: list[int]
    seen: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def kind(self) -> tuple[int, int]:
        """Slabs of one kind can be joined: rows of a unit, and columns."""
        return self.seen.shape[1], self.seen.shape[2]

    @property
    def columns(self) -> int:
        """Tokens that there is room for."""
        return self.seen.shape[0] * self.seen.shape[2]

    @property
    def live(self) -> list[Row]:
        """Rows that go on, in the order of their slots."""
        return [row for unit in self.rows for row in unit if row.finish is None]

    def living(self) -> list[int]:
        """Units with rows that go on."""
        return [number for number, unit in enumerate(self.rows) if any(row.finish is None for row in unit)]

    @property
    def full(self) -> bool:
        """Whether every unit has rows that go on."""
        return len(self.living()) == len(self.rows)

    @property
    def reach(self) -> int:
        """Columns in use after one more step of the living units."""
        return max(self.filled[unit] for unit in self.living()) + self.kind[0]

    def step(self, groups: int, dtype: torch.dtype) -> Step:
        """Give every living row its next column; ``groups``: query heads of a key-value head."""
        units, slots, columns = self.mark()
        # GPU libraries plan anew for every width; a CPU computes all of it.
        width = self.reach if self.seen.device.type == "cpu" else self.rounded(self.reach)
        return Step(units, units * self.kind[0] + slots, columns, self.bias(width, groups, dtype))

    def mark(self) -> tuple[Tensor, Tensor, Tensor]:
        """Let every living row see its next column; its unit, its slot there, the column: ``[m]`` each."""
        places = [
            (unit, slot, self.filled[unit] + slot)
            for unit, rows in enumerate(self.rows)
            for slot, row in enumerate(rows)
            if row.finish is None
        ]
        units, slots, columns = sent(torch.tensor(places), self.seen.device).T
        self.seen[units, slots, columns] = True
        return units, slots, columns

    def bias(self, width: int, groups: int, dtype: torch.dtype) -> Tensor:
        """What is added to scores of the first ``width`` columns, 0 or minus infinity:
        ``[U, 1, n * G, width]``.
        """
        bias = torch.zeros(len(self.rows), self.kind[0], width, dtype=dtype, device=self.seen.device)
        bias.masked_fill_(~self.seen[:, :, :width], -torch.inf)
        return bias.repeat_interleave(groups, dim=1)[:, None]

    def rounded(self, width: int) -> int:
        """A number of columns that is at least ``width``, and one of few."""
        return min(self.kind[1], -(-width // SMALLEST) * SMALLEST)

    def advance(self) -> None:
        """The columns of the last step are taken."""
        living = set(self.living())
        self.filled = [size + self.kind[0] * (number in living) for number, size in enumerate(self.filled)]

    def attend(
        self, step: Step, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float
    ) -> Tensor:
        """Attention of the living rows: ``query [H, m, D]``, ``key`` and ``value [KV, m, D]``."""
        keys, values = self.keys[layer], self.values[layer]
        places = [each.to(keys.device) for each in (step.units, step.columns, step.slots)]
        keys[places[0], :, places[1]] = key.transpose(0, 1)
        values[places[0], :, places[1]] = value.transpose(0, 1)
        units, groups, _, size = keys.shape
        count, heads, width = self.kind[0], len(query), step.bias.shape[-1]
        full = query.new_zeros(units * count, heads, size)
        full[places[2]] = query.transpose(0, 1)
        # Query heads of one key-value head stand beside each other as tokens, row after row.
        folded = full.view(units, count, groups, -1, size).permute(0, 2, 1, 3, 4)
        found = scaled_dot_product_attention(
            folded.reshape(units, groups, -1, size),
            keys[:, :, :width],
            values[:, :, :width],
            attn_mask=step.bias.to(keys.device),
            scale=scaling,
        )
        found = found.view(units, groups, count, -1, size).permute(0, 2, 1, 3, 4)
        return found.reshape(units * count, heads, size)[places[2]].transpose(0, 1)


@dataclass(frozen=True)
class Growing:
    """Attention of one step over the living rows of slabs, one slab after the other."""

    slabs: Sequence[Slab]
    steps: Sequence[Step]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """See :class:`evalkit.models.attention.Attend`."""
        found, at = [], 0
        for slab, step in zip(self.slabs, self.steps, strict=True):
            part = slice(at, at + len(step.slots))
            found.append(slab.attend(step, layer, query[:, part], key[:, part], value[:, part], scaling))
            at = part.stop
        return torch.cat(found, dim=1)


def joined(parts: Sequence[tuple[Slab, Sequence[int]]], columns: int) -> Slab:
    """A new slab of some units of other ones."""
    kept = [(slab, sent(torch.tensor(units), slab.seen.device)) for slab, units in parts]
    total = sum(len(units) for _, units in parts)
    first = parts[0][0]

    def copied(layers: Sequence[list[Tensor]]) -> Iterator[Tensor]:
        for layer in zip(*layers, strict=True):
            # Zeros, since what isn't seen is still multiplied by 0.
            new = layer[0].new_zeros(total, layer[0].shape[1], columns, layer[0].shape[3])
            at = 0
            for old, (_, units) in zip(layer, kept, strict=True):
                width = min(columns, old.shape[2])
                new[at : at + len(units), :, :width] = old[units.to(old.device), :, :width]
                at += len(units)
            yield new

    seen = first.seen.new_zeros(total, first.kind[0], columns)
    at = 0
    for slab, units in kept:
        width = min(columns, slab.seen.shape[2])
        seen[at : at + len(units), :, :width] = slab.seen[units, :, :width]
        at += len(units)
    return Slab(
        [slab.rows[unit] for slab, units in parts for unit in units],
        [slab.filled[unit] for slab, units in parts for unit in units],
        seen,
        list(copied([slab.keys for slab, _ in parts])),
        list(copied([slab.values for slab, _ in parts])),
    )


def of_pack(pack: Pack, rows: Sequence[Row]) -> list[Slab]:
    """Slabs of what a pack's living rows go on from; ``rows`` are those of its items."""
    kinds: dict[tuple[int, int], list[tuple[Span, list[Row], list[slice]]]] = {}
    answers = iter(rows)
    for span in pack.spans:
        living = [(row, rest) for rest, row in zip(span.rests, answers, strict=False) if row.finish is None]
        if living:
            going, rests = [row for row, _ in living], [rest for _, rest in living]
            kinds.setdefault((len(living), _columns(span, going, rests)), []).append((span, going, rests))
    return [_gathered(pack, parts, columns) for (_, columns), parts in kinds.items()]


def _columns(span: Span, rows: Sequence[Row], rests: Sequence[slice]) -> int:
    """A power of two, so that units of like length share a slab."""
    size = span.prefix.stop - span.prefix.start + sum(rest.stop - rest.start for rest in rests)
    size += sum(min(ROOM, row.item.max_new_tokens) for row in rows)
    return max(SMALLEST, int(1 << (size - 1).bit_length()))


def _gathered(pack: Pack, parts: Sequence[tuple[Span, list[Row], list[slice]]], columns: int) -> Slab:
    """One slab of a pack's units of one kind."""
    device = pack.keys[0].device
    count = len(parts[0][1])
    index = torch.zeros(len(parts), columns, dtype=torch.long)
    seen = torch.zeros(len(parts), count, columns, dtype=torch.bool)
    filled = []
    for unit, (span, _, rests) in enumerate(parts):
        size = span.prefix.stop - span.prefix.start
        index[unit, :size] = torch.arange(span.prefix.start, span.prefix.stop)
        seen[unit, :, :size] = True
        for slot, rest in enumerate(rests):
            end = size + rest.stop - rest.start
            index[unit, size:end] = torch.arange(rest.start, rest.stop)
            seen[unit, slot, size:end] = True
            size = end
        filled.append(size)

    devices = {layer.device for layer in pack.keys}  # a model may be spread over several
    places = {device: sent(index, device) for device in devices}

    def gathered(layer: Tensor) -> Tensor:
        return layer[:, places[layer.device]].transpose(0, 1).contiguous()

    return Slab(
        [rows for _, rows, _ in parts],
        filled,
        sent(seen, device),
        [gathered(layer) for layer in pack.keys],
        [gathered(layer) for layer in pack.values],
    )
