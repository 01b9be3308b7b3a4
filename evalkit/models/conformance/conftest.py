"""Fixtures: each family of ``--family`` (see :mod:`evalkit.ci.plugin`), or every family."""

from __future__ import annotations

import pytest

from evalkit.core.errors import did_you_mean
from evalkit.models.conformance.tested_family import MORE_VARIANTS, TestedFamily
from evalkit.models.families.registry import FAMILIES
from evalkit.rope.variants import VARIANTS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test for every family, and where it asks for one, for every variant."""
    if "family" in metafunc.fixturenames:
        known = [name for name in FAMILIES if name != "mock"]
        names = metafunc.config.getoption("--family") or known
        for name in names:
            if name not in known:
                hint = did_you_mean(name, known)
                raise pytest.UsageError(f"--family {name}: known are {', '.join(known)}.{hint}")
        metafunc.parametrize("family", names, indirect=True, scope="session")
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", [*VARIANTS, *MORE_VARIANTS])


@pytest.fixture(scope="session")
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TestedFamily:
    """A family with its tiny checkpoint."""
    return TestedFamily(request.param, tmp_path_factory.mktemp("tiny") / request.param)
