"""What vLLM can't be asked for is refused when it is started, or is an error of its sample; never a guess."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_vllm import make_environment, processes_in

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.types import MediaRef, Request, Text
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.integrations.vllm import client, system
from evalkit.integrations.vllm.server import RESERVED
from evalkit.models.base import LoadConfig
from evalkit.models.processor_reference import picture
from evalkit.rope.variants import parse_variant

CHECKPOINT = Path("evalkit/zoo/checkpoints/tiny-mrope")
REFUSE_EACH = """
import json, sys
from evalkit.integrations.vllm.server import RESERVED, Engine, Refused
said = {}
for name in RESERVED:
    try:
        Engine({"engine_args": {name: 1}})
    except Refused as refused:
        said[name] = [*refused.args, refused.usage]
json.dump(said, sys.stdout)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_environment(tmp_path_factory.mktemp("fake"))


def described(python: str, model: Path = CHECKPOINT) -> system.VllmModelInfo:
    return system.describe(str(model), "mrope", LoadConfig(engine="vllm", vllm_python=python))


def test_every_engine_argument_that_evalkit_decides_is_refused_by_name(python: str) -> None:
    done = subprocess.run([python, "-c", REFUSE_EACH], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said == {
        name: [f"`--engine-args {name}`", f"that is said by {who}", "leave it out", True]
        for name, who in RESERVED.items()
    }


def test_a_process_that_speaks_another_protocol_is_ended(
    python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PROTOCOL", client.PROTOCOL + 1)
    with pytest.raises(EnvironmentProblem, match="the vLLM process") as caught:
        described(python).load()
    assert f"speaks protocol {client.PROTOCOL - 1}, and this one {client.PROTOCOL}" in caught.value.why
    assert processes_in(python) == []


def test_a_checkpoint_that_changes_while_vllm_loads_it(python: str, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(CHECKPOINT, folder)
    info = described(python, folder)
    os.utime(folder / "model.safetensors", (1, 1))
    with pytest.raises(EnvironmentProblem, match="changed while it was loaded"):
        info.load()
    assert processes_in(python) == []


def test_a_prompt_whose_positions_are_fractions_is_an_error_of_its_sample(
    python: str, tmp_path: Path
) -> None:
    """As with a design whose integers were found out on other sizes."""
    image = picture(tmp_path, (112, 84))
    model = described(python).load()
    try:
        decoder = model.decoder()
        decoder.designs = [parse_variant("v2pe").position]
        asked: list[list[Any]] = [[image, Text("What is it?")], [Text("Why?")]]
        items = [
            model.info.preprocessor.prepare(
                Request(
                    key=str(number),
                    task="t",
                    sample_id=str(number),
                    prompt=model.info.render(parts),
                    media=tuple(part for part in parts if isinstance(part, MediaRef)),
                    max_new_tokens=9,
                )
            )
            for number, parts in enumerate(asked)
        ]
        groups = [PrefixGroup((item,), item.prefix) for item in items]
        found = {item.key: answer for item, answer in generate_all(decoder, groups)}
    finally:
        model.close()
    assert "its positions are fractions, which vLLM can't keep" in str(found["0"].error)
    assert found["1"].error is None
