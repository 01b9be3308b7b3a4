"""Every architecture that transformers maps from images and text to text is run or refused in one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from evalkit.cli import run_cli
from evalkit.core.errors import ExitCode
from evalkit.models.families.registry import FAMILIES

KNOWN = [name for name in FAMILIES if name != "mock"]


def saved(model_type: str, folder: Path) -> Path:
    """What the configuration's class writes."""
    folder /= model_type
    folder.mkdir()
    transformers.CONFIG_MAPPING[model_type]().save_pretrained(folder)
    return folder


def told(capsys: Any, code: ExitCode, *command: str) -> str:
    """The one message of a command that fails, in one line; a traceback would leave ``run_cli``."""
    found = run_cli([*command])
    printed = capsys.readouterr().err
    assert found == code, printed
    assert [printed.count(each) for each in ("evalkit: ", "  why: ", "  fix: ")] == [1, 1, 1]
    return " ".join(printed[printed.index("evalkit: ") :].split())


@pytest.mark.parametrize("model_type", MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
def test_a_family_is_run_or_refused_with_one_message(model_type: str, tmp_path: Path, capsys: Any) -> None:
    code = ExitCode.ENVIRONMENT if model_type in KNOWN else ExitCode.USAGE
    said = told(capsys, code, "models", "check", str(saved(model_type, tmp_path)))
    if model_type in KNOWN:
        assert "weights" in said
    else:
        assert f"`{model_type}`" in said
        assert all(name in said for name in KNOWN)
        assert "evalkit models" in said


@pytest.mark.parametrize("model_type", ["gemma3", "glm4v"])
def test_a_run_says_the_same(model_type: str, tmp_path: Path, capsys: Any) -> None:
    folder = saved(model_type, tmp_path)
    code = ExitCode.ENVIRONMENT if model_type in KNOWN else ExitCode.USAGE
    checked = told(capsys, code, "models", "check", str(folder))
    run = ("run", "--model", str(folder), "--tasks", "mini", "--output", str(tmp_path / "run"))
    assert told(capsys, code, *run) == checked
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (transformers.Gemma3Config, "layers of the kind `sliding_attention`"),
        (transformers.Florence2Config, "an encoder-decoder"),
        (transformers.AriaConfig, "a family of its own: how it lays out, prepares and encodes media"),
        (transformers.Qwen2_5OmniConfig, "a family of its own"),
    ],
)
def test_what_would_be_needed_is_said(config: Any, said: str, tmp_path: Path, capsys: Any) -> None:
    config().save_pretrained(tmp_path)
    assert said in told(capsys, ExitCode.USAGE, "models", "check", str(tmp_path))
