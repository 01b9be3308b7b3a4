"""The schema in the docs is that of the code, and holds for what is written."""

from __future__ import annotations

import json
from pathlib import Path

from evalkit.schema import schema

STORED = Path(__file__).resolve().parents[2] / "docs/schema.json"


def test_the_documented_schema_is_current() -> None:
    assert json.loads(STORED.read_text()) == schema(), "run: python -m evalkit.schema > docs/schema.json"
