from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from evalkit.core.errors import MediaError, OutOfMemory, UsageError
from evalkit.core.types import Generation, Locate, MediaRef, Request, Text
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.models import load_model
from evalkit.models.base import Model


def ask(
    model: Model, prompt: str = "Read this.\nWhat is it?", sample: str = "s1", limit: int = 20
) -> Generation:
    request = Request(key="k", task="task", sample_id=sample, prompt=prompt, media=(), max_new_tokens=limit)
    prepared = pickle.loads(pickle.dumps(model.info.preprocessor)).prepare(request)
    ((_, found),) = generate_all(model.decoder(), [PrefixGroup((prepared,), 0)])
    return found


def test_it_echoes_the_last_line() -> None:
    found = ask(load_model("mock"))
    assert (found.text, len(found.token_ids), found.finish_reason) == ("What is it?", 3, "stop")


def test_it_keeps_the_limit() -> None:
    found = ask(load_model("mock:fixed=one two three"), limit=2)
    assert (found.text, len(found.token_ids), found.finish_reason) == ("one two", 2, "length")


def test_fixed_answers(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text(json.dumps({"s1": "yes", "task/s2": "no"}))
    model = load_model(f"mock:answers={file}")
    assert ask(model).text == "yes"
    assert ask(model, sample="s2").text == "no"
    with pytest.raises(LookupError, match="s3"):
        ask(model, sample="s3")
    assert load_model(f"mock:answers={file}").info.fingerprint == model.info.fingerprint
    file.write_text("{}")
    assert load_model(f"mock:answers={file}").info.fingerprint != model.info.fingerprint


def test_it_fails_on_demand() -> None:
    with pytest.raises(RuntimeError, match="s1"):
        ask(load_model("mock:fail"))
    assert ask(load_model("mock:fail=s2")).text == "What is it?"


def test_it_loops_and_runs_out_of_memory() -> None:
    found = ask(load_model("mock:loop"), limit=50)
    assert (found.text[:5], len(found.token_ids), found.finish_reason) == ("1 1 1", 50, "loop")
    model = load_model("mock:oom=1")
    prepared = model.info.preprocessor.prepare(
        Request(key="k", task="t", sample_id="s", prompt="a", media=(), max_new_tokens=3)
    )
    prefix_group = PrefixGroup((prepared,), 0)
    assert len(generate_all(model.decoder(), [prefix_group])) == 1
    with pytest.raises(OutOfMemory):
        generate_all(model.decoder(), [prefix_group, prefix_group])


def test_it_looks_at_media(tmp_path: Path) -> None:
    model = load_model("mock")
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (30, 20)).save(good)
    bad.write_bytes(good.read_bytes()[:40])
    ref = MediaRef("image", path=str(good))
    prompt = model.info.render([ref, Locate("the dog"), Text("?")])
    assert prompt == "<image>\nLocate the dog?"
    prepared = model.info.preprocessor.prepare(
        Request(key="k", task="t", sample_id="s", prompt=prompt, media=(ref,), max_new_tokens=3)
    )
    assert prepared.media[0].size == (30, 20)
    with pytest.raises(MediaError, match=r"bad\.png"):
        model.info.preprocessor.prepare(
            Request(
                key="k",
                task="t",
                sample_id="s",
                prompt=prompt,
                media=(MediaRef("image", path=str(bad)),),
                max_new_tokens=3,
            )
        )


@pytest.mark.parametrize("name", ["mock:fial", "mock:oom=many", "mock:answers=nowhere.json", "mock:slow="])
def test_a_wrong_behaviour_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=name.partition(":")[2].partition("=")[0]):
        load_model(name)


def test_it_needs_no_torch() -> None:
    code = (
        "import sys; from evalkit.models import load_model; load_model('mock'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
