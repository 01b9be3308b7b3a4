"""What a run stores of the environment's variables: what docs/cli.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli import run_cli
from evalkit.store import RunDir

DOCS = (Path(__file__).resolve().parents[2] / "docs/cli.md").read_text(encoding="utf-8")
SECTION = DOCS.partition("## Environment variables\n")[2].partition("\n## ")[0]
# Each with a value that is nowhere else; folders are made.
FOLDERS = ("EVALKIT_DATA", "EVALKIT_CACHE", "HF_HOME", "XDG_CACHE_HOME")
OTHERS = ("HF_TOKEN", "CUDA_VISIBLE_DEVICES", "RAY_ADDRESS", "SOMEBODYS_OWN")


def test_only_the_data_root_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {name: str(tmp_path / f"marked-{name.lower()}") for name in FOLDERS}
    values |= {name: f"marked-{name.lower()}" for name in OTHERS}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
        if name in FOLDERS:
            Path(value).mkdir()
    words = ["run", "--model", "mock:fixed=B", "--tasks", "mini_video", "--limit", "2", "--workers", "0"]
    assert run_cli([*words, "--output", "run"]) == 0
    stored = {
        name
        for name, value in values.items()
        for path in Path("run").rglob("*")
        if path.is_file() and Path(value).name.encode() in path.read_bytes()
    }
    assert stored == {"EVALKIT_DATA"}
    assert RunDir.open(Path("run")).manifest().invocations[-1].spec.data_root == values["EVALKIT_DATA"]


@pytest.mark.parametrize("name", [name for name in (*FOLDERS, *OTHERS) if name != "SOMEBODYS_OWN"])
def test_the_page_names_them(name: str) -> None:
    assert name in SECTION


def test_the_page_says_which_is_stored() -> None:
    assert "One of them is stored: the folder that `EVALKIT_DATA` names" in " ".join(SECTION.split())
