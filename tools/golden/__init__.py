"""Reference outputs of official code, compared with ours: what ``evalkit ropes check`` does.

A folder holds cases, each a ``NAME.json`` beside a ``NAME.npz``: token sequences whose positions the
official code computed, spectra (cos and sin on given positions), and cases in the layouts of V2PE,
OmniGen2 and Lumos-1. Which variant reproduces a result follows from its recorded source, variant
and parameters, or is named by it as ``"evalkit"`` (:mod:`tools.golden.mapping`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["default", "compat", "official failure", "unknown"]


@dataclass(frozen=True)
class GoldenResult:
    """One official result and what we make of it.

    Attributes:
        case: the file's name.
        key: the result's name in it.
        variant: ours, as it is written.
        mode: ``default``, ``compat`` (an option that reproduces another implementation's rule),
            ``official failure`` (the official code raised or is recorded as defective; ours was computed
            and, where it can be, compared) or ``unknown`` (nothing of ours is known to belong to it).
        compared: what was compared: ``positions``, ``cos/sin``, ...
        difference: the largest absolute difference.
        passed: whether it is within the tolerance.
        note: the option's name, the official error, or the complaint.
    """

    case: str
    key: str
    variant: str
    mode: Mode
    compared: str
    difference: float
    passed: bool
    note: str = ""
