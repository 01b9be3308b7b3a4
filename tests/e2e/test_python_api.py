"""``from evalkit import evaluate, compare`` in scripts as people write them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from evalkit import compare, evaluate
outcome = evaluate("mock:fixed=B", "mini_video", limit=5, output="out", workers=1)
cell = compare("out").cells["mock:fixed=B@mrope"]["mini_video"]
print("RESULT", len(outcome.records), outcome.missing, cell.estimate.n)
"""


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(script)
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True)


def test_a_script_with_a_main_guard(tmp_path: Path) -> None:
    lines = "".join(f"    {line}\n" for line in SCRIPT.strip().splitlines())
    done = run(tmp_path, f"if __name__ == '__main__':\n{lines}")
    assert done.returncode == 0, done.stderr
    assert "RESULT 5 0 5" in done.stdout


def test_a_script_without_one_still_gets_its_answers(tmp_path: Path) -> None:
    done = run(tmp_path, SCRIPT)
    assert done.returncode == 0, done.stderr
    assert "RESULT 5 0 5" in done.stdout
    assert "if __name__ == '__main__':" in done.stderr


def test_a_mistake_is_an_exception_with_the_three_parts() -> None:
    from evalkit import evaluate
    from evalkit.errors import UsageError

    with pytest.raises(UsageError, match="Did you mean `mini_video`") as caught:
        evaluate("mock", "mini_vide")
    assert caught.value.what
    assert caught.value.why
    assert caught.value.fix
