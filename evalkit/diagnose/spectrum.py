"""What each axis gets of the rotary spectrum, whether text is rotated as before, and how attention decays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evalkit.rope.layout import TextRun
from evalkit.rope.positions import position_ids
from evalkit.rope.variant import RopeVariant

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

TEXT_PROBES = (*range(4096), 8191, 32767)
"""Text positions at which cos and sin are compared: those that installing a variant checks."""


@dataclass(frozen=True)
class Head:
    """The heads that a variant is laid out on: size, key-value heads of a layer, rotary base and trained
    context. The defaults are those of the paper's Qwen3-VL-8B runs, with its base and context.
    """

    head_dim: int = 128
    kv_heads: int = 8
    base: float = 1e6
    length: int = 32768

    @property
    def pairs(self) -> int:
        """Rotary pairs of a head."""
        return self.head_dim // 2

    def inv_freq(self) -> npt.NDArray[np.float32]:
        """``base ** (-2 i / head_dim)``, float32 ``[P]``."""
        steps = np.arange(0, self.head_dim, 2, dtype=np.float32) / np.float32(self.head_dim)
        found: npt.NDArray[np.float32] = (np.float32(1) / np.float32(self.base) ** steps).astype(np.float32)
        return found


@dataclass(frozen=True)
class LaidOut:
    """A variant on given heads: ``axes [KV, P]`` (index of an axis, -1 none) and ``theta [KV, P]``,
    float32.
    """

    variant: RopeVariant
    head: Head
    axes: Ints
    theta: npt.NDArray[np.float32]
    attention_scaling: float = 1.0

    def used(self) -> list[int]:
        """The axes that have a pair."""
        return [int(axis) for axis in np.unique(self.axes) if axis >= 0]


def lay_out(variant: RopeVariant, head: Head) -> LaidOut:
    """Lay a variant out on heads; torch is imported only for a scaling.

    Raises:
        BadParameter: its allocation doesn't fit them, or its scaling can't be computed.
    """
    axes = np.atleast_2d(variant.axis_map(head.pairs, head.kv_heads))
    theta = np.broadcast_to(head.inv_freq(), axes.shape)
    if not variant.scaling:
        return LaidOut(variant, head, axes, np.array(theta))
    import torch

    from evalkit.rope.scaling import model_spectrum

    names = variant.position.axes
    own = torch.from_numpy(head.inv_freq())
    spectrum = model_spectrum(own, torch.from_numpy(axes), head.base, head.length, names)
    for scaling in variant.scaling:
        spectrum = scaling.apply(spectrum)
    return LaidOut(variant, head, axes, spectrum.inv_freq.numpy(), spectrum.attention_scaling)


@dataclass(frozen=True)
class AxisSpectrum:
    """What one axis gets of the spectrum.

    ``share``: of all (head, pair) slots. ``shortest``, ``longest``: wavelengths ``2 pi / theta``, in
    positions. ``coverage``: ``ln(longest / shortest)`` over that of the model's whole spectrum; 1 is all of
    it. ``evenness``: 1 minus the largest distance between the axis' cumulative share of pairs and the even
    one (Kolmogorov-Smirnov), 1 is perfectly even. ``gap``: the longest run of pair indices without the axis.
    ``resolution``: the axis' pairs on a head that carries it, over all pairs of a head. ``heads``: share of
    the key-value heads that carry it. The paper names range and granularity without a formula; these are
    ours.
    """

    axis: str
    share: float
    shortest: float
    longest: float
    coverage: float
    evenness: float
    gap: int
    resolution: float
    heads: float


def axis_spectra(laid: LaidOut) -> list[AxisSpectrum]:
    """The spectrum of every axis that has pairs."""
    return [_axis_spectrum(laid, axis) for axis in laid.used()]


def not_rotated(laid: LaidOut) -> float:
    """The share of (head, pair) slots that follow no axis."""
    return float((laid.axes < 0).mean())


def _axis_spectrum(laid: LaidOut, axis: int) -> AxisSpectrum:
    mine = laid.axes == axis
    pairs = laid.head.pairs
    index = np.sort(np.nonzero(mine)[1])
    wavelengths = 2 * math.pi / laid.theta[mine].astype(np.float64)
    whole = 2 * math.pi / laid.head.inv_freq().astype(np.float64)
    span = math.log(whole.max() / whole.min())
    carrying = mine.sum(axis=1)
    ranks = np.searchsorted(index, np.arange(pairs), side="right") / len(index)
    distance = np.abs(ranks - (np.arange(pairs) + 1) / pairs).max()
    bounds = np.concatenate(([-1], np.unique(index), [pairs]))
    return AxisSpectrum(
        axis=laid.variant.position.axes[axis],
        share=float(mine.mean()),
        shortest=float(wavelengths.min()),
        longest=float(wavelengths.max()),
        coverage=math.log(wavelengths.max() / wavelengths.min()) / span,
        evenness=1 - float(distance),
        gap=int(np.diff(bounds).max() - 1),
        resolution=float(carrying.max() / pairs),
        heads=float((carrying > 0).mean()),
    )


def text_difference(laid: LaidOut) -> float:
    """The largest difference in cos or sin between the variant and ordinary RoPE on text alone, over
    :data:`TEXT_PROBES` and all pairs; angles are float32 products, as in the model. Exactly 0 where the
    variant rotates text as the base model does.
    """
    found = 0.0
    designs, _ = laid.variant.position.layer_groups(2)
    for design in designs:
        ids = position_ids(design, [TextRun(TEXT_PROBES[-1] + 1)]).ids
        positions = np.asarray(ids[:, list(TEXT_PROBES)], np.float32)
        usual = np.asarray(TEXT_PROBES, np.float32)[:, None] * laid.head.inv_freq()
        for axes, theta in _distinct_heads(laid):
            rotated = np.where(axes < 0, np.float32(0), theta)
            angles = positions[np.maximum(axes, 0)].T * rotated
            for function in (np.cos, np.sin):
                scaled = function(angles) * np.float32(laid.attention_scaling)
                found = max(found, float(np.abs(scaled - function(usual)).max()))
    return found


def _distinct_heads(laid: LaidOut) -> list[tuple[Ints, npt.NDArray[np.float32]]]:
    """Axes and frequencies of the heads that differ."""
    seen = {
        (axes.tobytes(), theta.tobytes()): (axes, theta)
        for axes, theta in zip(laid.axes, laid.theta, strict=True)
    }
    return list(seen.values())


def decay(laid: LaidOut, axis: int, distances: Sequence[float]) -> Floats:
    r"""Upper bound of attention over relative distance on one axis, as in the paper's figure 4.

    ``(1 / P) sum_{j=1..P} |S_j|``, ``S_j = sum_{k<j} exp(i D_k theta_k)``, where ``D_k`` is the distance for
    pairs that follow the axis and 0 for the others (arXiv 2510.23095, appendix D.2, after Su et al.,
    RoFormer, section 3.4.3), averaged over the key-value heads, and divided by its value at distance 0, ``(P
    + 1) / 2``.
    """
    steps = np.asarray(distances, np.float64)
    pairs = laid.head.pairs
    total = np.zeros(len(steps))
    heads = [(axes == axis, theta) for axes, theta in zip(laid.axes, laid.theta, strict=True)]
    kinds: dict[tuple[bytes, bytes], int] = {}
    for mine, theta in heads:
        kinds[mine.tobytes(), theta.tobytes()] = kinds.get((mine.tobytes(), theta.tobytes()), 0) + 1
    for (mask, theta), count in kinds.items():
        mine = np.frombuffer(mask, np.bool_)
        angles = steps[:, None] * np.frombuffer(theta, np.float32).astype(np.float64) * mine
        total += count * np.abs(np.exp(1j * angles).cumsum(axis=1)).mean(axis=1)
    curve: Floats = total / len(heads) / ((pairs + 1) / 2)
    return curve
