"""``evalkit diagnose attention``: the same prompts and answers as a run's, every kind of output, refusals."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import mirrors_image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_qwen import save_checkpoint

from evalkit.api import diagnose_attention, evaluate
from evalkit.cli import run_cli
from evalkit.config.run_spec import RunSpec
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.diagnose.attention.summary import CURVE, LIFT, MEAN, SHARE, SINK
from evalkit.store import RunDir

COMMAND = (
    "diagnose",
    "attention",
    "--model",
    "tiny",
    "--rope",
    "mhrope",
    "--tasks",
    "mini_docvqa",
    "--limit",
    "3",
)


def test_what_is_looked_at_is_what_a_run_asks_and_answers(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"ropes": "mhrope", "limit": 2, "workers": 0}
    evaluate("tiny", "mini_docvqa,mini_video", **asked, output=str(tmp_path / "run"))
    stored = {each.sample_id: each for each in RunDir.open(tmp_path / "run").records()}
    spec = RunSpec(models="tiny", tasks="mini_docvqa,mini_video", **asked)
    found = diagnose_attention(spec, AttentionOptions(pictures=2))
    assert {each.sample: each.answer for each in found.pictures} == {
        sample: each.raw for sample, each in stored.items()
    }
    assert len(found.pictures) == 4
    assert all(each.panels for each in found.pictures)
    (system,) = found.systems
    assert system.samples == {"mini_docvqa": 2, "mini_video": 2}
    assert set(system.head_groups) == {"t", "h", "w"}
    longest = max(len(each.token_ids) for each in stored.values() if each.task == "mini_docvqa")
    ends = [row.end for row in found.rows if (row.task, row.measure) == ("mini_docvqa", CURVE)]
    assert max(float(end or 0) for end in ends) > longest


def test_answers_are_drawn_as_in_a_run(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"ropes": "mrope-i", "limit": 4, "temperature": 2.0}
    evaluate("tiny", "mini_docvqa", **asked, output=str(tmp_path / "run"), workers=0)
    drawn = {each.sample_id: each.raw for each in RunDir.open(tmp_path / "run").records()}
    found = diagnose_attention(
        RunSpec(models="tiny", tasks="mini_docvqa", **asked), AttentionOptions(pictures=4)
    )
    assert {each.sample: each.answer for each in found.pictures} == drawn


def test_a_command_writes_every_kind_of_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"a.{kind}" for kind in ("html", "csv", "json", "svg", "png")]
    outputs = [word for name in names for word in ("-o", str(tmp_path / name))]
    assert run_cli([*COMMAND, "--layers", "2,4", "--sink", "10", *outputs, "-q"]) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"mini_docvqa: visual share \(%\)\nsystem +heads +layer 2 +layer 4 +mean of layers +n\n", said
    )
    assert "tiny@mhrope  t heads" in said
    stored = json.loads((tmp_path / "a.json").read_text())
    assert stored["options"]["layers"] == [2, 4]
    assert "10%" in stored["definitions"]["sink strength"]
    assert stored["systems"][0]["fingerprint"]
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(rows) == len(stored["figures"])
    shares = [row for row in rows if row["measure"] == SHARE]
    assert {row["layer"] for row in shares} == {"mean", "2", "4"}
    by_head = [float(row["value"]) for row in shares if row["layer"] == "4" and row["heads"].isdigit()]
    (mean,) = [float(row["value"]) for row in shares if (row["layer"], row["heads"]) == ("4", MEAN)]
    assert mean == pytest.approx(sum(by_head) / len(by_head))
    assert {row["axis"] for row in rows if row["measure"] == LIFT} == {"t", "h", "w"}
    assert all(0 <= float(row["value"]) <= 10 for row in rows if row["measure"] == SINK)
    page = (tmp_path / "a.html").read_text()
    assert page.count("data:image/png;base64,") == 4  # two samples, two layers
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert (tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_samples_that_cannot_be_asked_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    rows = mirrors_image.build_chartqa_drawn_mirror(root) * 2
    path = root / "lmms-lab-encoder/ChartQA/data/test-00000-of-00001.parquet"
    schema = pq.read_schema(path)
    rows = [{**row, "question": f"{row['question']} ({number})"} for number, row in enumerate(rows)]
    rows[1]["image"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    model = save_checkpoint(tmp_path / "model")
    words = ["--model", str(model), "--tasks", "chartqa", "--data-root", str(root), "--json"]
    assert run_cli(["diagnose", "attention", *words, "--dtype", "float32", "--device", "cpu"]) == 3
    found = json.loads(capsys.readouterr().out)
    (skipped,) = found["skipped"]
    assert (skipped["task"], skipped["sample"]) == ("chartqa", "1")
    assert "image" in skipped["reason"]
    assert found["systems"][0]["samples"] == {"chartqa": len(rows) - 1}
    assert {row["samples"] for row in found["figures"] if row["measure"] == SHARE} == {len(rows) - 1}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layers", "9"], "has 4 layers, and no layer 9"),
        (["--layers", "first"], "it is no list of numbers"),
        (["-o", "attention.txt"], "use one of .html, .csv, .json, .svg, .png"),
        (["--model", "mock"], "it has no attention to look at"),
        (["--sink", "0"], "0 is not in the range"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = [*COMMAND[:2], *COMMAND[4:]] if "--model" in words else [*COMMAND]
    assert run_cli([*begin, *words, "-q"]) == 2
    assert said in capsys.readouterr().err


def test_a_mistyped_subcommand_is_corrected(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["diagnose", "atention"]) == 2
    assert "attention" in capsys.readouterr().err
