"""Changes to the spectrum: context extension (linear, NTK-aware, YaRN) and spectra per axis.

Each works pair by pair and knows which axis a pair follows, so that all of them go with every
allocation; several are applied in order, ``base(10000)+yarn(8)``. Torch is imported when a spectrum
is computed: with it, results equal transformers' to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from evalkit.rope.parameters import BadParameter, require_positive

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spectrum:
    """The frequencies of one head, or of each key-value head.

    ``inv_freq``: float32, ``[P]`` or ``[KV, P]``; ``base``, ``index`` and ``width`` have its shape and
    say how it was made, ``inv_freq = base ** (-2 * index / width)``. ``axes``: the axis map, indices into
    ``axis_names``. ``length``: the context that the model was trained with, in positions.
    ``attention_scaling`` multiplies cos and sin.
    """

    inv_freq: Tensor
    axes: Tensor
    base: Tensor
    index: Tensor
    width: Tensor
    length: int | None = None
    attention_scaling: float = 1.0
    axis_names: tuple[str, ...] = ("t", "h", "w")

    def powers(self) -> Tensor:
        """``base ** (2 * index / width)`` in float32, the arithmetic of transformers."""
        return self.base.float() ** (2 * self.index / self.width).float()


def model_spectrum(
    inv_freq: Tensor,
    axes: Tensor,
    base: float,
    length: int | None,
    axis_names: tuple[str, ...] = ("t", "h", "w"),
) -> Spectrum:
    """The spectrum ``inv_freq [P]`` of a model under an axis map, ``[P]`` or ``[KV, P]``."""
    import torch

    shape = axes.shape
    axes = axes.to(inv_freq.device)
    index = torch.arange(len(inv_freq), dtype=torch.float64, device=inv_freq.device).expand(shape)
    return Spectrum(
        inv_freq.expand(shape).clone(),
        axes,
        torch.full_like(index, base),
        index,
        torch.full_like(index, 2 * len(inv_freq)),
        length,
        axis_names=axis_names,
    )


@dataclass(frozen=True)
class Scaling:
    """Base of all scalings: a frozen dataclass whose fields are the scaling's parameters; ``name`` is what it
    is called in a variant.
    """

    name: ClassVar[str]

    def apply(self, spectrum: Spectrum) -> Spectrum:
        """The changed spectrum. Raises BadParameter if the model lacks what it needs."""
        raise NotImplementedError


@dataclass(frozen=True)
class Linear(Scaling):
    """Position interpolation: every frequency divided by ``factor`` (arXiv 2306.15595)."""

    name = "linear"
    factor: float

    def __post_init__(self) -> None:
        require_positive("factor", self.factor)

    def apply(self, spectrum: Spectrum) -> Spectrum:
        return replace(spectrum, inv_freq=spectrum.inv_freq / self.factor)


@dataclass(frozen=True)
class NtkAware(Scaling):
    """A larger base, ``base * factor ** (d / (d - 2))``: the highest frequency stays and the lowest
    is divided by ``factor`` (bloc97, 2023; as transformers' ``dynamic`` type, with a fixed factor).
    """

    name = "ntk"
    factor: float

    def __post_init__(self) -> None:
        require_positive("factor", self.factor)

    def apply(self, spectrum: Spectrum) -> Spectrum:
        width = spectrum.width
        stretched = replace(spectrum, base=spectrum.base * self.factor ** (width / (width - 2)))
        return replace(stretched, inv_freq=1 / stretched.powers())


@dataclass(frozen=True)
class Yarn(Scaling):
    """YaRN (arXiv 2309.00071): low frequencies are interpolated, high ones kept, with a ramp between.

    ``length`` is the context the model was trained with, by default the model's own; ``fast`` and
    ``slow`` are the numbers of turns in it that bound the ramp (beta in the paper). Cos and sin are
    multiplied by ``0.1 ln(factor) + 1``.
    """

    name = "yarn"
    factor: float
    length: int | None = None
    fast: float = 32.0
    slow: float = 1.0

    def __post_init__(self) -> None:
        for name in ("factor", "fast", "slow"):
            require_positive(name, getattr(self, name))

    def apply(self, spectrum: Spectrum) -> Spectrum:
        length = self.length or spectrum.length
        if length is None:
            raise BadParameter("the model does not say which context it was trained with", "length")
        powers = spectrum.powers()
        kept, interpolated = 1.0 / powers, 1.0 / (self.factor * powers)
        share = 1 - self._ramp(spectrum, length)
        blended = interpolated * (1 - share) + kept * share
        factor = 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0
        return replace(spectrum, inv_freq=blended, attention_scaling=spectrum.attention_scaling * factor)

    def _ramp(self, spectrum: Spectrum, length: int) -> Tensor:
        """0 where a frequency is kept, 1 where it is interpolated; float32, shaped like the spectrum."""
        import torch

        width, base = spectrum.width, spectrum.base

        def pair(turns: float) -> Tensor:
            return (
                width * torch.log(length / (turns * 2 * math.pi * torch.ones_like(base))) / (2 * base.log())
            )

        low = pair(self.fast).floor().clamp(min=0).float()
        high = torch.minimum(pair(self.slow).ceil(), width - 1).float()
        high = torch.where(low == high, high + 0.001, high)
        return ((spectrum.index.float() - low) / (high - low)).clamp(0, 1)


@dataclass(frozen=True)
class SpatialBase(Scaling):
    """Height and width (every axis but ``t``) get a base of their own, time keeps the model's: "scaling
    rotary base" (arXiv 2510.23095, table 4, "e.g., from 1,000,000 to 10,000"; there is no code).
    """

    name = "base"
    base: float = 10_000.0

    def __post_init__(self) -> None:
        require_positive("base", self.base)

    def apply(self, spectrum: Spectrum) -> Spectrum:
        import torch

        # The last entry is for pairs that follow no axis (-1).
        spatial = torch.tensor([*(name != "t" for name in spectrum.axis_names), False])[spectrum.axes.cpu()]
        spatial = spatial.to(spectrum.axes.device)
        based = replace(spectrum, base=torch.where(spatial, self.base, spectrum.base))
        return replace(based, inv_freq=torch.where(spatial, 1 / based.powers(), spectrum.inv_freq))


@dataclass(frozen=True)
class PerAxis(Scaling):
    """Every axis gets a full spectrum over its own pairs, ``base ** (-2 j / d_a)``: pair ``j`` of the
    ``d_a / 2`` pairs of axis ``a`` (Omni-RoPE in VectorSpaceLab/OmniGen2@0f72fa9). ``base`` defaults to
    the model's; OmniGen2 uses 10,000.
    """

    name = "per_axis"
    base: float | None = None

    def __post_init__(self) -> None:
        if self.base is not None:
            require_positive("base", self.base)

    def apply(self, spectrum: Spectrum) -> Spectrum:
        import torch

        index, width = spectrum.index, spectrum.width
        for axis in range(-1, len(spectrum.axis_names)):
            mine = spectrum.axes == axis
            # Rank among the axis' own pairs, within each head where heads differ.
            index = torch.where(mine, (mine.cumsum(dim=-1) - 1).to(index.dtype), index)
            width = torch.where(mine, 2.0 * mine.sum(dim=-1, keepdim=True).to(width.dtype), width)
        base = spectrum.base if self.base is None else torch.full_like(spectrum.base, self.base)
        own = replace(spectrum, base=base, index=index, width=width)
        return replace(own, inv_freq=1 / own.powers())


@dataclass(frozen=True)
class Power(Scaling):
    """Every frequency to the power ``1 / log_scale`` (``log_freq_scale`` of canonical GRAPE)."""

    name = "power"
    log_scale: float

    def __post_init__(self) -> None:
        require_positive("log_scale", self.log_scale)

    def apply(self, spectrum: Spectrum) -> Spectrum:
        return replace(
            spectrum,
            # Through the logarithm, as the official code computes it: `pow` rounds differently.
            inv_freq=(spectrum.inv_freq.log() / self.log_scale).exp(),
            base=spectrum.base ** (1 / self.log_scale),
        )
