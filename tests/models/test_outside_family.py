"""A family from another package, as docs/add-a-family.md writes it, is found, listed and conforms."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from evalkit.core.errors import EnvironmentProblem
from evalkit.models.families import registry
from evalkit.rope.hf import layouts
from evalkit.rope.hf.layouts.grid_inputs import GRIDS

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/add-a-family.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's package, installed."""
    folder = tmp_path_factory.mktemp("site")
    block = re.compile(r"^`(my_vl/\w+\.py)`:\n\n```python\n(.*?)```", re.MULTILINE | re.DOTALL)
    for name, code in block.findall(GUIDE):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    assert len(list((folder / "my_vl").iterdir())) == 4
    found = re.search(r'\[project\.entry-points\."(.*?)"\]\n(my_vl = .*?)\n', GUIDE)
    assert found is not None
    info = folder / "my_vl-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_vl\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{found[1]}]\n{found[2]}\n".replace('"', ""), encoding="utf-8")
    return folder


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True, check=False)


def test_it_is_listed_beside_the_built_in_ones(site: Path) -> None:
    listed = run(site, "evalkit", "models")
    assert listed.returncode == 0
    assert "My VL: Qwen2-VL with other weights" in listed.stdout
    assert "qwen3_vl_moe" in listed.stdout


def test_it_conforms(site: Path) -> None:
    """The whole suite but most variants, which take minutes."""
    chosen = "not (same_answers or promises) or mrope-i] or mhrope]"
    words = ("pytest", "--pyargs", "evalkit.models.conformance", "--family", "my_vl", "-q", "-k", chosen)
    found = run(site, *words, "-p", "no:cacheprovider")
    assert found.returncode == 0, found.stdout
    assert re.search(r"1[0-9] passed", found.stdout), found.stdout


def test_an_unknown_family_is_told_what_there_is(site: Path) -> None:
    found = run(site, "pytest", "--pyargs", "evalkit.models.conformance", "--family", "qwen2_v")
    assert found.returncode != 0
    assert "qwen2_vl" in found.stdout + found.stderr


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("nothing_of_this_name", "No module named"),
        ("json", "no attribute 'FAMILY'"),
        ("evalkit.models.families.qwen2_vl", "two model families are called `qwen2_vl`"),
    ],
)
def test_a_family_that_can_not_be_used_is_named(
    value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("mine", value, registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.raises(EnvironmentProblem, match="famil") as caught:
        list(registry.Families())
    assert why in str(caught.value)
    assert value.rpartition(".")[2] in str(caught.value)


def test_layouts_may_be_registered_where_there_are_no_families(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program that uses :mod:`evalkit.rope` alone."""
    known = layouts.TokenLayouts()
    assert known["qwen2_vl"] is GRIDS
    known.register("mine", GRIDS)
    assert known["mine"] is GRIDS
    monkeypatch.setattr(layouts, "FAMILY_REGISTRY", "evalkit.models.nothing.registry")
    assert list(known) == ["mine"]
    with pytest.raises(KeyError):
        known["qwen2_vl"]


def test_families_are_read_without_torch() -> None:
    code = "import sys; from evalkit.models import FAMILIES; print(len(FAMILIES) > 7, 'torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]


def test_nothing_else_names_a_family() -> None:
    """Code outside of the families' folders; comments, docstrings and texts for users may."""
    names = re.compile(r"[\"'](?:qwen|internvl|llava|paddleocr)\w*[\"']")
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in (ROOT / "evalkit").rglob("*.py")
        if "families" not in path.parts and "golden" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if names.search(line)
    ]
    assert found == []
