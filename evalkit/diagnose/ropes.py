"""Variants compared without a model: positions on layouts, spectrum, text prior, decay, and verdicts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evalkit.diagnose.consistency import Consistency, consistency
from evalkit.diagnose.criteria import Verdict, verdicts
from evalkit.diagnose.layouts import Layout
from evalkit.diagnose.spectrum import (
    AxisSpectrum,
    Head,
    LaidOut,
    axis_spectra,
    decay,
    lay_out,
    not_rotated,
    text_difference,
)
from evalkit.rope.parameters import BadParameter
from evalkit.rope.variant import RopeVariant

DISTANCES = (0, *(int(value) for value in np.unique(np.geomspace(1, 32768, 61).round())))
"""Relative distances of the decay curves: 0, and evenly spaced on a logarithmic scale."""


@dataclass(frozen=True)
class VariantDiagnosis:
    """What is computed of one variant. ``problem`` says why nothing is: it can't be laid out on such heads.
    ``decay`` has a curve over :data:`DISTANCES` for each axis.
    """

    variant: str
    layouts: tuple[Consistency, ...] = ()
    spectrum: tuple[AxisSpectrum, ...] = ()
    not_rotated: float = 0.0
    text_difference: float = 0.0
    decay: tuple[tuple[str, tuple[float, ...]], ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class RopeDiagnosis:
    """Variants on the same heads and layouts."""

    head: Head
    layouts: tuple[Layout, ...]
    variants: tuple[VariantDiagnosis, ...]

    def contradictions(self) -> list[str]:
        """Where what is computed is another than Table 1 of the paper says."""
        marks = {True: "yes", False: "no", None: "does not apply"}
        return [
            f"{each.variant}, {verdict.criterion}: Table 1 says {marks[verdict.paper]}; "
            f"computed: {verdict.why}"
            for each in self.variants
            for verdict in each.verdicts
            if verdict.contradicts
        ]

    def facts(self) -> list[str]:
        """Tokens that a model can't tell apart by their positions, of the layout where they are most."""
        return [fact for each in self.variants for fact in _facts(each)]

    def to_json(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {
            "kind": "ropes",
            "head": asdict(self.head),
            "layouts": {each.name: each.written for each in self.layouts},
            "distances": DISTANCES,
            "variants": [_variant_json(each) for each in self.variants],
            "contradictions": self.contradictions(),
            "facts": self.facts(),
        }

    def to_csv(self) -> str:
        """One number a line: ``variant,layout,axis,measure,value``."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("variant", "layout", "axis", "measure", "value"))
        for each in self.variants:
            writer.writerows((each.variant, *row) for row in _rows(each))
        return out.getvalue()


def diagnose_ropes(variants: Sequence[RopeVariant], layouts: Sequence[Layout], head: Head) -> RopeDiagnosis:
    """Compute everything for every variant; one that can't be laid out on the heads gets a ``problem``."""
    return RopeDiagnosis(head, tuple(layouts), tuple(_diagnosis(each, layouts, head) for each in variants))


def _diagnosis(variant: RopeVariant, layouts: Sequence[Layout], head: Head) -> VariantDiagnosis:
    try:
        laid = lay_out(variant, head)
    except BadParameter as error:
        return VariantDiagnosis(str(variant), problem=str(error))
    used = laid.used()
    found = tuple(consistency(variant.position, used, layout) for layout in layouts)
    spectra, text = tuple(axis_spectra(laid)), text_difference(laid)
    return VariantDiagnosis(
        variant=str(variant),
        layouts=found,
        spectrum=spectra,
        not_rotated=not_rotated(laid),
        text_difference=text,
        decay=tuple((variant.position.axes[axis], _curve(laid, axis)) for axis in used),
        verdicts=tuple(verdicts(str(variant), found, spectra, text)),
    )


def _curve(laid: LaidOut, axis: int) -> tuple[float, ...]:
    return tuple(float(value) for value in decay(laid, axis, DISTANCES))


def _facts(each: VariantDiagnosis) -> Iterator[str]:
    for name, what in (
        ("duplicates", "as another of their block"),
        ("shared_blocks", "as one of another block"),
        ("text_collisions", "as a later text token"),
    ):
        worst = max(each.layouts, key=lambda layout: float(getattr(layout, name)), default=None)
        if worst is not None and getattr(worst, name):
            share = f"{getattr(worst, name):,} of {worst.visual_tokens:,} visual tokens"
            yield f"{each.variant}: {share} are rotated exactly {what} ({worst.layout})"


def _variant_json(each: VariantDiagnosis) -> dict[str, Any]:
    found = asdict(each)
    found["decay"] = dict(each.decay)
    for verdict, written in zip(each.verdicts, found["verdicts"], strict=True):
        written["contradicts"] = verdict.contradicts
    return found


def _rows(each: VariantDiagnosis) -> Iterator[tuple[Any, ...]]:
    if each.problem:
        yield "", "", "problem", each.problem
        return
    for layout in each.layouts:
        for name, value in asdict(layout).items():
            if name == "largest":
                yield from (
                    (layout.layout, "", f"largest_{context}", most) for context, most in value.items()
                )
            elif name not in ("layout", "axes"):
                yield layout.layout, "", name, "" if value is None else value
        for axis in layout.axes:
            values = {key: value for key, value in asdict(axis).items() if key != "axis"}
            yield from ((layout.layout, axis.axis, key, value) for key, value in values.items())
    for spectrum in each.spectrum:
        values = {key: value for key, value in asdict(spectrum).items() if key != "axis"}
        yield from (("", spectrum.axis, key, value) for key, value in values.items())
    yield "", "", "not_rotated", each.not_rotated
    yield "", "", "text_difference", each.text_difference
    for axis_name, curve in each.decay:
        yield from (
            ("", axis_name, f"decay_{distance}", value)
            for distance, value in zip(DISTANCES, curve, strict=True)
        )
    for verdict in each.verdicts:
        yield "", "", verdict.criterion, "" if verdict.met is None else verdict.met
