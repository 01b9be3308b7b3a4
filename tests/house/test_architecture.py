"""docs/architecture.md names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PATHS = sorted(set(re.findall(r"`((?:evalkit|tasks|tools|tests|docs)/[\w/.-]*|pyproject\.toml)`", TEXT)))
ROWS = [line.split("|") for line in TEXT.partition("## Where to look")[2].splitlines() if "|" in line][2:]


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).exists()
    assert (ROOT / path).is_dir() == path.endswith("/")


def test_every_room_is_described() -> None:
    rooms = {f"evalkit/{each.parent.name}/" for each in (ROOT / "evalkit").glob("*/__init__.py")}
    assert rooms <= set(PATHS)


def test_every_question_is_answered_by_a_file() -> None:
    assert len(ROWS) >= 17
    for _, when, where, _ in ROWS:
        assert set(re.findall(r"`([^`]+)`", where)) & set(PATHS), when


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`(\w+)`[^`|;]* in `(evalkit/[\w/]+\.py)`", TEXT))))
def test_a_function_is_where_it_is_said_to_be(place: tuple[str, str]) -> None:
    name, path = place
    assert re.search(rf"\b{name}\b", (ROOT / path).read_text(encoding="utf-8"))


def test_hops_are_functions_of_the_code() -> None:
    """Each hop of the picture, by module and function."""
    for module, name in (
        ("cli/run", "command"),
        ("api/running", "run"),
        ("runner/run", "run_spec"),
        ("runner/system_run", "answer"),
        ("engine/executors/base", "generate"),
        ("engine/scheduler", "generate_groups"),
        ("engine/scheduler", "step_loop"),
        ("inference/base", "add"),
    ):
        assert f"def {name}(" in (ROOT / f"evalkit/{module}.py").read_text(encoding="utf-8")
        assert name in TEXT
