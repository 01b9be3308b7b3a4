"""Runs with variants from a folder: as docs/add-a-rope.md tells it, through the real command."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest
import yaml
from outside_files import DOCS, HALF, catalog, write
from tiny_qwen import save_checkpoint

from evalkit import evaluate
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.engine.executors.base import ModelSpec
from evalkit.models import describe_model, load_model
from evalkit.models.base import LoadConfig
from evalkit.rope.hf.install import installed_in
from evalkit.rope.outside import read_ropes_dirs
from evalkit.store import RunDir
from evalkit.store.manifest import Manifest, SystemEntry

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ropes(tmp_path: Path) -> Path:
    return write(tmp_path / "my_ropes", half_steps=HALF)


def systems(run: Path) -> dict[str, SystemEntry]:
    return {each.arm: each for each in RunDir.open(run).manifest().arms}


def manifest(run: Path) -> Manifest:
    return RunDir.open(run).manifest()


@pytest.mark.slow
def test_the_documentation_does_what_it_says(tmp_path: Path, ropes: Path) -> None:
    """Its commands, read by a shell, in a folder with its file, with a tiny Qwen2.5-VL for the checkpoint."""
    (commands,) = re.findall(r"```sh\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    settings = {**os.environ, "CHECKPOINT": str(save_checkpoint(tmp_path / "tiny-qwen"))}
    printed = ""
    for line in commands.replace("\\\n", "").splitlines():
        split = ["bash", "-c", f"printf '%s\\0' {line}"]
        read = subprocess.run(split, cwd=tmp_path, env=settings, capture_output=True, text=True, check=True)
        program, *words = read.stdout.split("\0")[:-1]
        assert program == "evalkit"
        done = fork_server.evalkit(*words, cwd=tmp_path)
        # A random model babbles on: its scores are unreliable, and the run says so.
        assert done.returncode == (3 if line.startswith("evalkit run") else 0), done.stderr
        printed += done.stdout
    assert re.search(r"^half-i +frames half a position apart$", printed, re.MULTILINE)
    assert "Frames half a position apart; rows and columns as in MRoPE." in printed
    assert "tiny-qwen@half-i(step=0.25)" in printed
    assert (tmp_path / "half.svg").stat().st_size > 10_000
    found = systems(tmp_path / "results/half")
    assert [each.rope for each in found.values()] == ["half-i", "half-i(step=0.25)", "mrope-i"]
    digest = read_ropes_dirs([str(ropes)])[0].sha256
    sources = [each.identity.get("RoPE file half_steps.py") for each in found.values()]
    assert sources == [digest, digest, None]
    assert manifest(tmp_path / "results/half").invocations[0].spec.ropes_dirs == ("my_ropes",)


def test_its_error_is_the_one_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "my_ropes", half_steps=HALF.replace(", at.start + w),", "),"))
    assert run_cli(["ropes", "--ropes-dir", "my_ropes"]) == 2
    (shown,) = re.findall(r"```text\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert capsys.readouterr().err == shown


def test_an_edited_file_is_answered_anew(tmp_path: Path, ropes: Path) -> None:
    """Beside what was answered before; a variant that doesn't come from the file is not."""
    run = tmp_path / "run"
    order = {
        "ropes": ["half-i", "mrope-i"],
        "ropes_dirs": str(ropes),
        "output": run,
        "limit": 2,
        "workers": 0,
    }
    evaluate("mock:fixed=42", "mini_docvqa", **order)
    assert list(systems(run)) == ["mock:fixed=42@half-i", "mock:fixed=42@mrope-i"]
    before = len(RunDir.open(run).journal().records)
    evaluate("mock:fixed=42", "mini_docvqa", **order)
    assert len(RunDir.open(run).journal().records) == before
    write(ropes, half_steps=HALF.replace("float = 0.5", "float = 0.125"))
    evaluate("mock:fixed=42", "mini_docvqa", **order)
    names = list(systems(run))
    assert names[:2] == ["mock:fixed=42@half-i", "mock:fixed=42@mrope-i"]
    assert len(names) == 3
    assert names[2].startswith("mock:fixed=42@half-i#")
    assert len(RunDir.open(run).journal().records) == before * 3 // 2


def test_a_finished_command_knows_its_files(tmp_path: Path, ropes: Path) -> None:
    """Nothing is loaded again while the file is as it was."""
    run = tmp_path / "run"
    order = {"ropes": "half-i", "ropes_dirs": str(ropes), "output": run, "limit": 1, "workers": 0}
    evaluate("mock", "mini_docvqa", **order)
    inputs = manifest(run).invocations[-1].inputs
    assert inputs is not None
    assert str(ropes) in inputs.paths


def test_run_yaml_names_the_folder(tmp_path: Path, ropes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = {"model": "mock", "rope": "half-i", "tasks": "mini_docvqa", "limit": 1, "ropes-dir": str(ropes)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    words = [
        "run",
        "--config",
        str(tmp_path / "run.yaml"),
        "--output",
        str(tmp_path / "run"),
        "--workers",
        "0",
    ]
    assert run_cli([*words, "--quiet"]) == 0
    assert [each.rope for each in systems(tmp_path / "run").values()] == ["half-i"]
    capsys.readouterr()
    assert run_cli(["run", "--model", "mock", "--rope", "half-i", "--tasks", "mini_docvqa"]) == 2
    assert "add `--ropes-dir` for your own" in capsys.readouterr().err


def test_the_built_in_fingerprints_stay(tmp_path: Path, ropes: Path) -> None:
    files = read_ropes_dirs([str(ropes)])
    plain = describe_model("mock", "mrope-i")
    assert describe_model("mock", "mrope-i", LoadConfig(rope_files=files)).fingerprint == plain.fingerprint
    assert describe_model("mock", "half-i", LoadConfig(rope_files=files)).fingerprint != plain.fingerprint


def test_another_process_needs_no_folder(tmp_path: Path, ropes: Path) -> None:
    """On another machine there is none: what the files held is sent with the order."""
    order = ModelSpec("mock", "half-i", LoadConfig(rope_files=read_ropes_dirs([str(ropes)])))
    shutil.rmtree(ropes)
    code = (
        "import pickle, sys\n"
        "from evalkit.engine.executors.local import LocalExecutor\n"
        "info = LocalExecutor().describe(pickle.load(sys.stdin.buffer))\n"
        "print(info.variant, info.fingerprint)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps(order),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    here = describe_model("mock", "half-i", order.load_config)
    assert done.stdout.decode().split() == ["half-i", here.fingerprint]


@pytest.mark.slow
def test_a_model_is_loaded_from_python(tmp_path: Path, ropes: Path) -> None:
    """And its checkpoint remembers the variant's name, which another command needs the folder for."""
    folder = save_checkpoint(tmp_path / "tiny-qwen")
    model = load_model(str(folder), rope="half-i", ropes_dirs=[str(ropes)])
    assert str(installed_in(model.module).variant) == "half-i"
    model.module.save_pretrained(folder)
    assert str(load_model(str(folder), ropes_dirs=[str(ropes)]).info.variant) == "half-i"
    with pytest.raises(UsageError, match="the checkpoint's `rope_variant` `half-i`"):
        load_model(str(folder))


@pytest.mark.slow
def test_engines_in_other_processes_know_the_variant(tmp_path: Path, ropes: Path) -> None:
    """Ray's actors, and the processes that prepare for them; the answers are those of one engine here."""
    folder = str(save_checkpoint(tmp_path / "tiny-qwen"))
    order = {"ropes": "half-i", "ropes_dirs": str(ropes), "limit": 4}
    evaluate(folder, "mini_docvqa", output=tmp_path / "one", workers=0, **order)
    evaluate(folder, "mini_docvqa", output=tmp_path / "two", workers=1, devices=("cpu", "cpu"), **order)
    one, two = (
        {key: each.raw for key, each in RunDir.open(tmp_path / name).journal().records.items()}
        for name in ("one", "two")
    )
    assert one == two
    assert len(one) == 4


def test_show_and_list_name_the_file(ropes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["ropes", "--json", "--ropes-dir", str(ropes)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["half-i"]["from"] == "half_steps.py"
    assert found["half-i"]["text prior"].startswith("kept")
    assert "from" not in found["mrope-i"]
    for words in (
        ["--ropes-dir", str(ropes), "show", "half-i"],
        ["show", "half-i", "--ropes-dir", str(ropes)],
    ):
        assert run_cli(["ropes", *words]) == 0
        assert "0.5" in capsys.readouterr().out


def test_golden_data_of_ones_own(tmp_path: Path, ropes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A result names the variant that it should be."""
    import numpy as np

    from evalkit.rope.layout import TextRun, VisualBlock
    from evalkit.rope.positions import position_ids

    design = catalog(ropes).parse("half-i").position
    placed = position_ids(design, [TextRun(2), VisualBlock((3, 2, 2), 1.0), TextRun(1)])
    case = {
        "layout": "qwen2",
        "spatial_merge_size": 1,
        "input_ids": [[1] * 15],
        "attention_mask": [[1] * 15],
        "mm_token_type_ids": [[0, 0, *[2] * 12, 0]],
        "video_grid_thw": [[3, 2, 2]],
        "results": {
            "mine": {
                "evalkit": "half-i",
                "rope_deltas": [placed.p_next - 15],
                "delta_convention": "unpadded_len",
            }
        },
    }
    golden = tmp_path / "golden"
    golden.mkdir()
    (golden / "one.json").write_text(json.dumps(case))
    np.savez(golden / "one.npz", mine=placed.ids[:, None])
    words = ["ropes", "check", str(golden), "--ropes-dir", str(ropes)]
    assert run_cli(words) == 0
    assert "half-i" in capsys.readouterr().out
    np.savez(golden / "one.npz", mine=placed.ids[:, None] + 0.5)
    assert run_cli(words) == 1


@pytest.mark.parametrize("words", [["ropes", "check", "."], ["bench", "ropes"]])
def test_developers_tools_are_not_in_the_wheel(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalkit.cli.checkout.find_spec", lambda name: None)
    assert run_cli(words) == 4
    assert "its programs are in the source checkout, not in the wheel" in capsys.readouterr().err
