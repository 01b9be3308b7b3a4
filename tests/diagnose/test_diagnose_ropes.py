"""`evalkit diagnose ropes`: numbers against independent ones, and verdicts against the paper's Table 1."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.diagnose.consistency import Consistency, consistency, structure_of
from evalkit.diagnose.criteria import CRITERIA, TABLE1
from evalkit.diagnose.layouts import PRESETS, TIMESTAMP, read_layouts
from evalkit.diagnose.ropes import RopeDiagnosis, diagnose_ropes
from evalkit.diagnose.spectrum import Head, axis_spectra, decay, lay_out, text_difference
from evalkit.rope.layout import TextRun, VisualBlock
from evalkit.rope.positions import position_ids
from evalkit.rope.variants import VARIANTS, parse_variant

NAMES = [*VARIANTS, "mrope(absolute_time=false)"]


@pytest.fixture(scope="module")
def whole() -> RopeDiagnosis:
    return diagnose_ropes([parse_variant(name) for name in NAMES], read_layouts([]), Head())


def on(variant: str, layout: str) -> Consistency:
    parsed = parse_variant(variant)
    return consistency(parsed.position, lay_out(parsed, Head()).used(), read_layouts([layout])[0])


# Table 1 of arXiv 2510.23095v3 as printed: 3D Struct., Modal Int., Range, Gran., Text-only RoPE.
PRINTED = {
    "vanilla": "x v - - v",
    "v2pe": "x v - - v",
    "rope-tie": "v x v x v",
    "mrope": "v v x x v",
    "circlerope": "v x x x v",
    "videorope": "v x x x v",
    "il-rope": "v v x x x",
    "omni-rope": "v v x x x",
    "mhrope": "v v v v v",
    "mrope-i": "v v v x v",
}
MARKS = {"v": True, "x": False, "-": None}


def test_verdicts_are_those_of_table_1_but_for_two(whole: RopeDiagnosis) -> None:
    different = set()
    for each in whole.variants:
        for verdict in each.verdicts:
            assert verdict.in_paper == (each.variant in TABLE1)
        if each.variant in PRINTED:
            printed = [MARKS[mark] for mark in PRINTED[each.variant].split()]
            assert [verdict.paper for verdict in each.verdicts] == printed
            found = zip(each.verdicts, printed, strict=True)
            different |= {(each.variant, own.criterion) for own, paper in found if own.met != paper}
    # A ring bends the grid; and with the official radius it is nearer to the text than a page's grid is.
    assert different == {("circlerope", "3-D structure"), ("circlerope", "modality interval")}
    said = whole.contradictions()
    assert len(said) == 2
    assert "circlerope, 3-D structure: Table 1 says yes; computed: a step moves a token by another" in said[0]
    assert "circlerope, modality interval: Table 1 says no; computed:" in said[1]
    assert "9.2 (page)" in said[1]


def test_methods_that_are_not_in_table_1_have_verdicts_too(whole: RopeDiagnosis) -> None:
    found = {each.variant: [verdict.met for verdict in each.verdicts] for each in whole.variants}
    assert found["hope"] == [False, False, False, False, False]
    assert found["mmrope"] == [True, True, False, False, True]
    assert found["mrope(absolute_time=false)"] == found["mrope"]


# growth, overlap on h, depth, interval, step down over step right: of an independent implementation.
PAGE = {
    "vanilla": (1.0, None, 0, 1320.5, 44),
    "v2pe": (0.0625, None, 0, 83.5, 44),
    "mrope": (0.02273, 0, 0, 43.0, 1),
    "mrope-i": (0.02273, 0, 0, 56.3, 1),
    "mhrope": (0.02273, 0, 0, 56.3, 1),
    "videorope": (0.00038, 0.5, 30, 9.0, 1),
    "hope": (0.00038, 0.5, 30, 13.0, 1),
    "circlerope": (0.00347, 0, 0, 9.2, None),
    "rope-tie": (1.0, 0, 0, 2623, 1),
}


@pytest.mark.parametrize("variant", PAGE)
def test_positions_on_a_page(variant: str) -> None:
    found = on(variant, "page")
    growth, overlap, depth, interval, ratio = PAGE[variant]
    axes = {axis.axis: axis for axis in found.axes}
    assert found.growth == pytest.approx(growth, abs=6e-6)
    assert found.interval == pytest.approx(interval, abs=0.06)
    assert max(axis.depth for axis in found.axes) == depth
    if overlap is not None:
        assert axes["h"].overlap == pytest.approx(overlap)
    if ratio is not None:
        assert found.step_ratio == pytest.approx(ratio)


def test_transformers_5_meets_the_times_of_a_long_video() -> None:
    found = on("mrope(absolute_time=false,compat=hf5)", "v=t20+v64x10x18+t30+g256")
    time = found.axes[0]
    assert (time.axis, time.depth) == ("t", 46)
    assert time.overlap == pytest.approx(0.72, abs=0.005)
    assert on("mrope(absolute_time=false)", "v=t20+v64x10x18+t30+g256").overlap == 0


def test_motion_is_coupled_where_frames_are_blocks_without_reset() -> None:
    assert on("mrope", "frames").motion == 1  # equation 3 of the paper
    assert on("mrope-i", "frames").motion == 0  # equation 4
    assert on("mrope", "short-video").motion == 0
    assert on("videorope", "short-video").motion == 1


def test_frames_collapse_where_nothing_tells_them_apart() -> None:
    collapsed = on("circlerope(video=collapse)", "short-video")
    assert (collapsed.structure, collapsed.duplicates) == ("lost", 2880 - 180)
    frames = diagnose_ropes([VARIANTS["hope"]], read_layouts(["frames"]), Head()).variants[0]
    assert frames.layouts[0].structure == "kept"  # of each frame alone
    assert frames.verdicts[0].met is False
    assert "are rotated as one of another image or frame is" in frames.verdicts[0].why
    hope = on("hope", "short-video")  # time has no pairs: a frame is told by rows and columns alone
    assert (hope.structure, hope.text_collisions > 0) == ("lost", True)


@settings(max_examples=30, deadline=None)
@given(
    variant=st.sampled_from(sorted(VARIANTS)),
    frames=st.integers(1, 3),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    text=st.integers(1, 9),
    answer=st.integers(0, 12),
)
def test_collisions_are_those_of_the_positions(
    variant: str, frames: int, rows: int, columns: int, text: int, answer: int
) -> None:
    """Against the plain definition, token by token, on the positions that a model is given."""
    parsed = parse_variant(variant)
    used = lay_out(parsed, Head()).used()
    written = f"mine=t{text}+v{frames}x{rows}x{columns}+t2+i{rows}x{columns}+t{text}" + (
        f"+g{answer}" if answer else ""
    )
    layout = read_layouts([written])[0]
    with mock.patch("evalkit.diagnose.consistency.CONTEXTS", {}):
        found = consistency(parsed.position, used, layout)
    segments = [*layout.segments, *([TextRun(answer)] if answer else [])]
    ids = position_ids(parsed.position, segments).ids.T.astype(float)
    kinds = [number for number, each in enumerate(segments) for _ in range(each.length)]
    visual = [place for place, kind in enumerate(kinds) if isinstance(segments[kind], VisualBlock)]
    words = [place for place in range(len(kinds)) if place not in visual]
    tuples = [tuple(row[used]) for row in ids]
    assert found.text_collisions == sum(any(tuples[p] == tuples[w] for w in words if w > p) for p in visual)
    own = [
        [tuples[p] for p in visual if kinds[p] == kind] for kind in dict.fromkeys(kinds[p] for p in visual)
    ]
    assert found.duplicates == sum(len(each) - len(set(each)) for each in own)
    assert found.shared_blocks == len(set(own[0]) & set(own[1]))
    for axis, number in zip(found.axes, used, strict=True):
        met = sum(any(ids[p, number] == ids[w, number] for w in words if w > p) for p in visual)
        assert axis.overlap == pytest.approx(met / len(visual))


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_largest_position_is_that_of_the_whole_sequence(variant: str) -> None:
    parsed, layout = parse_variant(variant), read_layouts(["mine=t7+i30x40+t3+f2x5x6+t2"])[0]
    used = lay_out(parsed, Head()).used()
    times, left = divmod(32768, layout.prompt_tokens)
    ids = position_ids(parsed.position, [*layout.segments * times, TextRun(left)]).ids[used]
    assert ids.shape[1] == 32768
    assert consistency(parsed.position, used, layout).largest["32k"] == pytest.approx(float(ids.max()))


def test_structure_is_seen_in_tiles_too() -> None:
    block = VisualBlock((1, 4, 4), tile=(2, 2))
    rows, columns = np.divmod(np.arange(16.0), 4)
    ids = np.empty((2, 16))
    ids[:, block.token_indices().reshape(-1)] = np.stack([rows, columns])
    assert structure_of(block, ids) == "kept"
    assert structure_of(VisualBlock((1, 4, 4)), ids) == "bent"


SPECTRUM = {  # coverage and Kolmogorov distance by axis, from an independent implementation
    "mrope": {"t": (0.238, 0.75), "h": (0.365, 0.375), "w": (0.365, 0.625)},
    "mrope-i": {"t": (1.0, 0.104), "h": (0.905, 0.078), "w": (0.905, 0.0625)},
    "mhrope": {"t": (1.0, 0.0), "h": (1.0, 0.0), "w": (1.0, 0.0)},
    "videorope": {"t": (0.238, 0.75), "h": (0.730, 0.266), "w": (0.730, 0.25)},
    "mmrope": {"t": (0.810, 0.1875), "h": (0.905, 0.0625), "w": (0.905, 0.094)},
}


@pytest.mark.parametrize("variant", SPECTRUM)
def test_spectrum_use(variant: str) -> None:
    found = {each.axis: each for each in axis_spectra(lay_out(parse_variant(variant), Head()))}
    for axis, (coverage, distance) in SPECTRUM[variant].items():
        assert found[axis].coverage == pytest.approx(coverage, abs=6e-4)
        assert 1 - found[axis].evenness == pytest.approx(distance, abs=6e-4)
    if variant == "mrope":
        assert found["t"].shortest == pytest.approx(2 * np.pi)
        assert (round(found["t"].longest), round(found["h"].longest)) == (160, 28473)
        assert (found["t"].gap, found["w"].resolution) == (48, 0.375)


@pytest.mark.parametrize("variant", [*VARIANTS, "mrope-i(scaling=base)", "mrope-i(scaling=yarn(8))"])
def test_the_text_prior_is_exact_where_it_is_promised(variant: str) -> None:
    parsed = parse_variant(variant)
    found = text_difference(lay_out(parsed, Head()))
    assert (found == 0) == parsed.keeps_text_prior


def test_decay_is_the_papers_sum() -> None:
    laid = lay_out(parse_variant("mrope"), Head())
    theta = [1e6 ** (-2 * k / 128) for k in range(64)]
    for distance in (0, 3, 250):
        total = 0.0
        partial = 0j
        for k in range(64):
            partial += np.exp(1j * distance * theta[k]) if k < 16 else 1
            total += abs(partial)
        assert decay(laid, 0, [distance])[0] == pytest.approx(total / 64 / 32.5, rel=1e-5)


def test_layouts_are_read_and_refused() -> None:
    assert [each.name for each in read_layouts([])] == list(PRESETS)
    frames = read_layouts(["mine=t1+f2x3x4+g5"])[0]
    assert frames.generated == 5
    assert frames.prompt_tokens == 1 + 2 * (TIMESTAMP + 12)
    for text, why in (
        ("pge", "Did you mean `page`"),
        ("a=t20", "no visual block"),
        ("a=i0x4", "no piece"),
        ("a=i4x4+g2+t1", "follows its answer"),
        ("a=v9999x9999x9999", "2,000,000 tokens"),
        ("=i4x4", "no name"),
    ):
        with pytest.raises(UsageError) as caught:
            read_layouts([text])
        assert why in str(caught.value)


def test_the_command_writes_all_its_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, figure, result = tmp_path / "a.csv", tmp_path / "a.svg", tmp_path / "a.json"
    options = ["--rope", "mrope-i,circlerope", "--layout", "page", "--layout", "mine=t400+v4x3x3+t400+g8"]
    files = ["--csv", str(table), "--figure", str(figure), "-o", str(result)]
    assert run_cli(["diagnose", "ropes", *options, *files]) == 0
    printed = capsys.readouterr().out
    assert "where it contradicts the paper" in printed
    assert "mine = t400+v4x3x3+t400+g8" in printed
    first = figure.read_bytes()
    assert run_cli(["diagnose", "ropes", *options, "--json", "--figure", str(figure)]) == 0
    assert figure.read_bytes() == first
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(result.read_text())
    assert [each["variant"] for each in found["variants"]] == ["mrope-i", "circlerope"]
    assert len(found["variants"][0]["decay"]["t"]) == len(found["distances"])
    rows = list(csv.DictReader(table.open()))
    growth = {(row["variant"], row["layout"]): row["value"] for row in rows if row["measure"] == "growth"}
    assert float(growth["mrope-i", "page"]) == pytest.approx(60 / 2640)
    assert {row["measure"] for row in rows} >= {*CRITERIA, "coverage", "text_difference", "largest_256k"}


def test_what_cannot_be_laid_out_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["diagnose", "ropes", "--layout", "page", "--kv-heads", "2"]) == 0
    assert "mhrope: the model has 2 key-value heads" in capsys.readouterr().out
    assert run_cli(["diagnose", "ropes", "--rope", "mhrope", "--kv-heads", "2"]) == 2
    assert run_cli(["diagnose", "ropes", "--head-dim", "7"]) == 2
    assert run_cli(["diagnose", "rope"]) == 2
    assert "Did you mean `ropes`" in capsys.readouterr().err


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from evalkit.cli import run_cli\n"
        "assert run_cli(['diagnose', 'ropes', '--layout', 'page', '--json']) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
