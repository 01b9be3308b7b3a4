"""Cos and sin on given positions, axis maps and spectra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from evalkit.rope.parameters import BadParameter
from evalkit.rope.rotary import VariantRotary
from evalkit.rope.scaling import Linear, NtkAware, Scaling, Spectrum, Yarn, model_spectrum
from evalkit.rope.variants import RopeVariant, parse_variant
from tools.golden import GoldenResult, Mode
from tools.golden.mapping import MappedVariant, spectrum_variant

Arrays = Mapping[str, npt.NDArray[Any]]

TOLERANCE = 1e-6  # of cos and sin at the angle itself
# `pow`, `exp` and `log` round differently from processor to processor: a frequency may be this many units in
# its last place off, and its angle by as many of its own, which a large position makes large.
ULPS = 4
EPS = float(np.finfo(np.float32).eps)
TRAINED_LENGTH = 32768  # original_max_position_embeddings of the recorded scaled spectra
USUAL_BASE = 1e6
_SCALINGS: Mapping[str, type[Linear] | type[NtkAware] | type[Yarn]] = {
    "linear": Linear,
    "ntk": NtkAware,
    "yarn": Yarn,
}


def check_spectra(name: str, case: Mapping[str, Any], arrays: Arrays) -> Iterator[GoldenResult]:
    """Compare every entry of a spectrum file, and the axis maps."""
    pairs = int(case["head_dim"]) // 2
    positions = torch.from_numpy(np.asarray(arrays["positions"])).T[:, None]
    for key, entry in case["entries"].items():
        if ".inv_freq." in key:
            yield _check_inv_freq(name, key, entry, arrays[key], pairs)
        else:
            yield _check_rotation(name, key, case, arrays, positions)
    for key, official in case.get("axis_maps", {}).items():
        yield _check_map(name, key, case, official, pairs)


def _check_rotation(
    name: str, key: str, case: Mapping[str, Any], arrays: Arrays, positions: torch.Tensor
) -> GoldenResult:
    stem, base, scaling = _read_key(key)
    found = _mapped(stem, case)
    if found is None:
        return _unknown(name, key, "cos/sin")
    ours, variant, heads = found
    added = () if scaling is None else (scaling,)
    try:
        spectrum = spectrum_of(variant, int(case["head_dim"]) // 2, heads, base, added)
    except BadParameter as error:
        return GoldenResult(name, key, ours.variant, "unknown", "cos/sin", np.nan, False, str(error))
    rotary = VariantRotary(spectrum.inv_freq, spectrum.attention_scaling, spectrum.axes)
    differences = [
        np.abs(mine[0].numpy() - arrays[f"{key}.{part}"])
        for part, mine in zip(("cos", "sin"), rotary(torch.zeros(1), positions), strict=True)
    ]
    angles = np.abs(rotary.angles(positions)[0].numpy())
    allowed = TOLERANCE + ULPS * EPS * np.concatenate((angles, angles), axis=-1)
    passed = all(bool((found <= allowed).all()) for found in differences)
    largest = max(float(found.max()) for found in differences)
    mode: Mode = "compat" if ours.compat else "default"
    return GoldenResult(name, key, ours.variant, mode, "cos/sin", largest, passed, ours.compat)


def _check_inv_freq(
    name: str, key: str, entry: Mapping[str, Any], official: npt.NDArray[Any], pairs: int
) -> GoldenResult:
    mode = key.partition(".inv_freq.")[2]
    plain = re.fullmatch(r"default\.(\d+)", mode)
    scaling = None if plain else _scaling(mode)
    if plain is None and scaling is None:
        return _unknown(name, key, "spectrum")
    base = float(plain[1]) if plain else USUAL_BASE
    spectrum = spectrum_of(parse_variant("vanilla"), pairs, 1, base, () if scaling is None else (scaling,))
    differences = np.abs(spectrum.inv_freq.numpy() - official)
    factor = abs(spectrum.attention_scaling - float(entry.get("attention_scaling", 1.0)))
    passed = bool((differences <= ULPS * EPS * np.abs(official)).all()) and factor <= TOLERANCE
    largest = max(float(differences.max()), factor)
    return GoldenResult(name, key, mode, "default", "spectrum", largest, passed)


def _check_map(name: str, key: str, case: Mapping[str, Any], official: Any, pairs: int) -> GoldenResult:
    found = _mapped(key, case)
    if found is None:
        return _unknown(name, key, "axis map")
    ours, variant, heads = found
    axes = variant.axis_map(pairs, heads)
    rows = ["".join("THWn"[axis] for axis in row) for row in np.atleast_2d(axes)]
    theirs = [official] if isinstance(official, str) else list(official)
    wrong = sum(
        a != b for mine, other in zip(rows, theirs, strict=True) for a, b in zip(mine, other, strict=True)
    )
    mode: Mode = "compat" if ours.compat else "default"
    return GoldenResult(name, key, ours.variant, mode, "axis map", float(wrong), wrong == 0, ours.compat)


def _mapped(stem: str, case: Mapping[str, Any]) -> tuple[MappedVariant, RopeVariant, int] | None:
    params = case.get("unified_params", {}).get(stem.removeprefix("unified."))
    ours = spectrum_variant(stem, params)
    if ours is None:
        return None
    heads = int(((params or {}).get("params") or {}).get("num_key_value_heads", 8))
    variant = parse_variant(ours.variant)
    return replace(ours, variant=str(variant)), variant, heads


def spectrum_of(
    variant: RopeVariant, pairs: int, heads: int, base: float, added: tuple[Scaling, ...] = ()
) -> Spectrum:
    """The spectrum of a variant on a model with a plain spectrum of ``base``."""
    exponents = torch.arange(0, 2 * pairs, 2, dtype=torch.int64).float() / (2 * pairs)
    axes = torch.from_numpy(variant.axis_map(pairs, heads))
    spectrum = model_spectrum(1.0 / (base**exponents), axes, base, TRAINED_LENGTH, variant.position.axes)
    for scaling in (*variant.scaling, *added):
        spectrum = scaling.apply(spectrum)
    return spectrum


def _read_key(key: str) -> tuple[str, float, Scaling | None]:
    """``STEM.base1000000[.yarn4]``."""
    stem, _, rest = key.partition(".base")
    base, _, mode = rest.partition(".")
    return stem, float(base or USUAL_BASE), _scaling(mode)


def _scaling(mode: str) -> Scaling | None:
    found = re.fullmatch(r"([a-z]+)([\d.]+)", mode)
    kind = _SCALINGS.get(found[1]) if found else None
    return None if kind is None or found is None else kind(float(found[2]))


def _unknown(name: str, key: str, compared: str) -> GoldenResult:
    return GoldenResult(name, key, "", "unknown", compared, np.nan, False, "no variant of ours is known")
