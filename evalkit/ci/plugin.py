"""The pytest fixture ``evalkit_baseline`` and the option ``--family``, found through the entry-point group
``pytest11``.

>>> def test_scores_have_not_changed(evalkit_baseline):
...     evalkit_baseline("results/baselines/zoo")
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Check = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--family`` of ``pytest --pyargs evalkit.models.conformance``."""
    parser.getgroup("evalkit").addoption(
        "--family",
        action="append",
        metavar="NAME",
        help="model families that evalkit.models.conformance tests (default: all)",
    )


@pytest.fixture
def evalkit_baseline() -> Check:
    """A function that runs a baseline's spec again and fails the test unless the verdict is GO;
    what changed in advisory tasks is a warning.

    Its first argument is the baseline's folder; others are options of ``RunSpec`` (``device``, ...).
    """

    def check_folder(folder: str | Path, **options: Any) -> None:
        from evalkit.ci.check import check
        from evalkit.ci.reports import markdown
        from evalkit.ci.verdict import overall

        verdicts = check(Path(folder), **options)
        if overall(verdicts) != "GO":
            pytest.fail(markdown(verdicts), pytrace=False)
        if any(each.only_reported for each in verdicts):
            warnings.warn(markdown(verdicts), stacklevel=2)

    return check_folder
