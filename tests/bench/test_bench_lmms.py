"""The bench's row of lmms-eval: the same checkpoint, media and prompts give the same answers.

Needs lmms-eval: `make lmms` builds an environment with it, or EVALKIT_LMMS_PYTHON names one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli import run_cli


def test_lmms_eval_answers_as_the_engine_does(
    lmms_python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "engine", "--workload", "video", "--limit", "1", "--techniques", "none"]
    assert run_cli([*words, "--lmms-python", lmms_python, "--folder", str(tmp_path)]) == 0
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("lmms-eval"))
    assert "  0 of 10 texts differ" in row
    assert "1.00 x lmms-eval" in row
