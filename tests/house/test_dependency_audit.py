"""What `make audit` makes of pip-audit's JSON (its own format: pip_audit/_format/json.py, 2.10)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci/audit.py"


@pytest.fixture
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_package_that_was_not_audited_is_not_called_safe(audit: Any) -> None:
    why = "Dependency not found on PyPI and could not be audited: click (8.5.1)"
    lines, code = audit.verdict([{"name": "click", "skip_reason": why}])
    assert lines[0] == "0 packages audited, 0 with known vulnerabilities"
    assert lines[1] == "1 not audited: Dependency not found on PyPI and could not be audited"
    assert code == 0


def test_a_vulnerability_is_named_and_fails(audit: Any) -> None:
    vulnerable = {
        "name": "jinja2",
        "version": "2.4.1",
        "vulns": [{"id": "PYSEC-2021-66", "fix_versions": []}],
    }
    fine = {"name": "click", "version": "8.5.1", "vulns": []}
    lines, code = audit.verdict([vulnerable, fine])
    assert lines == ["jinja2 2.4.1: PYSEC-2021-66", "2 packages audited, 1 with known vulnerabilities"]
    assert code == 1


def test_licences_are_read_from_what_is_installed(audit: Any) -> None:
    found = dict(line.split(": ", 1) for line in audit.licences())
    assert found["click"] == "BSD-3-Clause"
    assert "Apache" in found["transformers"]
    assert "BSD" in found["torch"]
