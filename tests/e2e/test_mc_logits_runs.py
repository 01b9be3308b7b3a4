"""`evalkit run --mc-logits`, as a user would."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.cli import run_cli
from evalkit.store import Record, RunDir

WORDS = [
    "run",
    "--model",
    "tiny",
    "--tasks",
    "mini_video,mini_docvqa",
    "--limit",
    "8",
    "--workers",
    "0",
    "-q",
]


def by_task(output: Path) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in RunDir.open(output).records():
        found.setdefault(record.task, []).append(record)
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    plain, chosen = tmp_path_factory.mktemp("plain") / "plain", tmp_path_factory.mktemp("mc") / "chosen"
    assert run_cli([*WORDS, "--output", str(plain)]) == 0
    assert run_cli([*WORDS, "--output", str(chosen), "--mc-logits"]) == 0
    return plain, chosen


def test_only_multiple_choice_is_answered_otherwise(runs: tuple[Path, Path]) -> None:
    plain, chosen = (by_task(output) for output in runs)
    keys = [{task: [each.key for each in found] for task, found in own.items()} for own in (plain, chosen)]
    assert keys[0]["mini_docvqa"] == keys[1]["mini_docvqa"]
    assert not set(keys[0]["mini_video"]) & set(keys[1]["mini_video"])
    for record in chosen["mini_video"]:
        assert record.raw in record.meta["options"]
        assert len(record.token_ids) == 1
        assert record.score is not None
    # The tiny model answers by a letter, so its first token is the likeliest letter.
    firsts = [
        (record.raw.strip()[:1], other.raw)
        for record, other in zip(plain["mini_video"], chosen["mini_video"], strict=True)
    ]
    assert all(greedy == letter for greedy, letter in firsts if greedy in "ABCD")


def test_both_are_not_compared_unless_one_insists(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["compare", *map(str, runs)]
    assert run_cli(both) == 2
    said = capsys.readouterr().err
    assert "mini_video" in said
    assert "--mc-logits" in said
    assert run_cli([*both, "--allow-mismatch"]) == 0
    assert "way of choosing an option (`--mc-logits`) differs" in capsys.readouterr().out


def test_a_finished_run_does_nothing_again(runs: tuple[Path, Path]) -> None:
    journal = next(runs[1].glob("journal/*.jsonl"))
    before = journal.read_bytes()
    assert run_cli([*WORDS, "--output", str(runs[1]), "--mc-logits"]) == 0
    assert journal.read_bytes() == before


def test_a_file_may_ask_for_it(tmp_path: Path) -> None:
    config, output = tmp_path / "run.yaml", tmp_path / "out"
    config.write_text("model: mock:fixed=it is B\ntasks: mini_video\nlimit: 4\nworkers: 0\nmc_logits: true\n")
    assert run_cli(["run", "--config", str(config), "--output", str(output), "-q"]) == 0
    assert {record.raw for record in RunDir.open(output).records()} == {"B"}
