"""Runs the tests of Inspect's logs in an environment that has inspect_ai, where this one hasn't."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("inspect_ai") is not None, reason="they run here themselves")
def test_inspect_logs_where_inspect_ai_is() -> None:
    python = os.environ.get("EVALKIT_INSPECT_PYTHON") or str(ROOT / ".venv-inspect/bin/python")
    if not Path(python).exists():
        pytest.skip(f"`{python}` is not there: `make inspect`, or set EVALKIT_INSPECT_PYTHON")
    words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integrations/test_inspect_log.py"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout, done.stdout


def test_without_inspect_ai_a_log_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from evalkit.core.errors import EnvironmentProblem, ExitCode
    from evalkit.integrations.interchange.detect import read_results

    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    (tmp_path / "a.eval").write_bytes(b"")
    with pytest.raises(EnvironmentProblem, match=r"pip install 'evalkit\[inspect\]'") as caught:
        read_results(tmp_path / "a.eval")
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
