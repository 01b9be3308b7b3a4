"""The paper's criteria as verdicts on computed numbers, beside the paper's own Table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from evalkit.diagnose.consistency import Consistency
from evalkit.diagnose.spectrum import AxisSpectrum

FULL_RANGE = 0.9
"""From which coverage on an axis counts as having the whole range: round robin over three axes leaves the
second and third a little short of both ends (0.905 of 64 pairs), and the paper calls that full."""

LARGE_INTERVAL = 1.0
"""From which slack on the interval counts as too large: text goes on a whole extent of the block beyond
it.
"""

CRITERIA = ("3-D structure", "modality interval", "range", "granularity", "text prior")
"""The columns of Table 1 of arXiv 2510.23095v3."""

Marks = tuple[bool | None, ...]

TABLE1: Mapping[str, Marks] = MappingProxyType(
    {
        "vanilla": (False, True, None, None, True),
        "v2pe": (False, True, None, None, True),
        "rope-tie": (True, False, True, False, True),
        "mrope": (True, True, False, False, True),
        "mrope(absolute_time=false)": (True, True, False, False, True),
        "circlerope": (True, False, False, False, True),
        "videorope": (True, False, False, False, True),
        "il-rope": (True, True, False, False, False),
        "omni-rope": (True, True, False, False, False),
        "mhrope": (True, True, True, True, True),
        "mrope-i": (True, True, True, False, True),
    }
)
"""The marks of Table 1 by variant and in the order of :data:`CRITERIA`; None: the paper's dash, the criterion
doesn't apply to one axis. HoPE, MM-RoPE and GRAPE are not in it."""


@dataclass(frozen=True)
class Verdict:
    """One criterion: whether it is met (None: it doesn't apply to one axis), by which numbers, and the mark
    of Table 1, if the variant is ``in_paper``.
    """

    criterion: str
    met: bool | None
    why: str
    paper: bool | None = None
    in_paper: bool = False

    @property
    def contradicts(self) -> bool:
        """Whether what is computed is another than the mark of Table 1."""
        return self.in_paper and self.met != self.paper


def verdicts(
    variant: str, consistencies: Sequence[Consistency], spectra: Sequence[AxisSpectrum], text: float
) -> list[Verdict]:
    """The verdicts on a variant: each rule holds on every layout and on every axis that has rotary pairs.

    3-D structure: ``kept`` (:func:`~evalkit.diagnose.consistency.structure_of`), and no token has all the
    coordinates of one of another block. Modality interval: no visual token has, on an axis on which text
    advances, the coordinate of a later text token, and text goes on less than :data:`LARGE_INTERVAL` extents
    beyond the block. Range: coverage of at least :data:`FULL_RANGE`. Granularity: an axis has all pairs of
    the heads that carry it. Text prior: no difference at all. The rules and thresholds are ours; the paper
    gives marks alone.
    """
    found = (
        _structure(consistencies),
        _interval(consistencies),
        _range(spectra),
        _granularity(spectra),
        (text == 0, f"largest difference in cos or sin on text: {text:.3g}"),
    )
    marks = TABLE1.get(variant)
    return [
        Verdict(criterion, met, why, marks[place] if marks else None, marks is not None)
        for place, (criterion, (met, why)) in enumerate(zip(CRITERIA, found, strict=True))
    ]


def _structure(consistencies: Sequence[Consistency]) -> tuple[bool, str]:
    shared = max(consistencies, key=lambda each: each.shared_blocks)
    if shared.shared_blocks and all(each.structure == "kept" for each in consistencies):
        share = f"{shared.shared_blocks:,} of {shared.visual_tokens:,} visual tokens"
        return False, f"{share} are rotated as one of another image or frame is ({shared.layout})"
    for state in ("lost", "bent"):
        places = [each for each in consistencies if each.structure == state]
        if not places:
            continue
        first = max(places, key=lambda each: each.duplicates)
        if first.duplicates:
            share = f"{first.duplicates:,} of {first.visual_tokens:,} visual tokens"
            return False, f"{share} are rotated as another of their block is ({first.layout})"
        if state == "lost":
            ratio = f"a step down is {first.step_ratio:.0f} steps right" if first.step_ratio else "one axis"
            return False, f"{ratio} ({first.layout})"
        return False, f"a step moves a token by another vector from place to place ({first.layout})"
    return True, "a step in time, down or right is one vector everywhere"


def _interval(consistencies: Sequence[Consistency]) -> tuple[bool, str]:
    worst = max(consistencies, key=lambda each: each.overlap)
    if worst.overlap > 0:
        axis = max((each for each in worst.axes if each.moves), key=lambda each: each.overlap)
        return False, (
            f"later text meets {axis.overlap:.1%} of the visual tokens on {axis.axis}, "
            f"{axis.depth:.0f} positions deep ({worst.layout})"
        )
    far = max(consistencies, key=lambda each: each.slack)
    far = far if far.slack >= LARGE_INTERVAL else consistencies[0]
    distance = f"mean distance to the next text {far.interval:,.1f} ({far.layout})"
    if far.slack >= LARGE_INTERVAL:
        return False, f"text goes on {far.slack:.0f} extents of the block beyond it; {distance}"
    return True, f"no later text on an axis of visual tokens; {distance}"


def _range(spectra: Sequence[AxisSpectrum]) -> tuple[bool | None, str]:
    if len(spectra) == 1:
        return None, "one axis has the whole spectrum"
    least = min(spectra, key=lambda each: each.coverage)
    return least.coverage >= FULL_RANGE, f"{least.axis} covers {least.coverage:.1%} of the range"


def _granularity(spectra: Sequence[AxisSpectrum]) -> tuple[bool | None, str]:
    if len(spectra) == 1:
        return None, "one axis has all pairs"
    least = min(spectra, key=lambda each: each.resolution)
    heads = f", on {least.heads:.0%} of the heads" if least.heads < 1 else ""
    return least.resolution == 1, f"{least.axis} has {least.resolution:.1%} of a head's pairs{heads}"
