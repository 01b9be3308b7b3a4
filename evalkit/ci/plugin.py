"""The pytest fixture ``evalkit_baseline``, found through the entry-point group ``pytest11``.

>>> def test_scores_have_not_changed(evalkit_baseline):
...     evalkit_baseline("results/baselines/zoo")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Check = Callable[..., None]


@pytest.fixture
def evalkit_baseline() -> Check:
    """A function that runs a baseline's spec again and fails the test unless the verdict is GO.

    Its first argument is the baseline's folder; others are options of ``RunSpec`` (``device``, ...).
    """

    def check_folder(folder: str | Path, **options: Any) -> None:
        from evalkit.ci.check import check
        from evalkit.ci.reports import markdown
        from evalkit.ci.verdict import overall

        verdicts = check(Path(folder), **options)
        if overall(verdicts) != "GO":
            pytest.fail(markdown(verdicts), pytrace=False)

    return check_folder
