"""The bench's row of lmms-eval: the same checkpoint, media and prompts give the same answers.

Needs lmms-eval: `make lmms` builds an environment with it, or EVALKIT_LMMS_PYTHON names one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from evalkit.cli import run_cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def python() -> str:
    found = os.environ.get("EVALKIT_LMMS_PYTHON") or str(ROOT / ".venv-lmms" / "bin" / "python")
    probe = ["-c", "import importlib.util as u, sys; sys.exit(u.find_spec('lmms_eval') is None)"]
    if not Path(found).exists() or subprocess.run([found, *probe]).returncode:
        pytest.skip("needs lmms-eval: `make lmms`, or EVALKIT_LMMS_PYTHON")
    return found


def test_lmms_eval_answers_as_the_engine_does(
    python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "engine", "--workload", "video", "--limit", "1", "--no-techniques"]
    assert run_cli([*words, "--lmms-python", python, "--folder", str(tmp_path)]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("lmms-eval"))
    assert "  0 of 10 texts differ" in row
    assert "1.00 x lmms-eval" in row
