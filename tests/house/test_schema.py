"""The schema in the docs is that of the code, and holds for what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from evalkit import evaluate
from tools.json_schema import schema

STORED = Path(__file__).resolve().parents[2] / "docs/schema.json"


def check(name: str, content: Any) -> None:
    found = json.loads(STORED.read_text())
    jsonschema.validate(content, {**found["properties"][name], "$defs": found["$defs"]})


def test_the_documented_schema_is_current() -> None:
    assert json.loads(STORED.read_text()) == schema(), "run: python -m tools.json_schema > docs/schema.json"


def test_it_holds_for_a_run(tmp_path: Path) -> None:
    evaluate("mock:fixed=B", ["mini_video", "mini_refcoco"], limit=2, output=tmp_path / "run", workers=0)
    check("manifest.json", json.loads((tmp_path / "run/manifest.json").read_text()))
    for name in ("records.jsonl", "journal/worker-000.jsonl"):
        for line in (tmp_path / "run" / name).read_text().splitlines():
            check("records.jsonl", json.loads(line))


def test_it_holds_for_files_that_users_write() -> None:
    check(
        "run.yaml", {"model": "tiny", "rope": ["mrope", "vanilla"], "tasks": "mini", "batch-tokens": "auto"}
    )
    own = {"limits": "loose", "drop": 0.05, "tier": "supporting", "relative_drop": 0.1}
    of_tiers = {"advisory": {"limits": "loose"}}
    check("policy.yaml", {"limits": "close", "tiers": of_tiers, "tasks": {"mini_video": own}})
    for wrong in ({"modle": "tiny"}, {"workers": -1}, {"audit": "high"}):
        with pytest.raises(jsonschema.ValidationError):
            check("run.yaml", wrong)
    for wrong in ({"tier": "close"}, {"relative_drop": None}, {"tiers": {"advisory": {"tier": "critical"}}}):
        with pytest.raises(jsonschema.ValidationError):
            check("policy.yaml", wrong)
