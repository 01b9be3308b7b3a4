"""The same checkpoint on the same data through lmms-eval itself and through evalkit.

Needs lmms-eval: `make lmms` builds an environment with it, or EVALKIT_LMMS_PYTHON names one (which must
have evalkit too).
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from mirrors import IMAGE, write_parquet

from evalkit.cli import run_cli
from evalkit.core.registry import load_task
from evalkit.core.types import MediaRef
from evalkit.integrations.lmms_eval.task import load
from evalkit.metrics.base import ExternalMetric
from evalkit.store import RunDir

NAME = "evalkit_charts"
YAML = """\
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {data}
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: 8
process_results: !function utils.process
metric_list:
  - metric: exact
    aggregation: !function utils.aggregate
    higher_is_better: true
  - metric: lucky
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.1
"""
UTILS = """
import random

def visual(doc):
    print("noise that must not reach the pipe")
    return [doc["image"].convert("RGB")]

def text(doc, kwargs=None):
    return "Look. " + doc["question"]

def process(doc, results):
    # As many of lmms-eval's tasks do with answers that they can't read.
    guess = random.choice(["A", "B", "C", "D", results[0]])
    return {"exact": {"right": results[0].strip() == doc["answer"]}, "lucky": float(guess == doc["answer"])}

def aggregate(items):
    return sum(item["right"] for item in items) / len(items)
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task of lmms-eval's own form, about our charts."""
    folder = tmp_path_factory.mktemp("lmms")
    rows: list[dict[str, Any]] = []
    for sample in list(load_task("mini_chartqa").samples(None))[:12]:
        image = sample.parts[0]
        assert isinstance(image, MediaRef)
        data = image.data or Path(str(image.path)).read_bytes()
        question, answer = sample.meta["question"], sample.reference
        rows.append({"question": question, "answer": answer, "image": {"bytes": data, "path": "chart.png"}})
    schema = {"question": pa.string(), "answer": pa.string(), "image": IMAGE}
    write_parquet(folder / "data/test.parquet", rows, schema)
    (folder / "tasks").mkdir()
    (folder / f"tasks/{NAME}.yaml").write_text(YAML.format(data=folder / "data/test.parquet", name=NAME))
    (folder / "tasks/utils.py").write_text(UTILS)
    return folder / "tasks"


@pytest.mark.slow
def test_both_ways_ask_the_same_and_score_the_same(
    tmp_path: Path,
    tasks: Path,
    lmms_python: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    words = [lmms_python, "-m", "lmms_eval", "--model", "evalkit", "--tasks", NAME]
    words += ["--model_args", "pretrained=tiny,rope=mrope-i", "--include_path", str(tasks)]
    words += ["--batch_size", "4", "--log_samples", "--output_path", str(tmp_path / "theirs")]
    theirs = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    # In this process: lmms-eval's own is kept for the metric that is asked below.
    words = ["run", "--model", "tiny", "--rope", "mrope-i"]
    words += ["--tasks", f"lmms:{NAME}", "--lmms-include", str(tasks), "--lmms-python", lmms_python]
    words += ["--output", str(tmp_path / "ours"), "--workers", "0", "--json"]
    code = run_cli(words)
    said = capsys.readouterr()
    _, complaints = theirs.communicate()
    assert theirs.returncode == 0, complaints[-3000:]
    assert code == 0, said.err
    results = json.loads(next((tmp_path / "theirs").rglob("*results.json")).read_text())
    lines = next((tmp_path / "theirs").rglob("*samples*.jsonl")).read_text().splitlines()
    samples = {each["doc_id"]: each for each in map(json.loads, lines)}
    cell = json.loads(said.out)["arms"][0]["tasks"][f"lmms:{NAME}"]
    records = RunDir.open(tmp_path / "ours").records()

    assert len(records) == len(samples) == 12
    for record in records:
        sample = samples[int(record.sample_id)]
        asked = (
            next(each for each in sample["input"] if each)
            if isinstance(sample["input"], list)
            else sample["input"]
        )
        assert "Look. " in asked
        assert asked in record.prompt
        assert [record.raw.strip()] == [text.strip() for text in _flat(sample["filtered_resps"])]
        assert record.score is not None
        assert record.score.value == float(record.raw.strip() == record.reference)
    assert cell["value"] == results["results"][NAME]["exact,none"]
    assert 0 < cell["value"] <= 1
    assert json.loads(said.out)["columns"][0]["metric"].startswith("exact by lmms-eval ")

    # What a task draws depends on the document alone, not on what was judged before it.
    metric = load(f"lmms:{NAME}", lmms_python, [str(tasks)])[0].metric
    assert isinstance(metric, ExternalMetric)
    some = records[3:8]
    for record, score in zip(some, metric.judge([each.answer() for each in some]).scores, strict=True):
        assert record.score is not None
        assert record.score.detail == score.detail


def _flat(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [text for each in value for text in _flat(each)]
