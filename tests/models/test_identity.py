"""An answer is only used again for what produced it: everything that can change it changes the identity."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from test_family_loading import save
from tiny_families import TINY
from tiny_qwen import make_model, save_checkpoint

from evalkit.cli import run_cli
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import EnvironmentProblem
from evalkit.data import file_hash
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.worker import Worker
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.work_queue import WorkQueue
from evalkit.models import describe_model, identity
from evalkit.models.base import LoadConfig, ModelInfo, fingerprint_of
from evalkit.models.checkpoints.files import checkpoint_files
from evalkit.runner.engine_options import load_config_of

CPU = LoadConfig(device="cpu")
HALF = LoadConfig(dtype="bfloat16", device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("made") / "ckpt")


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "ckpt"))


def model_info(folder: Path, load_config: LoadConfig = CPU) -> ModelInfo:
    return describe_model(str(folder), load_config=load_config)


def different(one: ModelInfo, other: ModelInfo) -> set[str]:
    names = {**one.identity, **other.identity}
    return {name for name in names if one.identity.get(name) != other.identity.get(name)}


def test_one_weight_of_the_merger_tells_large_checkpoints_apart(tmp_path: Path) -> None:
    """Over 64 MB, sixteen blocks of 1 MB counted: this change was in none of them."""
    config = TINY["qwen2_vl"].model().config
    config.text_config.vocab_size = 66_000
    torch.manual_seed(0)
    model = transformers.Qwen2VLForConditionalGeneration(config)
    found = []
    for number in range(3):
        folder = tmp_path / str(number)
        model.save_pretrained(folder)
        size = (folder / "model.safetensors").stat().st_size
        assert size > 64 << 20
        found.append(checkpoint_files(folder))
        with torch.no_grad():
            norm = model.model.visual.merger.ln_q if number == 0 else model.model.language_model.norm
            norm.weight[0] += 1.0
    hashes = {tuple(file_hash.file_hashes(each.weights)) for each in found}
    assert len(hashes) == 3


def test_replaced_weights_are_other_weights(checkpoint: Path) -> None:
    """Same folder, same size, same time of change: what `cp -p` and `rsync -t` leave."""
    path = checkpoint / "model.safetensors"
    before, first = path.stat(), model_info(checkpoint)
    weights = load_file(path)
    next(value for name, value in weights.items() if name.endswith("merger.ln_q.weight"))[0] += 1
    save_file(weights, path, metadata={"format": "pt"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    second = model_info(checkpoint)
    assert different(first, second) == {"weights"}
    assert first.fingerprint != second.fingerprint


EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], set[str]]] = {
    "configuration": ("config.json", lambda c: c.update(note=1), {"config"}),
    "end token": (
        "generation_config.json",
        lambda c: c.update(eos_token_id=[5]),
        {"generation", "generation config"},
    ),
    "ignored setting": (
        "generation_config.json",
        lambda c: c.update(repetition_penalty=1.1),
        {"generation config"},
    ),
    "chat template": (
        "tokenizer_config.json",
        lambda c: c.update(chat_template=c["chat_template"] + " "),
        {"tokenizer", "chat template"},
    ),
    "pixels": (
        "preprocessor_config.json",
        lambda c: c["size"].update(longest_edge=32 * 784),
        {"processor", "preprocessing"},
    ),
    "frames": (
        "video_preprocessor_config.json",
        lambda c: c["size"].update(longest_edge=8 * 784),
        {"processor", "preprocessing"},
    ),
    "colours": (
        "preprocessor_config.json",
        lambda c: c.update(image_mean=[0.1] * 3),
        {"processor", "preprocessing"},
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_differs_has_a_name(name: str, checkpoint: Path) -> None:
    file, edit, expected = EDITS[name]
    first = model_info(checkpoint)
    content = json.loads((checkpoint / file).read_text())
    edit(content)
    (checkpoint / file).write_text(json.dumps(content))
    assert different(first, model_info(checkpoint)) == expected


@pytest.mark.parametrize(
    ("load_config", "expected"),
    [
        (LoadConfig(dtype="float32", device="cpu", compiled=True), {"compile"}),
        (LoadConfig(dtype="float32", device="cpu", max_frames=4), {"preprocessing", "shown"}),
        (LoadConfig(dtype="float32", device="cpu", visual_tokens=64), {"preprocessing", "shown"}),
        (
            LoadConfig(dtype="float32", device="cpu", video_backend="decord"),
            {"preprocessing", "video backend"},
        ),
        # In float32 the answers are the same: the engine's own promise.
        (LoadConfig(dtype="float32", device="cpu", batching=("batch size 1",)), set()),
        (LoadConfig(dtype="float32", device="cpu", device_map="auto"), set()),
    ],
)
def test_how_it_is_run_in_float32(load_config: LoadConfig, expected: set[str], made: Path) -> None:
    assert different(model_info(made), model_info(made, load_config)) == expected


@pytest.mark.parametrize(
    ("load_config", "expected"),
    [
        (LoadConfig(dtype="float16", device="cpu"), {"dtype"}),
        (LoadConfig(dtype="bfloat16", device="cpu", compiled=True), {"compile"}),
        (LoadConfig(dtype="bfloat16", device="cpu", batching=("without packing",)), {"batching"}),
        (LoadConfig(dtype="bfloat16", device="cpu", device_map="auto"), {"device map"}),
    ],
)
def test_how_it_is_run_in_16_bits(load_config: LoadConfig, expected: set[str], made: Path) -> None:
    assert different(model_info(made, HALF), model_info(made, load_config)) == expected
    assert {"device", "attention", "torch", "transformers"} <= set(model_info(made, load_config).identity)


def test_other_kernels_and_versions(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, exact = model_info(made, HALF), model_info(made)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "OTHER")
    assert different(first, model_info(made, HALF)) == {"device"}
    assert different(exact, model_info(made)) == set()
    monkeypatch.setattr(torch, "__version__", "9.9.9+cpu")
    assert different(exact, model_info(made)) == {"torch"}
    assert model_info(made).identity["torch"] == "9.9.9"
    monkeypatch.setattr(identity, "ENGINE", "evalkit 0")
    assert different(exact, model_info(made)) == {"torch", "engine"}
    torch.set_float32_matmul_precision("medium")
    try:
        assert "matrix products" in different(exact, model_info(made))
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_options_of_a_run_arrive_in_it() -> None:
    spec = RunSpec(models=("tiny",), tasks=("mini",))
    assert load_config_of(spec).batching == ()
    more = spec.with_options(without=("graphs", "media"), batch_size=4, workers=3)
    assert load_config_of(more).batching == ("without graphs", "batch size 4")
    every = load_config_of(spec.with_options(without=("all",))).batching
    assert every == tuple(f"without {name}" for name in Optimizations.names() if name != "media")


def test_identity_and_fingerprint_are_the_same_wherever_they_are_described(made: Path) -> None:
    first = model_info(made)
    again = pickle.loads(pickle.dumps(first))
    assert (dict(again.identity), again.fingerprint) == (dict(first.identity), first.fingerprint)
    assert fingerprint_of(first.identity) == first.fingerprint
    assert (first.load().info.identity, first.load().info.files) == (first.identity, first.files)
    elsewhere = shutil.copytree(made, made.parent / "moved")
    assert different(first, model_info(elsewhere)) == set()  # a path is no part of it


def test_every_file_that_is_read_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Python opens in the folder to describe and load a model is hashed."""
    opened: set[str] = set()

    def watch(event: str, words: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(words[0], str) and words[0].startswith(str(made)):
            opened.add(words[0])

    import sys

    watching = True
    sys.addaudithook(watch)
    described = model_info(made)
    described.load()
    watching = False
    assert {path for path in opened if Path(path).is_file()} <= {str(path) for path in described.files}
    assert str(made / "model.safetensors") in opened
    assert all(path.is_absolute() and path.is_file() for path in described.files)


def test_a_checkpoint_that_changes_before_it_is_loaded(checkpoint: Path) -> None:
    """A trainer overwrites its latest checkpoint while the files are hashed."""
    described = model_info(checkpoint)
    weights = load_file(checkpoint / "model.safetensors")
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentProblem, match="changed while it was loaded"):
        described.load()


def test_a_gpu_goes_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU of {device}")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    found = identity._rounding(torch.device("cuda", 1), LoadConfig(device_map="auto"))
    assert found == {
        "device": "GPU of cuda:1",
        "attention": "varlen, sdpa, cudnn 91000",
        "device map": "auto",
        "batching": "default",
    }


def test_an_engine_that_loads_something_else_says_what(checkpoint: Path) -> None:
    order = ModelSpec(str(checkpoint), "auto", CPU)
    identity = dict(model_info(checkpoint).identity)
    done = WorkQueue([], 1)

    def asked(known: dict[str, str]) -> None:
        worker = Worker(None, None)
        specs = [ModelSpec(order.model, order.rope, order.load_config, known)]
        list(worker.generate(specs, EngineConfig(workers=0), lambda: done.take(0, 0), lambda path: None))

    asked(identity)
    with pytest.raises(EnvironmentProblem, match="they differ in weights, torch,"):
        asked(identity | {"weights": "another", "torch": "1.0"})


GENERATION = {
    "do_sample": True,
    "top_k": 1,
    "repetition_penalty": 1.05,
    "no_repeat_ngram_size": 3,
    "suppress_tokens": [7],
    "num_beams": 1,
}


def test_ignored_generation_settings_are_a_note(tmp_path: Path) -> None:
    model = make_model()
    for name, value in GENERATION.items():
        setattr(model.generation_config, name, value)
    folder = save_checkpoint(tmp_path / "ckpt", model)
    assert model_info(folder).notes == (
        "decoding is greedy: of the checkpoint's generation_config.json, do_sample=True, "
        "no_repeat_ngram_size=3, repetition_penalty=1.05, suppress_tokens=[7], top_k=1 is ignored",
    )
    greedy = save_checkpoint(tmp_path / "greedy")
    assert model_info(greedy).notes == ()


@pytest.mark.parametrize(
    ("vendor", "said"),
    [
        ("Qwen2_5_VL", "do_sample=True, repetition_penalty=1.05, temperature=0.1, top_k=1, top_p=0.001"),
        ("Qwen2_VL", "do_sample=True, temperature=0.01, top_k=1, top_p=0.001"),
        ("Qwen3_VL", "do_sample=True, temperature=0.7, top_k=20, top_p=0.8"),
        ("InternVL3_original", None),
    ],
)
def test_published_generation_settings(vendor: str, said: str | None, shared: Path, checkpoint: Path) -> None:
    shutil.copy(shared / "hub_configs" / vendor / "generation_config.json", checkpoint)
    notes = model_info(checkpoint).notes
    assert [said in note for note in notes] == ([True] if said else [])


def test_an_unreadable_generation_configuration_is_no_absent_one(checkpoint: Path) -> None:
    """transformers takes the end tokens of config.json then, without a word."""
    (checkpoint / "generation_config.json").write_text('{"eos_token_id": [257,')
    with pytest.raises(EnvironmentProblem, match="generation_config"):
        model_info(checkpoint)


@pytest.mark.parametrize("name", ["llava_onevision", "internvl", "qwen3_vl"])
def test_processor_settings_come_from_where_transformers_takes_them(name: str, tmp_path: Path) -> None:
    """transformers 5 saves all of a processor in one file, which goes before the older ones beside it."""
    folder = save(tmp_path / "ckpt", name)
    first = model_info(folder)
    image = json.loads((folder / "preprocessor_config.json").read_text())
    whole = folder / "processor_config.json"
    nested = {"image_processor": {**image, "image_mean": [0.25] * 3}}
    whole.write_text(json.dumps((json.loads(whole.read_text()) if whole.is_file() else {}) | nested))
    assert different(first, model_info(folder)) == {"processor", "preprocessing"}
    (folder / "preprocessor_config.json").unlink()
    assert model_info(folder).processor.normalise["image"].mean == (0.25,) * 3


def test_a_folder_as_a_trainer_on_transformers_5_saves_it(checkpoint: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    image = transformers.Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 64 * 784})
    video = transformers.Qwen2VLVideoProcessor(size={"shortest_edge": 3136, "longest_edge": 16 * 784})
    old = model_info(checkpoint)
    for path in checkpoint.glob("*preprocessor_config.json"):
        path.unlink()
    transformers.Qwen2_5_VLProcessor(image, tokenizer, video).save_pretrained(checkpoint)
    assert not (checkpoint / "preprocessor_config.json").exists()
    assert model_info(checkpoint).preprocessor == old.preprocessor


def test_a_changed_checkpoint_is_not_stored_already(checkpoint: Path, tmp_path: Path) -> None:
    """The same command after the weights in a folder were replaced asks everything again."""
    words = ["run", "--model", str(checkpoint), "--tasks", "mini_chartqa", "--limit", "2", "--workers", "0"]
    words += ["--device", "cpu", "--output", str(tmp_path / "out")]

    def keys() -> set[str]:
        lines = [
            line
            for path in (tmp_path / "out").rglob("*.jsonl")
            for line in path.read_text().splitlines()
            if '"key"' in line
        ]
        return {json.loads(line)["key"] for line in lines}

    run_cli(words)
    first = keys()
    weights = load_file(checkpoint / "model.safetensors")
    next(value for name, value in weights.items() if name == "model.norm.weight").mul_(-1)
    save_file(weights, checkpoint / "model.safetensors", metadata={"format": "pt"})
    run_cli(words)
    assert len(keys()) == 2 * len(first) == 4
