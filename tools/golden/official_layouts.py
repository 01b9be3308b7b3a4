"""Cases in the layouts of V2PE (InternVL), OmniGen2 and Lumos-1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evalkit.rope.layout import Segment, TextRun, VisualBlock, runs
from evalkit.rope.positions import position_ids
from evalkit.rope.rotary import VariantRotary
from evalkit.rope.variants import RopeVariant, parse_variant
from tools.golden import GoldenResult
from tools.golden.spectra import TOLERANCE, spectrum_of

Arrays = Mapping[str, npt.NDArray[Any]]

V2PE_WHOLE = 256  # a stride of 256 is one position per token
LUMOS_SIZE_TOKEN = 8804  # token 8804 + n says that a side has n times 4 tokens (Chameleon's ids)


def check_v2pe(name: str, case: Mapping[str, Any], arrays: Arrays) -> Iterator[GoldenResult]:
    """Positions ``pos.strideN`` of sequences with tiles of visual tokens."""
    visual = np.asarray(case["input_ids"]) == case["img_context"]
    segments: list[Segment] = [
        VisualBlock((1, 1, length)) if kind else TextRun(length) for kind, length in runs(visual.astype(int))
    ]
    for key, official in arrays.items():
        step = float(key.removeprefix("pos.stride")) / V2PE_WHOLE
        variant = parse_variant("v2pe").with_parameters(step=step)
        mine = position_ids(variant.position, segments).ids[0]
        difference = float(np.abs(mine - official).max())
        passed = difference <= 1e-5 * float(np.abs(official).max())
        yield GoldenResult(
            name, f"original.v2pe.{key}", str(variant), "default", "positions", difference, passed
        )


def check_omnigen(name: str, case: Mapping[str, Any], arrays: Arrays) -> Iterator[GoldenResult]:
    """Positions, and rotations as complex numbers whose pairs are ordered time, height, width."""
    patch = case["patch_size"]
    sizes = [*case["ref_img_sizes"], case["img_size"]]
    segments: list[Segment] = [TextRun(case["caption_len"])]
    segments += [VisualBlock((1, h // patch, w // patch)) for h, w in sizes]
    counts = tuple(width // 2 for width in case["axes_dim"])
    variant = parse_variant(
        f"omni-rope(text=copy,allocation=[{','.join(map(str, counts))}],scaling=per_axis({case['theta']}))"
    )
    found = position_ids(variant.position, segments).ids
    difference = float(np.abs(found.T - arrays["position_ids"]).max())
    yield GoldenResult(
        name, "original.omnigen2.position_ids", str(variant), "compat", "positions", difference,
        difference == 0, "text=copy",
    )  # fmt: skip
    cos, sin = _rotation(variant, sum(counts), float(case["theta"]), found)
    difference = max(
        float(np.abs(cos[:, : sum(counts)] - arrays["freqs_cis_real"]).max()),
        float(np.abs(sin[:, : sum(counts)] - arrays["freqs_cis_imag"]).max()),
    )
    yield GoldenResult(
        name, "original.omnigen2.freqs_cis", str(variant), "compat", "cos/sin", difference,
        difference <= TOLERANCE, "scaling=per_axis",
    )  # fmt: skip


def check_lumos(name: str, case: Mapping[str, Any], arrays: Arrays) -> Iterator[GoldenResult]:
    """Positions of text and visual tokens, the latter in rows that end in a new-line token."""
    ids, content = np.asarray(case["input_ids"]), arrays["content_flag"]
    segments: list[Segment] = []
    begin = 0
    for visual, length in runs(content.astype(int)):
        if visual:
            rows, columns = (4 * (int(ids[begin + offset]) - LUMOS_SIZE_TOKEN) for offset in (-2, -1))
            segments.append(VisualBlock((length // (rows * (columns + 1)), rows, columns + 1)))
        else:
            segments.append(TextRun(length))
        begin += length
    variant = parse_variant("mmrope(position=lumos)")
    found = position_ids(variant.position, segments).ids
    difference = max(float(np.abs(found[i] - arrays[axis]).max()) for i, axis in enumerate("thw"))
    yield GoldenResult(
        name, "original.lumos.positions", str(variant), "compat", "positions", difference,
        difference == 0, "position=lumos",
    )  # fmt: skip
    cos, sin = _rotation(variant, int(case["head_dim"]) // 2, float(case["base"]), found)
    difference = max(float(np.abs(cos - arrays["cos"]).max()), float(np.abs(sin - arrays["sin"]).max()))
    yield GoldenResult(
        name, "original.lumos.cos_sin", str(variant), "compat", "cos/sin", difference,
        difference <= TOLERANCE, "position=lumos",
    )  # fmt: skip


def _rotation(
    variant: RopeVariant, pairs: int, base: float, positions: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Cos and sin ``[L, 2 * pairs]``."""
    spectrum = spectrum_of(variant, pairs, 1, base)
    rotary = VariantRotary(spectrum.inv_freq, spectrum.attention_scaling, spectrum.axes)
    cos, sin = rotary(torch.zeros(1), torch.from_numpy(positions)[:, None])
    return cos[0].numpy(), sin[0].numpy()
