"""What docs/cli.md says of environment variables: a run stores the folder of EVALKIT_DATA, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import fork_server
import pytest

from evalkit.cli import run_cli
from evalkit.store import RunDir

MARKED = ("HF_HOME", "EVALKIT_CACHE", "HF_TOKEN", "HF_ENDPOINT", "HF_DATASETS_CACHE", "RAY_ADDRESS", "MINE")


def test_only_the_data_root_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in MARKED:
        place = tmp_path / f"marked-{name.lower()}"
        monkeypatch.setenv(name, str(place))
    data = tmp_path / "the-mirror"
    data.mkdir()
    monkeypatch.setenv("EVALKIT_DATA", str(data))
    done = tmp_path / "run"
    words = ["run", "--model", "mock", "--tasks", "mini_docvqa,mini_video", "--limit", "2", "--workers", "0"]
    assert run_cli([*words, "--output", str(done), "--rate-limit", "unparsed=1", "--rope", "mrope"]) == 0
    capsys.readouterr()
    written = {path: path.read_bytes().decode(errors="replace") for path in done.rglob("*") if path.is_file()}
    assert len(written) > 8
    for path, text in written.items():
        for name in MARKED:
            assert f"marked-{name.lower()}" not in text, (path, name)
    holders = {path.name for path, text in written.items() if "the-mirror" in text}
    assert holders == {"manifest.json"}
    (command,) = RunDir.open(done).manifest().invocations
    assert command.spec.data_root == str(data)
    stored = json.loads((done / "manifest.json").read_text())["invocations"][0]
    del stored["spec"]["data_root"], stored["inputs"]
    assert "the-mirror" not in json.dumps(stored)
    assert fork_server.evalkit("verify", str(done)).returncode == 0
