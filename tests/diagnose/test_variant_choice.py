"""`evalkit advise` on "MHRoPE or MRoPE-I?": what speaks for which, and what decides."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.core.strict_json import to_json
from evalkit.diagnose.choice import Choice, choose
from evalkit.diagnose.choice_inputs import head_of_arms, head_of_config, read_diagnosis
from evalkit.diagnose.layouts import read_layouts
from evalkit.diagnose.ropes import diagnose_ropes
from evalkit.diagnose.spectrum import Head
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Score
from evalkit.report.aggregate import BenchmarkColumn, make_cell
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.gather import CombinedRuns
from evalkit.rope.variants import VARIANTS
from evalkit.store import Record

COLUMNS = [
    BenchmarkColumn("docs", "image", "A", "exact", (0.0, 1.0)),
    BenchmarkColumn("clip", "video", "B", "exact", (0.0, 1.0)),
    BenchmarkColumn("refs", "grounding", "C", "exact", (0.0, 1.0)),
]


class Runs(CombinedRuns):
    """Runs whose metric is known."""

    def metric(self, arm: str, task: str) -> Any:
        return Anls()


def runs(scores: dict[str, dict[str, Sequence[float]]], trained_with: str | None = None) -> CombinedRuns:
    """``scores`` maps ``name@rope`` and task to what each sample scored."""
    columns = [column for column in COLUMNS if column.task in next(iter(scores.values()))]
    arms, records, cells = [], {}, {}
    for name, tasks in scores.items():
        rope = name.rpartition("@")[2]
        arms.append(
            Arm(name, "m", rope, "qwen2_5_vl", name, "run", trained_with if rope == "mhrope" else None)
        )
        records[name] = {
            task: [
                Record(
                    name,
                    "m",
                    rope,
                    task,
                    str(n),
                    n,
                    f"{task}{n}",
                    str(n),
                    "",
                    "x",
                    "x",
                    "stop",
                    score=Score(value),
                )
                for n, value in enumerate(values)
            ]
            for task, values in tasks.items()
        }
        cells[name] = {
            column.task: make_cell(
                name, column, own := records[name][column.task], len(own), Anls(), None, {}
            )
            for column in columns
        }
    return Runs(Comparison(arms, columns, cells), records, {})


def said(found: Choice) -> str:
    return "\n".join(f"{each.basis} {each.favours} {each.text}" for each in found.evidence)


AHEAD, BEHIND = [1.0] * 90 + [0.0] * 10, [1.0] * 50 + [0.0] * 50


def test_too_few_key_value_heads_decide() -> None:
    found = choose(runs({"a@vanilla": {"docs": AHEAD}}), kv_heads=2)
    assert (found.answer, found.sure) == ("MRoPE-I", True)
    assert "2 key-value heads; MHRoPE needs one each" in found.why


def test_two_checkpoints_never_decide_however_far_apart() -> None:
    found = choose(runs({"a@mrope-i": {"docs": BEHIND}, "b@mhrope": {"docs": AHEAD}}), kv_heads=8)
    assert (found.answer, found.sure) == ("MHRoPE", False)
    assert "MHRoPE 90.0, MRoPE-I 50.0; first in >99% of resamples" in found.why
    assert any("3 trainings of each" in each for each in found.missing)
    assert "2:3:3" in said(found)


def test_three_trainings_of_each_can_decide() -> None:
    scores = {f"{n}@mrope-i": {"docs": [1.0] * (80 + n) + [0.0] * (20 - n)} for n in range(3)}
    scores |= {f"{n}@mhrope": {"docs": [1.0] * (50 + n) + [0.0] * (50 - n)} for n in range(3)}
    found = choose(runs(scores), kv_heads=8)
    assert (found.answer, found.sure) == ("MRoPE-I", True)
    assert "MRoPE-I 81.0 (3 trainings), MHRoPE 51.0 (3 trainings); Welch's test: p =" in found.why
    mixed = {f"{n}@mrope-i": {"docs": [1.0] * (50 + 15 * n) + [0.0] * (50 - 15 * n)} for n in range(3)}
    mixed |= {f"{n}@mhrope": {"docs": [1.0] * (52 + 15 * n) + [0.0] * (48 - 15 * n)} for n in range(3)}
    assert not choose(runs(mixed), kv_heads=8).sure


def test_the_ability_profile_is_by_category() -> None:
    found = choose(
        runs(
            {
                "a@mrope-i": {"docs": AHEAD, "clip": BEHIND, "refs": AHEAD},
                "b@mhrope": {"docs": BEHIND, "clip": AHEAD, "refs": BEHIND},
            }
        ),
        kv_heads=4,
    )
    assert "measured MRoPE-I image: MRoPE-I 90.0, MHRoPE 50.0" in said(found)
    assert "measured MHRoPE video: MHRoPE 90.0, MRoPE-I 50.0" in said(found)
    assert "split 2:1:1 (time, height, width) by MHRoPE: a single one for h and w" in said(found)


def test_the_mix_of_tasks_weighs_the_papers_means() -> None:
    table = runs({"a@vanilla": {"docs": AHEAD, "clip": AHEAD, "refs": AHEAD}})
    whole = choose(table, kv_heads=8)
    # Means of Tables 2, 10 and 11: 63.79 - 62.92, 52.36 - 52.58, 75.85 - 74.92, and so on.
    assert "MRoPE-I is +0.53, +0.86, +0.93 points from MHRoPE" in said(whole)
    assert (whole.answer, whole.sure) == ("MRoPE-I", False)
    grounding = choose(table, {"image": 0, "video": 0, "grounding": 1}, kv_heads=8)
    assert "(grounding 100%) MRoPE-I is +0.93, +2.29, +2.43" in said(grounding)
    video = choose(table, {"image": 0, "video": 1, "grounding": 0}, kv_heads=8)
    assert "published neither by your mix (video 100%) MRoPE-I is -0.22, -0.31, +0.18" in said(video)
    assert "appendix D.1" in video.why
    assert any("a benchmark of image" in each for each in video.missing)
    assert any("both variants on your tasks" in each for each in whole.missing)


def test_a_checkpoint_of_another_training_is_no_evidence() -> None:
    found = choose(runs({"a@mrope-i": {"docs": BEHIND}, "b@mhrope": {"docs": AHEAD}}, trained_with="mrope"))
    assert not [each for each in found.evidence if each.basis == "measured"]
    assert any("b@mhrope was with mrope" in each for each in found.missing)
    other = choose(runs({"a@mrope-i(spatial_reset=false)": {"docs": BEHIND}, "b@mhrope": {"docs": AHEAD}}))
    assert not [each for each in other.evidence if each.basis == "measured"]


def test_the_context_speaks_where_it_must_be_extended() -> None:
    table = runs({"a@vanilla": {"docs": AHEAD}})
    short = choose(table, head=Head(length=32768), context=32768)
    assert "in both, of 32,768 trained: no extension is needed" in said(short)
    long = choose(table, head=Head(length=32768), context=262144)
    assert "computed neither 262,144 tokens reach position 44,415 (frames)" in said(long)
    assert "published MRoPE-I YaRN" in said(long)
    assert any("--context" in each for each in choose(table, head=Head()).missing)


def test_diagnoses_are_taken_into_account(tmp_path: Path) -> None:
    table = runs({"a@mrope-i": {"docs": AHEAD}, "b@mhrope": {"docs": AHEAD}})
    cell = {"answers": 200, "loop": 0, "truncated": 0, "empty": 0, "language": 0, "format": 3}
    generation = {
        "kind": "generation",
        "cells": [{"arm": "a@mrope-i"} | cell, {"arm": "b@mhrope"} | cell | {"loop": 40}],
    }
    pair = [VARIANTS["mrope-i"], VARIANTS["mhrope"]]
    ropes = diagnose_ropes(pair, read_layouts(["mine=t4000+i4x4"]), Head(32, 4)).to_json()
    row = {"task": "docs", "measure": "visual share", "layer": "mean", "heads": "mean"}
    attention = {
        "systems": [{"name": "a", "rope": "mrope-i"}, {"name": "b", "rope": "mhrope"}],
        "figures": [row | {"system": "a", "value": 0.25}, row | {"system": "b", "value": 0.5}],
    }
    stored = []
    for number, each in enumerate((generation, ropes, attention)):
        (tmp_path / f"{number}.json").write_text(to_json(each))
        stored.append(read_diagnosis(tmp_path / f"{number}.json"))
    found = choose(table, kv_heads=4, diagnostics=stored)
    text = said(found)
    assert (
        "measured MRoPE-I loop: MRoPE-I 0 of 200, MHRoPE 40 of 200 answers (Fisher's exact test: p =" in text
    )
    assert "measured neither format: MRoPE-I 3 of 200, MHRoPE 3 of 200" in text
    assert re.search("computed MHRoPE range: MRoPE-I . covers 80.0%", text)
    assert "attention, visual share on docs: MHRoPE 0.500, MRoPE-I 0.250" in text
    assert not any("--diagnostics" in each for each in found.missing)
    assert (found.answer, found.sure) == ("MRoPE-I", False)


def test_heads_are_read_from_configurations() -> None:
    # As transformers 5 writes them (text_config, rope_parameters), and as version 4 did.
    new = {
        "text_config": {
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 262144,
            "rope_parameters": {"rope_theta": 5e6},
        }
    }
    old = {
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "hidden_size": 3584,
        "rope_theta": 1e6,
        "max_position_embeddings": 128000,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    }
    assert head_of_config(new) == Head(128, 8, 5e6, 262144)
    assert head_of_config(old) == Head(128, 4, 1e6, 128000)
    for broken in (
        {"num_attention_heads": 0},
        {"num_attention_heads": "8", "head_dim": 3},
        {"text_config": 5},
    ):
        assert head_of_config({**broken, "rope_scaling": [1]}) is None
    assert head_of_config({"model_type": "x"}) is None
    assert head_of_arms([Arm("a", "org/model", "mrope", "f", "", "r")]) is None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"kind": "ropes"}',
        '{"rows": []}',
        '{"kind": ["x"]}',
        '{"kind": "generation", "cells": [{}]}',
        '{"kind": "generation", "cells": [{"arm": "a@mhrope", "answers": -1}]}',
        '{"systems": [1], "figures": []}',
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(UsageError, match="diagnosis"):
        read_diagnosis(file)


def test_the_command_answers_with_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--model", "mrope-i=mock", "--model", "mhrope=mock:fixed=A"]
    run, file = tmp_path / "run", tmp_path / "g.json"
    options = ["--tasks", "mini_docvqa,mini_video", "--limit", "30", "--workers", "0", "--output", str(run)]
    assert run_cli(["run", *models, *options]) in (0, 3)
    assert run_cli(["diagnose", "generation", str(run), "-o", str(file)]) == 0
    capsys.readouterr()
    assert run_cli(["advise", str(run), "--kv-heads", "2", "--diagnostics", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "MHRoPE or MRoPE-I?  MRoPE-I, sure: the model has 2 key-value heads" in printed
    assert "what would have to be measured" in printed
    assert run_cli(["advise", str(run), "--json"]) == 0
    choice = json.loads(capsys.readouterr().out)["choice"]
    assert set(choice) == {"answer", "sure", "why", "evidence", "missing"}
    assert not choice["sure"]
    assert run_cli(["advise", str(run), "--diagnostics", str(run / "manifest.json")]) == 2
