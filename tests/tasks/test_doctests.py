"""The examples in the docstrings of task files hold; pytest collects only those of packages."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from evalkit.core.registry import builtin_dir, declared, load_module

FILES = sorted({info.path for info in declared()})


@pytest.mark.parametrize("path", [path for path in FILES if ">>> " in path.read_text()], ids=lambda p: p.stem)
def test_examples_of_a_task_file(path: Path) -> None:
    found = doctest.testmod(load_module(path))
    assert found.attempted > 0
    assert found.failed == 0


def test_some_task_files_have_examples() -> None:
    assert builtin_dir() / "image/mmbench.py" in FILES
    assert sum(">>> " in path.read_text() for path in FILES) >= 5
