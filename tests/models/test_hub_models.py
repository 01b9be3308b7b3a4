"""Models of the hub: the commit is resolved, loaded and recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tiny_qwen import make_model, save_checkpoint

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.models import describe_model
from evalkit.models.base import LoadConfig, ModelInfo

sys.path.append(str(Path(__file__).parents[1] / "data_hub"))
from hub_server import Hub

Describe = Callable[[str], ModelInfo]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    save_checkpoint(tmp_path / "source/org/model")
    found = Hub()
    found.add_folder(tmp_path / "source", "org/model")
    return found


@pytest.fixture
def describe(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Describe]:
    import huggingface_hub

    real = huggingface_hub.snapshot_download
    with hub.running() as address:
        own: Any = partial(real, endpoint=address, cache_dir=tmp_path / "hub")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("evalkit.models.checkpoints.source.unreachable", lambda: None)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", own)
        yield lambda name: describe_model(name, load_config=LoadConfig(device="cpu"))


def test_the_commit_is_recorded_and_a_branch_may_move(hub: Hub, describe: Describe) -> None:
    first, one = hub.commit("org/model"), describe("org/model")
    assert one.revision == first
    assert all(first in path.parts for path in one.files)
    assert describe("org/model").fingerprint == one.fingerprint
    hub.repos["org/model"]["config.json"] += b"\n"
    second, other = hub.commit("org/model"), describe("org/model")
    assert other.revision == second != first
    assert other.fingerprint != one.fingerprint
    assert one.load().info.revision == first


def test_a_revision_may_be_asked_for(hub: Hub, describe: Describe) -> None:
    commit = hub.commit("org/model")
    assert describe(f"org/model@{commit}").revision == commit
    with pytest.raises(UsageError, match="no such revision"):
        describe("org/model@v9")
    with pytest.raises(UsageError, match="neither a folder nor a hub repository"):
        describe("org/other")


def test_large_files_go_by_the_name_of_their_blob(
    hub: Hub, describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub named them by their hash, and huggingface_hub checked it."""
    from evalkit.data import file_hash

    read: list[str] = []
    real = file_hash._read

    def noted(path: Path, progress: Any) -> str:
        read.append(path.name)
        return real(path, progress)

    monkeypatch.setattr(file_hash, "_read", noted)
    model_info = describe("org/model")
    assert "model.safetensors" not in read
    assert "tokenizer_config.json" in read
    copy = model_info.files[0].parent
    assert describe(str(copy)).fingerprint == model_info.fingerprint
    assert describe(str(copy)).revision == model_info.revision


def test_a_local_copy_has_the_same_identity_and_no_revision(tmp_path: Path, describe: Describe) -> None:
    local = describe(str(tmp_path / "source/org/model"))
    assert local.fingerprint == describe("org/model").fingerprint
    assert local.revision is None


def test_base_and_adapter_from_the_hub(hub: Hub, describe: Describe, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    model = peft.get_peft_model(make_model(), peft.LoraConfig(r=2, target_modules=["q_proj"]))
    model.peft_config["default"].base_model_name_or_path = "org/model"
    model.peft_config["default"].revision = hub.commit("org/model")
    model.save_pretrained(tmp_path / "source/org/adapter")
    hub.add_folder(tmp_path / "source", "org/adapter")
    commits = [hub.commit(name) for name in ("org/model", "org/adapter")]
    named, pair = describe("org/adapter"), describe("org/model+org/adapter")
    assert named.revision == pair.revision == "+".join(commits)
    assert named.fingerprint == pair.fingerprint
    local = describe(f"org/model+{tmp_path / 'source/org/adapter'}")
    assert (local.revision, local.fingerprint) == (f"{commits[0]}+local", named.fingerprint)


def test_a_processor_from_the_hub(hub: Hub, describe: Describe, tmp_path: Path) -> None:
    """Its commit is recorded, and no weights are fetched for it."""
    make_model().save_pretrained(tmp_path / "tuned")
    where = LoadConfig(device="cpu", processor="org/model")
    model_info = describe_model(str(tmp_path / "tuned"), load_config=where)
    assert model_info.revision == f"local+processor:{hub.commit('org/model')}"
    assert model_info.notes == ("tokenizer and processor settings are taken from `org/model`",)
    lent = next(path.parent for path in model_info.files if path.name == "tokenizer.json")
    assert not (lent / "model.safetensors").exists()
    describe("org/model")
    assert (lent / "model.safetensors").exists()
    unused = describe_model(
        "org/model", load_config=LoadConfig(device="cpu", processor="org/model", processor_if_needed=True)
    )
    assert unused.revision == hub.commit("org/model")


def test_pickles_on_the_hub_are_named_with_their_repository(hub: Hub, describe: Describe) -> None:
    hub.repos["org/model"]["pytorch_model.bin"] = hub.repos["org/model"].pop("model.safetensors")
    with pytest.raises(EnvironmentProblem, match="see whether `org/model` has safetensors"):
        describe("org/model")


def test_an_unfinished_download_is_refused(hub: Hub, describe: Describe) -> None:
    del hub.repos["org/model"]["model.safetensors"]
    with pytest.raises(EnvironmentProblem, match="are missing"):
        describe("org/model")
