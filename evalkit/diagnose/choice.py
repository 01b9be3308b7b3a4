"""MHRoPE or MRoPE-I? What runs, checkpoints, diagnoses and the paper say, and what would have to be
measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from evalkit.diagnose.choice_inputs import Stored, StoredAttention, StoredGeneration, StoredRopes
from evalkit.diagnose.consistency import largest_position
from evalkit.diagnose.criteria import FULL_RANGE
from evalkit.diagnose.layouts import read_layouts
from evalkit.diagnose.spectrum import Head, axis_spectra, lay_out
from evalkit.report.advice import Advice, advise, resolve_weights
from evalkit.report.aggregate import CATEGORIES
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.gather import CombinedRuns
from evalkit.report.reference import load_reference
from evalkit.rope.variants import VARIANTS

Side = Literal["MRoPE-I", "MHRoPE", "neither"]
Basis = Literal["measured", "computed", "published"]

SIDES: Mapping[str, Side] = {"mrope-i": "MRoPE-I", "mhrope": "MHRoPE"}
TABLES = ("paper-qwen2.5-vl-7b", "paper-qwen3-vl-4b", "paper-qwen3-vl-8b")
FEWEST_HEADS = 3
FEWEST_SEEDS = 3
_OTHER_DESIGN = ("spatial_reset=false", "text=zero", "position=", "frequency=")
_ALPHA = 0.05


@dataclass(frozen=True)
class Evidence:
    """One thing that speaks for a side, or for neither, and what it rests on. ``decides``: it is enough
    alone.
    """

    favours: Side
    basis: Basis
    text: str
    decides: bool = False


@dataclass(frozen=True)
class Choice:
    """The answer, whether it is ``sure``, why, all evidence, and what would have to be measured to be
    sure.
    """

    answer: Side
    sure: bool
    why: str
    evidence: tuple[Evidence, ...]
    missing: tuple[str, ...]


def choose(
    runs: CombinedRuns,
    weights: Mapping[str, float] | None = None,
    head: Head | None = None,
    kv_heads: int | None = None,
    context: int | None = None,
    diagnostics: Sequence[Stored] = (),
) -> Choice:
    """Weigh MHRoPE against MRoPE-I for some runs and weights of their benchmarks.

    ``head`` is the shape of the model's heads, if it is known, ``kv_heads`` its key-value heads where that is
    not, ``context`` the tokens that are needed, and
    ``diagnostics`` what is stored of ``evalkit diagnose``.

    What decides: a model with fewer than three key-value heads, which MHRoPE does not fit; else a difference
    on these tasks between at least three trainings of each (Welch's test, p < 0.05). Two checkpoints alone
    never decide: they may differ by luck of training. Without a decision the answer is the side that was
    measured ahead, else the one that the paper's means, by these weights, are for in all its models, else
    MRoPE-I, which the paper recommends (appendix D.1: simpler, and slightly ahead); and it is not sure.

    Raises:
        UsageError: a weight matches no benchmark.
    """
    mix = _mix(runs.comparison, weights)
    pair, missing = _pair(runs.comparison)
    measured = list(_measured(runs, pair, weights, mix, missing)) if pair else []
    evidence = [
        *_heads(head, kv_heads or (head.kv_heads if head else None), missing),
        *measured,
        *_published(mix),
        *_context(head, context, missing),
        *(each for data in diagnostics for each in _diagnosed(data)),
    ]
    if not diagnostics:
        missing.append(
            "`evalkit diagnose generation` and `diagnose attention` on both, given by `--diagnostics`: "
            "loops, drift, and where attention goes"
        )
    lacking = [name for name in CATEGORIES if name not in mix]
    missing += [f"a benchmark of {name}: the runs have none with a weight" for name in lacking]
    return _concluded(evidence, measured[:1], missing)


def _concluded(evidence: Sequence[Evidence], measured: Sequence[Evidence], missing: Sequence[str]) -> Choice:
    deciding = next((each for each in evidence if each.decides), None)
    if deciding:
        return Choice(deciding.favours, True, deciding.text, tuple(evidence), tuple(missing))
    for each in (*measured, *(one for one in evidence if one.basis == "published")):
        if each.favours != "neither":
            return Choice(each.favours, False, each.text, tuple(evidence), tuple(missing))
    why = "nothing here tells them apart; the paper recommends it: simpler, and slightly ahead (appendix D.1)"
    return Choice("MRoPE-I", False, why, tuple(evidence), tuple(missing))


def _mix(comparison: Comparison, weights: Mapping[str, float] | None) -> dict[str, float]:
    """The share of each category in the weights."""
    found: dict[str, float] = {}
    shares = resolve_weights(comparison.columns, weights)
    for column in comparison.columns:
        found[column.category] = found.get(column.category, 0.0) + shares.get(column.task, 0.0)
    return {name: share for name, share in found.items() if share}


def _pair(comparison: Comparison) -> tuple[list[tuple[Side, Arm]], list[str]]:
    """The arms of the two sides, if there are both; else what is missing."""
    found, missing = [], []
    for arm in comparison.arms:
        name = arm.rope.partition("(")[0]
        if name not in SIDES or any(other in arm.rope for other in _OTHER_DESIGN):
            continue
        if arm.trained_with:
            missing.append(f"a checkpoint trained with {arm.rope}: {arm.name} was with {arm.trained_with}")
        else:
            found.append((SIDES[name], arm))
    if {side for side, _ in found} == set(SIDES.values()):
        return found, missing
    have = sorted({side for side, _ in found})
    alone = f" (the runs have {have[0]} alone)" if have else ""
    missing.append(
        f"both variants on your tasks{alone}: train them from one start on the same data, and give `advise` "
        "the runs of both"
    )
    return [], missing


def _measured(
    runs: CombinedRuns,
    pair: Sequence[tuple[Side, Arm]],
    weights: Mapping[str, float] | None,
    mix: Mapping[str, float],
    missing: list[str],
) -> Iterator[Evidence]:
    """The two by the weights, then by category; of several trainings of a side their means."""
    if len(pair) > 2:
        yield _of_seeds(runs, pair, weights, missing)
        return
    names = {arm.name: side for side, arm in pair}
    comparison = replace(
        runs.comparison,
        arms=[arm for _, arm in pair],
        cells={arm.name: runs.comparison.cells[arm.name] for _, arm in pair},
    )
    whole = advise(comparison, runs.records, runs.metric, weights)
    yield _of_advice("by your weights", whole, names)
    if not whole.settled and math.isfinite(whole.factor):
        missing.append(f"{whole.factor:.1f} times as many samples, if their difference is the one seen")
    missing.append(
        f"{FEWEST_SEEDS} trainings of each: one checkpoint each can differ by luck as much as these do"
    )
    for category in mix if len(mix) > 1 else ():
        alone = {str(own.category): float(own.category == category) for own in comparison.columns}
        yield _of_advice(category, advise(comparison, runs.records, runs.metric, alone), names)


def _of_advice(what: str, found: Advice, names: Mapping[str, Side]) -> Evidence:
    first, second = found.ranked
    lead = 100 * (first.score - second.score)
    texts = f"{names[first.arm]} {100 * first.score:.1f}, {names[second.arm]} {100 * second.score:.1f}"
    sure = f"first in {first.best_text()} of resamples" if lead else "no difference"
    return Evidence(names[first.arm] if lead else "neither", "measured", f"{what}: {texts}; {sure}")


def _of_seeds(
    runs: CombinedRuns,
    pair: Sequence[tuple[Side, Arm]],
    weights: Mapping[str, float] | None,
    missing: list[str],
) -> Evidence:
    """Trainings as the unit: each checkpoint's weighted score is one number."""
    from scipy.stats import ttest_ind

    whole = advise(runs.comparison, runs.records, runs.metric, weights)
    scores = {each.arm: 100 * each.score for each in whole.ranked}
    sides = {side: [scores[arm.name] for own, arm in pair if own == side] for side in SIDES.values()}
    texts = [f"{side} {sum(own) / len(own):.1f} ({len(own)} trainings)" for side, own in sides.items()]
    best = max(sides, key=lambda side: sum(sides[side]) / len(sides[side]))
    text = f"by your weights: {', '.join(texts)}"
    if min(map(len, sides.values())) < FEWEST_SEEDS:
        missing.append(f"{FEWEST_SEEDS} trainings of each, to know how much luck there is")
        return Evidence(best, "measured", text)
    p = float(ttest_ind(*sides.values(), equal_var=False).pvalue)
    if not p < _ALPHA:
        missing.append("more trainings of each: these don't tell them apart")
    return Evidence(best, "measured", f"{text}; Welch's test: p = {p:.2g}", decides=p < _ALPHA)


def _heads(head: Head | None, kv_heads: int | None, missing: list[str]) -> Iterator[Evidence]:
    if kv_heads is None:
        missing.append("the number of key-value heads of your model: `--kv-heads N`")
        return
    if kv_heads < FEWEST_HEADS:
        text = f"the model has {kv_heads} key-value heads; MHRoPE needs one each for time, height and width"
        yield Evidence("MRoPE-I", "computed", text, decides=True)
        return
    spectra = axis_spectra(lay_out(VARIANTS["mhrope"], Head(kv_heads=kv_heads)))
    counts = {each.axis: round(each.heads * kv_heads) for each in spectra}
    split = ":".join(str(count) for count in counts.values())
    lone = [name for name, count in counts.items() if count == 1]
    text = f"{kv_heads} key-value heads are split {split} (time, height, width) by MHRoPE"
    text += f": a single one for {' and '.join(lone)}" if lone else ""
    yield Evidence("MRoPE-I" if len(lone) > 1 else "neither", "computed", text)
    if head is None:
        return
    least = min(axis_spectra(lay_out(VARIANTS["mrope-i"], head)), key=lambda each: each.coverage)
    text = (
        f"on heads of {head.head_dim} channels MRoPE-I's {least.axis} covers {least.coverage:.1%} of the "
        f"range, by {round(least.resolution * head.pairs)} of {head.pairs} pairs; MHRoPE's axes have all"
    )
    yield Evidence("MHRoPE" if least.coverage < FULL_RANGE else "neither", "computed", text)


def _published(mix: Mapping[str, float]) -> Iterator[Evidence]:
    """The paper's category means by the weights of the runs."""
    leads = []
    for name in TABLES:
        table = load_reference(name)
        methods = {method.rope: place for place, method in enumerate(table.methods)}
        means = {figure.mean: figure.values for figure in table.figures if figure.mean in mix}
        if set(means) != set(mix):
            return
        one, two = methods["mrope-i"], methods["mhrope"]
        leads.append(sum(share * (means[each][one] - means[each][two]) for each, share in mix.items()))
    shares = ", ".join(f"{name} {share:.0%}" for name, share in mix.items())
    texts = ", ".join(f"{lead:+.2f}" for lead in leads)
    side: Side = "MRoPE-I" if min(leads) > 0 else "MHRoPE" if max(leads) < 0 else "neither"
    text = (
        f"by your mix ({shares}) MRoPE-I is {texts} points from MHRoPE in the paper's three models (one "
        "training each, no intervals)"
    )
    yield Evidence(side, "published", text)


def _context(head: Head | None, context: int | None, missing: list[str]) -> Iterator[Evidence]:
    if context is None:
        missing.append("the context that you need, in tokens: `--context N`")
        return
    if head is None:
        missing.append("the context that your model was trained with: its checkpoint is not on this machine")
        return
    design = VARIANTS["mrope-i"].position
    reached = {each.name: largest_position(design, each, context, [0, 1, 2]) for each in read_layouts([])}
    name, most = max(reached.items(), key=lambda item: item[1])
    text = f"{context:,} tokens reach position {most:,.0f} ({name}) in both, of {head.length:,} trained"
    if most < head.length:
        yield Evidence("neither", "computed", f"{text}: no extension is needed")
        return
    yield Evidence("neither", "computed", f"{text}: the context must be extended")
    gain = "YaRN at 256K took MRoPE-I from 42.0 to 43.6 on LVBench, 63.2 to 64.1 on MLVU; none for MHRoPE"
    yield Evidence("MRoPE-I", "published", gain)


def _diagnosed(data: Stored) -> Iterator[Evidence]:
    if isinstance(data, StoredGeneration):
        return _generated(data)
    return _compared(data) if isinstance(data, StoredRopes) else _attended(data)


def _compared(data: StoredRopes) -> Iterator[Evidence]:
    """The criteria on which the two differ, on the heads of that diagnosis."""
    sides = {SIDES[each.variant]: each.verdicts for each in data.variants if each.variant in SIDES}
    for one, two in zip(*sides.values(), strict=False) if len(sides) == 2 else ():
        if one.met != two.met:
            first, second = sides
            text = f"{one.criterion}: {first} {one.why}; {second} {two.why}"
            yield Evidence(first if one.met else second, "computed", text)


def _generated(data: StoredGeneration) -> Iterator[Evidence]:
    from scipy.stats import fisher_exact

    sides: dict[Side, list[Mapping[str, int]]] = {}
    for cell in data.cells:
        name = cell.arm.rpartition("@")[2].partition("(")[0]
        if name in SIDES and not any(other in cell.arm for other in _OTHER_DESIGN):
            sides.setdefault(SIDES[name], []).append(cell.model_dump(exclude={"arm"}))
    answers = {side: sum(each["answers"] for each in own) for side, own in sides.items()}
    if len(sides) < 2 or not all(answers.values()):
        return
    for kind in ("loop", "truncated", "empty", "language", "format"):
        found = {side: sum(each[kind] for each in own) for side, own in sides.items()}
        if not any(found.values()):
            continue
        table = np.array([[found[side], answers[side] - found[side]] for side in sides])
        p = float(fisher_exact(np.maximum(table, 0)).pvalue)
        better = min(sides, key=lambda side: found[side] / answers[side])
        counts = ", ".join(f"{side} {found[side]:,} of {answers[side]:,}" for side in sides)
        text = f"{kind}: {counts} answers (Fisher's exact test: p = {p:.2g})"
        yield Evidence(better if p < _ALPHA else "neither", "measured", text)


def _attended(data: StoredAttention) -> Iterator[Evidence]:
    """Means over layers and heads: described only, since more attention on images is not more accuracy."""
    ropes = {each.name: each.rope.partition("(")[0] for each in data.systems}
    found: dict[tuple[str, str], dict[Side, float]] = {}
    for row in data.figures:
        plain = row.layer == "mean" and row.heads == "mean" and row.begin is None and row.axis is None
        side = SIDES.get(ropes.get(row.system, ""))
        if plain and side and row.value is not None:
            found.setdefault((row.task, row.measure), {})[side] = row.value
    for (task, measure), values in found.items():
        if len(values) == 2:
            texts = ", ".join(f"{side} {value:.3f}" for side, value in sorted(values.items()))
            yield Evidence("neither", "measured", f"attention, {measure} on {task}: {texts}")
