"""Close calls are answered again, alone; what differs is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_run import FakeModel, request

from evalkit.cli import run_cli
from evalkit.engine.audit import audit
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.local import LocalExecutor


def test_what_differs_is_named() -> None:
    requests = [request(1, "ab"), request(2, "cd")]
    executor = LocalExecutor([FakeModel(), FakeModel()])  # type: ignore[list-item]
    tokens: dict[str, tuple[int, ...]] = {"k1": (1,), "k2": (2,)}
    assert audit(executor, [requests, []], tokens, EngineConfig(workers=0)) == [["k2"], []]


@pytest.mark.slow
def test_a_run_is_audited_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--model", "tiny", "--rope", "mrope-i", "--tasks", "mini_chartqa", "--limit", "6"]
    more = [
        "--audit",
        "1000",
        "--workers",
        "0",
        "--dtype",
        "float32",
        "--output",
        str(tmp_path / "run"),
        "-q",
    ]
    assert run_cli([*words, *more]) == 0
    assert (
        "6 answers with a margin below 1000.0 given again alone; different: none" in capsys.readouterr().out
    )
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["invocations"][0]["audits"]["tiny@mrope-i"]["repeated"] == 6
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert all(0 < json.loads(line)["margin"] < 1000 for line in lines)
