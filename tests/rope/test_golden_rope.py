"""Positions, cos and sin against the output of the official code (see the reference data's FORMAT.md)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evalkit.cli import run_cli
from evalkit.rope.scaling import Spectrum
from evalkit.rope.variants import parse_variant
from tools.golden import GoldenResult, spectra
from tools.golden.check import NoCases, check_folder
from tools.golden.mapping import sequence_variant

# What FORMAT.md says an implementation should reproduce without any option of compatibility.
BY_DEFAULT = {
    "original.qwen.rope2",
    "original.qwen.rope25",
    "original.qwen.rope3",
    "unified.mrope_i.reset",
    "unified.mrope_i.noreset",
    "unified.mhrope.reset",
    "unified.vanilla",
    "unified.videorope.ts2",
    "unified.hope.s1",
    "unified.circle.official",
    "unified.mmrope.s111",
}


UNIFIED_MROPE = {"variant": "mrope", "params": {"temporal_stride": 3}}


@pytest.fixture(scope="module")
def verdicts(shared: Path) -> list[GoldenResult]:
    return list(check_folder(shared / "golden"))


def test_every_official_result_is_reproduced(verdicts: list[GoldenResult]) -> None:
    assert [verdict for verdict in verdicts if not verdict.passed] == []
    assert not any(verdict.mode == "unknown" for verdict in verdicts)
    assert Counter(verdict.compared for verdict in verdicts)["cos/sin"] > 50


def test_nothing_in_the_data_is_passed_over(verdicts: list[GoldenResult], shared: Path) -> None:
    seen = {(verdict.case, verdict.key) for verdict in verdicts}
    for path in (shared / "golden").glob("s*.json"):
        assert {(path.stem, key) for key in json.loads(path.read_text())["results"]} <= seen
    spectra = json.loads((shared / "golden" / "freq.json").read_text())
    assert {("freq", key) for key in [*spectra["entries"], *spectra["axis_maps"]]} <= seen


def test_modes_are_the_ones_the_notes_name(verdicts: list[GoldenResult]) -> None:
    for verdict in verdicts:
        if verdict.key in BY_DEFAULT:
            assert verdict.mode == "default", verdict
        if verdict.key.startswith(("transformers-5.17", "transformers-5.23")) and "qwen2" in verdict.key:
            assert verdict.mode == ("default" if verdict.case == "freq" else "compat"), verdict
        if verdict.mode == "official failure":
            assert "official code" in verdict.note


@pytest.fixture
def broken(shared: Path, tmp_path: Path) -> Path:
    for suffix in ("json", "npz"):
        shutil.copy(shared / "golden" / f"s2_one_image.{suffix}", tmp_path)
    with np.load(tmp_path / "s2_one_image.npz") as stored:
        arrays = dict(stored)
    arrays["unified.mrope_i.reset"][1, 0, 12] += 1
    np.savez(tmp_path / "s2_one_image.npz", **arrays)
    return tmp_path


def test_a_mismatch_is_shown_and_ends_with_one(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["ropes", "check", str(broken)]) == 1
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if "MISMATCH" in line]
    assert "unified.mrope_i.reset" in line
    assert "1 of" in printed


def test_a_good_folder_ends_with_zero(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["ropes", "check", str(shared / "golden"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert {"default", "compat", "official failure"} <= {each["mode"] for each in found["results"]}


def test_a_folder_without_cases_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoCases, match="holds no case"):
        list(check_folder(tmp_path))
    (tmp_path / "x.json").write_text('{"layout": "any"}')
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    assert run_cli(["ropes", "check", str(tmp_path)]) == 2
    assert "x.json" in capsys.readouterr().err
    assert run_cli(["ropes", "check", str(tmp_path / "absent")]) == 4


def test_positions_that_were_cut_to_whole_numbers_are_told(shared: Path, tmp_path: Path) -> None:
    """The unified repository writes half steps into an integer tensor."""
    case = json.loads((shared / "golden" / "s4_video_block.json").read_text())
    with np.load(shared / "golden" / "s4_video_block.npz") as stored:
        arrays = dict(stored)
    key = "unified.mrope_i.reset.ts0.5"
    entry = dict(case["results"]["unified.mrope_i.reset"])
    entry["params"] = {**entry["params"], "temporal_stride": 0.5}
    whole = arrays["unified.mrope_i.reset"].copy()
    visual = np.array(case["mm_token_type_ids"]) > 0
    begin = whole[0][visual].min()
    whole[0][visual] = begin + (whole[0][visual] - begin) // 2
    case["results"] = {key: entry}
    after = entry["next_position"][0]
    t, h, w = case["video_grid_thw"][0]
    change = (max((t - 1) / 2, h // 2 - 1, w // 2 - 1) - max(t - 1, h // 2 - 1, w // 2 - 1)) if t else 0
    text = ~visual[0] & (np.arange(visual.shape[1]) > np.flatnonzero(visual[0])[-1])
    whole[:, 0, text] = np.trunc(whole[:, 0, text] + change)
    entry["rope_deltas"] = [[after + change - case["padded_len"]]]
    (tmp_path / "half.json").write_text(json.dumps(case))
    np.savez(tmp_path / "half.npz", **{key: whole.astype(np.int32)})
    (verdict,) = check_folder(tmp_path)
    assert verdict.passed
    assert verdict.variant == "mrope-i(temporal_stride=0.5)"
    assert verdict.mode == "official failure"


@pytest.mark.parametrize(
    ("key", "entry", "expected"),
    [
        ("unified.mrope.ts3", UNIFIED_MROPE, "mrope(temporal_stride=3,absolute_time=false)"),
        ("unified.mrope", {"variant": "mrope", "params": {}}, "mrope(temporal_stride=2,absolute_time=false)"),
        ("unified.new", {"variant": "mhrope", "params": {}}, "mhrope(spatial_reset=false)"),
        ("unified.v2pe.stride64", {"variant": "v2pe", "params": {"visual_stride": 64.0}}, "v2pe(span=64)"),
        ("original.hope.x", {"how": "f(scale_factors=[1.25])"}, "hope(temporal_stride=1.25)"),
        (
            "original.circle.x",
            {"how": "get_rope_index {'alpha': 1.0, 'radius': 'auto-3', 'move_to_origin': True}"},
            "circlerope(radius=auto-3,alpha=1)",
        ),
        ("transformers-5.20.1.qwen2_5_vl", {}, "mrope(absolute_time=true,compat=hf5)"),
        ("transformers-4.57.1.qwen2_5_vl", {}, "mrope(absolute_time=true,compat=int_seconds)"),
        ("transformers-5.5.0.qwen2_vl", {}, "mrope(absolute_time=false,compat=hf5)"),
    ],
)  # fmt: skip
def test_results_never_seen_are_mapped_by_what_they_record(key: str, entry: dict, expected: str) -> None:
    ours = sequence_variant(key, entry)
    assert ours is not None
    assert str(parse_variant(ours.variant)) == expected


def test_an_unknown_source_is_not_passed_off_as_checked() -> None:
    assert sequence_variant("elsewhere.rope", {}) is None
    assert sequence_variant("unified.x", {"variant": "nobody", "params": {}}) is None


def with_frequencies_off_by(units: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend a processor whose functions round our frequencies otherwise."""
    exact = spectra.spectrum_of

    def rounded(*arguments: Any) -> Spectrum:
        found = exact(*arguments)
        return replace(found, inv_freq=found.inv_freq * (1 + units * spectra.EPS))

    monkeypatch.setattr(spectra, "spectrum_of", rounded)


@pytest.mark.parametrize("units", [-2, -1, 1, 2])
def test_spectra_agree_on_a_processor_that_rounds_otherwise(
    shared: Path, units: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_frequencies_off_by(units, monkeypatch)
    found = [verdict for verdict in check_folder(shared / "golden") if verdict.case == "freq"]
    assert [verdict for verdict in found if not verdict.passed] == []


def test_a_frequency_off_by_more_than_rounding_is_a_mismatch(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_frequencies_off_by(40, monkeypatch)
    rotations = [each for each in check_folder(shared / "golden") if each.compared in ("cos/sin", "spectrum")]
    assert rotations
    assert not any(verdict.passed for verdict in rotations if verdict.case == "freq")
