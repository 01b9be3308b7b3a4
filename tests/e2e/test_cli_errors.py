"""Every mistake gives one clear message (what, why, fix), the documented exit code, and no traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fork_server
import pytest

from evalkit.cli import run_cli


def evalkit(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return fork_server.evalkit(*words, cwd=cwd)


RUN = ("run", "--model", "mock", "--tasks", "mini_chartqa", "--limit", "2", "--workers", "0")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--model", "mock", "--tasks", "chartqaa"), 2, "Did you mean `chartqa`?"),
        (("run", "--model", "mock", "--rope", "mrope-j", "--tasks", "mini"), 2, "Did you mean `mrope-i`?"),
        (("run", "--model", "./nowhere", "--tasks", "mini"), 2, "nowhere"),
        (("run", "--model", "mock", "--tasks", "chartqa", "--data-root", "./nowhere"), 4, "nowhere"),
        (("run", "--model", "mock"), 2, "no task given"),
        (("run", "--tasks", "mini"), 2, "no model given"),
        ((*RUN, "--limit", "0"), 2, "--limit"),
        (("runn",), 2, "Did you mean `run`?"),
        (("compare", "nowhere"), 2, "no run at"),
        (("score", "nowhere.jsonl"), 2, "nowhere.jsonl"),
        (("tasks", "show", "mmmu"), 2, "Did you mean `mmmu_val`?"),
        (("ropes", "show", "mhrop"), 2, "Did you mean `mhrope`?"),
        (("run", "--config", "none.yaml"), 2, "none.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_gives_one_message(words: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    done = evalkit(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_the_message_says_what_why_and_fix(tmp_path: Path) -> None:
    done = evalkit("run", "--model", "mock", "--tasks", "chartqaa", cwd=tmp_path)
    assert "why:" in done.stderr
    assert "fix:" in done.stderr


def test_an_unknown_config_key_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("model: mock\ntask: mini\nlimits: 3\n")
    done = evalkit("run", "--config", "run.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean `limit`?" in done.stderr


def test_an_unreadable_checkpoint_names_the_file_and_spares_the_other_arms(tmp_path: Path) -> None:
    from evalkit.zoo import resolve

    broken = tmp_path / "broken"
    broken.mkdir()
    for file in resolve("tiny", "mrope").iterdir():
        content = file.read_bytes()
        cut = len(content) // 2 if file.suffix == ".safetensors" else len(content)
        (broken / file.name).write_bytes(content[:cut])
    words = ("run", "--model", "mock", "--model", str(broken), "--tasks", "mini_chartqa", "--limit", "2")
    done = evalkit(*words, "--workers", "0", "--output", "out", cwd=tmp_path)
    assert done.returncode == 4
    assert "broken" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "records.jsonl").read_text().count("\n") == 2


def test_the_end_of_another_process_is_no_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def ended(*words: object) -> None:
        raise EOFError

    monkeypatch.setattr("evalkit.api.run", ended)
    assert run_cli([*RUN, "--output", str(tmp_path / "run")]) == 4
    assert "was killed, or ran out of memory" in capsys.readouterr().err
