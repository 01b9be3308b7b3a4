"""``examples/paper_table.sh``: from checkpoints to a PDF with the table, as far as there are tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_the_example_ends_with_the_table(tmp_path: Path) -> None:
    variants = {
        "Vanilla RoPE": "vanilla",
        "MRoPE": "mrope",
        "MHRoPE (ours)": "mhrope",
        "MRoPE-I (ours)": "mrope-i",
    }
    models = "\n".join(f"{label}={rope}=mock:fixed=B" for label, rope in variants.items())
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "EVALKIT": f"{sys.executable} -m evalkit",
        "PYTHON": sys.executable,
        "MODELS": models,
        "TASKS": "mini_video",
        "RUN_OPTIONS": "--limit 2 --workers 0",
    }
    words = ["bash", str(ROOT / "examples" / "paper_table.sh"), "out"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    pasted, page = ((tmp_path / "out" / name).read_text() for name in ("table.tex", "page.tex"))
    assert " & ".join(variants) in pasted
    assert "Mini Video" in pasted
    assert page.rstrip().endswith(r"\end{document}")
    made = tmp_path / "out" / "page.pdf"
    if shutil.which("pdflatex") or shutil.which("tectonic"):
        assert made.read_bytes().startswith(b"%PDF")
        assert done.stdout.rstrip().endswith("out/page.pdf")
    else:
        assert "no LaTeX here" in done.stderr
