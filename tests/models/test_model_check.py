"""``evalkit models check``: folders of every kind agree with transformers, and a difference is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from family_checkpoints import REAL, processor_of, save_folder, save_published
from safetensors.numpy import save_file
from test_processor_folders import FAMILIES, KINDS

from evalkit.cli import run_cli
from evalkit.models.check import check_checkpoint


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("base") / request.param
    if request.param in REAL:
        return save_published(folder, request.param, shared)
    return save_folder(folder, request.param)


def with_weights(folder: Path) -> Path:
    """A file that is found and never read."""
    save_file({"model.x": np.zeros(1, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_what_transformers_takes_it_for(kind: str, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / base.name
    folder.mkdir()
    KINDS[kind](folder, base)
    found = check_checkpoint(str(with_weights(folder)))
    assert len(found.findings) == 8
    assert found.passed
    known = [each.what for each in found.findings if each.outcome == "known"]
    assert known == (["token ids of a video"] if base.name == "qwen3_vl" else [])


def test_what_is_read_is_told(base: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / base.name
    shutil.copytree(base, folder)
    assert run_cli(["models", "check", str(with_weights(folder))]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.architectures is None or config.architectures[0] in printed
    assert "the family's native one; config.json names none" in printed
    assert "model.safetensors" in printed
    assert "evalkit's protocol" in printed
    end = processor_of(folder).tokenizer.eos_token
    assert f"{end} (" in printed[printed.index("an answer ends at") :]
    assert ("temperature=" in printed) == (base.name in REAL)
    for medium in ("image", "video"):
        assert f"prompt of {medium}:" in printed
    assert printed.count(" visual tokens and ") == 2


def test_a_difference_is_named_and_fails(base: Path, tmp_path: Path, capsys: Any) -> None:
    """Limits that the user sets are followed by our preprocessing alone."""
    folder = tmp_path / base.name
    shutil.copytree(base, folder)
    words = ["models", "check", str(with_weights(folder)), "--visual-tokens", "600", "--json"]
    assert run_cli(words) == (0 if base.name == "llava_onevision" else 1)
    found = json.loads(capsys.readouterr().out)
    different = {each["what"] for each in found["findings"] if each["outcome"] == "different"}
    if base.name != "llava_onevision":
        assert "token ids of an image" in different or "token ids of a video" in different
        assert found["passed"] is False


def test_the_defect_of_transformers_after_videos_is_known(shared: Path, tmp_path: Path) -> None:
    """It shows where a video is longer than wide, in positions."""
    folder = with_weights(save_published(tmp_path / "qwen2_5_vl", "qwen2_5_vl", shared))
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["tokens_per_second"] = 25
    (folder / "config.json").write_text(json.dumps(config))
    (found,) = [
        each for each in check_checkpoint(str(folder)).findings if each.what == "positions of a video"
    ]
    assert found.outcome == "known"
    assert "text after a video" in found.detail


@pytest.mark.parametrize(
    "name", ["preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"]
)
def test_settings_come_from_where_it_says(name: str, base: Path, tmp_path: Path) -> None:
    """What the named file says changes the settings; what the others say doesn't."""
    own = transformers.AutoProcessor.from_pretrained(base)
    folder = tmp_path / base.name
    folder.mkdir()
    own.save_pretrained(folder)
    shutil.copy(base / "config.json", folder)
    nested = json.loads((folder / "processor_config.json").read_text())
    parts = {kind: nested[f"{kind}_processor"] for kind in ("image", "video")}
    files = {"preprocessor_config.json": "image", "video_preprocessor_config.json": "video"}
    if name in files:  # as before transformers 5
        rest = {key: value for key, value in nested.items() if not key.endswith("_processor")}
        (folder / "processor_config.json").write_text(json.dumps(rest))
    for file, kind in files.items():
        (folder / file).write_text(json.dumps(parts[kind]))
    marked = json.loads((folder / name).read_text())
    for holder in (marked, marked.get("image_processor"), marked.get("video_processor")):
        if holder and "image_mean" in holder:
            holder["image_mean"] = [0.11, 0.12, 0.13]
    (folder / name).write_text(json.dumps(marked))
    processor = processor_of(folder)
    changed = {kind for kind, rule in processor.normalise.items() if rule.mean == (0.11, 0.12, 0.13)}
    assert changed
    assert {kind for kind in ("image", "video") if processor.sources[kind] == name} == changed


def test_a_mock_has_no_folder(capsys: Any) -> None:
    assert run_cli(["models", "check", "mock"]) == 2
    assert "mock has no folder" in capsys.readouterr().err


def test_a_video_without_settings_of_its_own_is_noted(shared: Path, tmp_path: Path) -> None:
    folder = with_weights(save_published(tmp_path / "qwen3_vl", "qwen3_vl", shared))
    assert check_checkpoint(str(folder)).facts["note"] == "-"
    (folder / "video_preprocessor_config.json").unlink()
    found = check_checkpoint(str(folder))
    assert found.passed
    assert "16,777,216" in found.facts["note"]
