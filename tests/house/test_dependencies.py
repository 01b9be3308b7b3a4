"""Every dependency has its reason in docs/dependencies.md, and an upper bound its own."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs/dependencies.md").read_text()


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0]


def explained(section: int) -> set[str]:
    """Packages in code quotes in the rows of one of the page's tables."""
    text = PAGE.split("\n## ")[section]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    found = {re.findall(r"`([A-Za-z0-9-]+)`", row)[0] for row in rows}
    if section == 2:
        found |= {name for row in rows if ", with " in row for name in re.findall(r"`([A-Za-z0-9-]+)`", row)}
    return found


def test_what_is_installed_is_explained_and_nothing_else() -> None:
    assert explained(0) == set(map(name_of, PROJECT["dependencies"]))


def test_extras_are_explained_each_with_its_name() -> None:
    extras = {name: each for name, each in PROJECT["optional-dependencies"].items() if name != "dev"}
    assert explained(1) == {name_of(each) for packages in extras.values() for each in packages}
    rows = {line.split("`")[1]: line for line in PAGE.splitlines() if line.startswith("| `")}
    for extra, packages in extras.items():
        for each in packages:
            assert f"`{extra}`" in rows[name_of(each)].split("|")[2]


def test_what_development_needs_is_explained() -> None:
    dev = set(map(name_of, PROJECT["optional-dependencies"]["dev"]))
    assert explained(2) <= dev
    assert dev <= explained(0) | explained(1) | explained(2)


def test_upper_bounds_have_a_reason() -> None:
    optional = chain.from_iterable(PROJECT["optional-dependencies"].values())
    everything = [*PROJECT["dependencies"], *optional]
    bounded = [each.split(";")[0].strip() for each in everything if "<" in each.split(";")[0]]
    for each in bounded:
        bound = each[each.index("<") :].split(",")[0]
        assert f"`{name_of(each)}{bound}`, because" in PAGE, each
