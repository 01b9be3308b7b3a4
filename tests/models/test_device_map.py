"""A model that is spread over devices answers as it does on one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from test_family_loading import save
from tiny_families import TINY
from transformers_reference import generate

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.types import MediaRef, Request, Response, Text
from evalkit.engine.scheduler import run_requests
from evalkit.models import describe_model
from evalkit.models.base import LoadConfig
from evalkit.rope.hf.install import install
from evalkit.rope.variants import parse_variant

hooks = pytest.importorskip("accelerate.hooks", reason="needs the extra `sharded`")


def dispatch(model: Any) -> None:
    """Hooks as on a model over several devices, all of which are this one."""
    modules = [*model.model.language_model.layers, model.lm_head, model.get_input_embeddings()]
    for module in modules:
        hooks.add_hook_to_module(module, hooks.AlignDevicesHook("cpu", io_same_device=True))
        hooks.add_hook_to_module(module, hooks.AlignDevicesHook("cpu"), append=True)


@pytest.mark.parametrize("name", TINY)
def test_inputs_may_be_moved_before_every_layer(name: str) -> None:
    tiny = TINY[name]
    texts = []
    for spread in (False, True):
        model = tiny.model()
        if spread:
            dispatch(model)
        installed = install(model, parse_variant("mrope-i" if name != "llava_onevision" else "vanilla"))
        found = generate(model, installed, tiny.prompts, tiny.generation_tokens, tiny.encode)
        texts.append([each.token_ids for each in found])
    assert texts[0] == texts[1]


def test_a_checkpoint_loads_with_a_device_map(tmp_path: Path) -> None:
    folder = save(tmp_path / "m", "qwen3_vl")
    asked, texts = (LoadConfig(device="cpu"), LoadConfig(device="cpu", device_map="auto")), []
    for where in asked:
        model = describe_model(str(folder), load_config=where).load()
        prompt = model.info.render([Text("What is this?")])
        found: list[Response] = []
        run_requests(
            model,
            [Request(key="k", task="t", sample_id="s", prompt=prompt, media=(), max_new_tokens=8)],
            on_batch=found.extend,
            workers=0,
        )
        texts.append(found[0].token_ids)
    assert texts[0] == texts[1]


def test_what_is_no_device_map_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(save(tmp_path / "m", "qwen3_vl"))
    with pytest.raises(UsageError, match="device map `everywhere`"):
        describe_model(folder, load_config=LoadConfig(device="cpu", device_map="everywhere")).load()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "evalkit.models.weights.find_spec", lambda name: None if name == "accelerate" else found(name)
    )
    with pytest.raises(EnvironmentProblem, match="sharded"):
        describe_model(folder, load_config=LoadConfig(device="cpu", device_map="auto")).load()


@pytest.mark.gpu
def test_two_gpus_answer_as_one_does(tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    folder = save(tmp_path / "m", "qwen3_vl")
    picture = Path(__file__).parents[2] / "docs" / "ropes.png"
    texts = []
    for device_map in (None, "balanced"):
        where = LoadConfig(dtype="float32", device="cuda", device_map=device_map)
        model = describe_model(str(folder), load_config=where).load()
        media = (MediaRef("image", str(picture)),)
        prompt = model.info.render([*media, Text("What is this?")])
        found: list[Response] = []
        run_requests(
            model,
            [Request(key="k", task="t", sample_id="s", prompt=prompt, media=media, max_new_tokens=8)],
            on_batch=found.extend,
            workers=0,
        )
        texts.append(found[0].token_ids)
    assert texts[0] == texts[1]
