"""Fixtures: each family of ``--family`` (see :mod:`evalkit.ci.plugin`), or every family."""

from __future__ import annotations

import pytest

from evalkit.core.errors import did_you_mean
from evalkit.models.conformance.tested_family import FEW_VARIANTS, MORE_VARIANTS, TestedFamily, tiny_of
from evalkit.models.families.registry import FAMILIES
from evalkit.rope.variants import VARIANTS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test for every family, and where it asks for one, for every variant; among all families, those
    that are like another have a few.
    """
    if "family" not in metafunc.fixturenames:
        return
    known = [name for name in FAMILIES if name != "mock"]
    chosen = metafunc.config.getoption("--family") or []
    for name in chosen:
        if name not in known:
            hint = did_you_mean(name, known)
            raise pytest.UsageError(f"--family {name}: known are {', '.join(known)}.{hint}")
    names = chosen or known
    if "variant" not in metafunc.fixturenames:
        metafunc.parametrize("family", names, indirect=True, scope="session")
        return
    pairs = [
        (name, variant)
        for name in names
        for variant in (
            FEW_VARIANTS if not chosen and tiny_of(name).rotates_like else (*VARIANTS, *MORE_VARIANTS)
        )
    ]
    metafunc.parametrize(("family", "variant"), pairs, indirect=["family"], scope="session")


@pytest.fixture(scope="session")
def made_families() -> dict[str, TestedFamily]:
    """Families by name: pytest goes to and fro between them, and makes anew what has another parameter."""
    return {}


@pytest.fixture(scope="session")
def family(
    request: pytest.FixtureRequest,
    made_families: dict[str, TestedFamily],
    tmp_path_factory: pytest.TempPathFactory,
) -> TestedFamily:
    """A family with its tiny checkpoint."""
    name = request.param
    if name not in made_families:
        made_families[name] = TestedFamily(name, tmp_path_factory.mktemp("tiny") / name)
    return made_families[name]
