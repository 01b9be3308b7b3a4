"""The benchmark of docs/add-a-benchmark.md, made of its own blocks and run by its own commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from mirrors import png

from evalkit.cli import run_cli
from evalkit.store import RunDir

PAGE = (Path(__file__).resolve().parents[2] / "docs/add-a-benchmark.md").read_text(encoding="utf-8")


def block(text: str, language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(found) == 1, f"{len(found)} blocks of {language}"
    return str(found[0])


def test_the_benchmark_of_the_page_runs_as_it_is_written_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PAGE
    folder = tmp_path / "my_tasks"
    folder.mkdir()
    (folder / "my_charts.py").write_text(block(text, "python"), encoding="utf-8")
    lines = block(text, "json")
    (folder / "charts.jsonl").write_text(lines, encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    for row in rows:
        path = folder / "pictures" / row["image"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVALKIT_DATA", raising=False)
    for line in block(text, "sh").splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "evalkit"
        assert run_cli(words) == 0, line
    assert "nothing is missing" in capsys.readouterr().out
    records = RunDir.open(tmp_path / "results/tried").records()
    assert [record.sample_id for record in records] == [str(row["id"]) for row in rows]
    assert [record.raw for record in records] == [row["question"] for row in rows]  # what `mock` says
    assert [record.cluster_id for record in records] == [row["image"] for row in rows]
    assert {len(record.media) for record in records} == {1}
