"""A checkpoint that runs with another variant than its config names: a warning, a mark, a manifest entry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from evalkit.api import compare
from evalkit.cli import run_cli
from evalkit.models import describe_model
from evalkit.report import tables
from evalkit.report.latex import latex
from evalkit.store import RunDir
from evalkit.zoo import resolve


def checkpoint(folder: Path, rope: object) -> Path:
    """A copy of a small checkpoint whose config names a variant."""
    shutil.copytree(resolve("tiny", "mrope"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_variant"] = rope
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_it_is_said_marked_and_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = checkpoint(tmp_path / "ck", "mrope")
    words = ["run", "--model", f"mhrope={own}", "--model", f"mrope={own}", "--tasks", "mini_docvqa"]
    words += [
        "--limit",
        "2",
        "--workers",
        "0",
        "--output",
        str(tmp_path / "run"),
        "--rate-limit",
        "unparsed=1",
    ]
    assert run_cli(words) == 0
    shown = capsys.readouterr()
    warning = "its config says that it was trained with mrope, and it runs with mhrope"
    assert shown.err.count(warning) == 1
    assert f"ck@mhrope: {warning}" in shown.err
    assert "ck@mhrope ‡" in shown.out
    assert "‡ ck@mhrope: its config says it was trained with mrope, not mhrope" in shown.out
    assert "ck@mrope ‡" not in shown.out
    stored = {each.arm: each.trained_with for each in RunDir.open(tmp_path / "run").manifest().arms}
    assert stored == {"ck@mhrope": "mrope", "ck@mrope": None}
    found = compare(tmp_path / "run")
    for made in (tables.markdown(found), latex(found), tables.html(found)):
        assert "‡" in made
    assert r"ck@mhrope $^\ddagger$" in latex(found)
    assert "mrope" in tables.csv(found).splitlines()[1]
    assert "trained_with" in tables.csv(found).splitlines()[0]
    assert [arm["trained_with"] for arm in found.to_json()["arms"]] == ["mrope", None]


@pytest.mark.parametrize(
    ("config", "rope", "trained"),
    [
        ("mrope", "auto", None),
        (None, "mhrope", None),
        ("mrope-i", "mrope-i", None),
        ("mrope-i", "mrope", "mrope-i"),
        ("their-own", "mrope", "their-own"),
    ],
)
def test_when_it_is_mispaired(tmp_path: Path, config: str | None, rope: str, trained: str | None) -> None:
    found = describe_model(str(checkpoint(tmp_path / "ck", config)), rope)
    assert found.trained_with == trained
    assert any("mispaired?" in note for note in found.notes) == (trained is not None)
