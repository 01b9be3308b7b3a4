"""The bench's rows of lmms-eval: the same checkpoint, media and prompts give the same answers.

Needs lmms-eval: `make lmms` builds an environment with it, or EVALKIT_LMMS_PYTHON names one; its class on
vLLM needs both: `make vllm`, or EVALKIT_VLLM_PYTHON.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli import run_cli
from evalkit.core.types import MediaRef, Text
from evalkit.models import load_model
from tools.bench.baselines import lmms_eval_differs
from tools.bench.workloads import BenchPrompt


def test_lmms_eval_answers_as_the_engine_does(
    lmms_python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "engine", "--workload", "video", "--limit", "1", "--techniques", "none"]
    words += ["--baseline-limit", "3"]  # of questions that differ in their numbers
    assert run_cli([*words, "--lmms-python", lmms_python, "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 media shown" in said
    assert "10 samples of video" in said
    (row,) = (line for line in said.splitlines() if line.startswith("lmms-eval"))
    assert "  0 of 3 texts differ" in row
    assert "1.00 x lmms-eval" in row
    (row,) = (line for line in said.splitlines() if line.startswith("engine "))
    assert "  0 of 3 texts differ" in row


@pytest.mark.slow
def test_all_engines_answer_alike_in_one_run(
    vllm_lmms_python: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script, lmms-eval and its class on vLLM, our engine and vLLM with our class."""
    words = ["bench", "engine", "--tasks", "mini_chartqa", "--limit", "4", "--techniques", "none"]
    words += ["--engine", "vllm", "--vllm-python", vllm_lmms_python]
    words += ["--lmms-python", vllm_lmms_python]
    assert run_cli([*words, "--folder", str(tmp_path)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if " samples/s " in line]
    names = ["naive", "lmms-eval", "lmms-eval, vLLM", "batch of one", "engine", "vLLM"]
    assert [row.split("  ")[0] for row in rows] == names
    assert all("  0 of 4 texts differ" in row for row in rows)


def test_the_row_says_what_lmms_eval_cannot_do() -> None:
    image, video = (BenchPrompt((MediaRef(kind, "a"), Text("?")), 1) for kind in ("image", "video"))
    own, other = (
        load_model("tiny", rope=rope, dtype="float32", device="cpu") for rope in ("mrope", "mhrope")
    )
    assert lmms_eval_differs(own, [image], on_vllm=True) == ""
    assert lmms_eval_differs(own, [video], on_vllm=False) == ""
    assert "each frame of a video as an image" in lmms_eval_differs(own, [image, video], on_vllm=True)
    for on_vllm in (False, True):
        assert "no RoPE variants, and runs the model as `mrope`" in lmms_eval_differs(
            other, [image], on_vllm=on_vllm
        )
