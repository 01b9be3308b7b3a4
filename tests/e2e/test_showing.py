"""`--max-frames` and `--visual-tokens`: other limits than the paper's, under keys of their own."""

from __future__ import annotations

from pathlib import Path

from evalkit.api import leaderboard
from evalkit.cli import run_cli
from evalkit.store import Record, RunDir

WORDS = ["run", "--model", "tiny", "--tasks", "mini_video", "--limit", "3", "--workers", "0", "-q"]


def run(output: Path, *more: str) -> list[Record]:
    assert run_cli([*WORDS, "--output", str(output), *more]) == 0
    return list(RunDir.open(output).records())


def test_fewer_frames_and_tokens_are_shown(tmp_path: Path) -> None:
    usual = run(tmp_path / "usual")
    frames = run(tmp_path / "frames", "--max-frames", "2")
    tokens = run(tmp_path / "tokens", "--visual-tokens", "8")
    assert {len(record.media[0].frames) for record in frames} == {2}
    assert all(len(record.media[0].frames) > 2 for record in usual)
    assert all(
        record.media[0].tokens <= 8 < other.media[0].tokens
        for record, other in zip(tokens, usual, strict=True)
    )
    keys = [{record.key for record in own} for own in (usual, frames, tokens)]
    assert len(set.union(*keys)) == 9
    assert run_cli(["compare", str(tmp_path / "usual"), str(tmp_path / "frames")]) == 2


def test_the_leaderboard_tells_protocols_apart(tmp_path: Path) -> None:
    run(tmp_path / "usual")
    run(tmp_path / "frames", "--max-frames", "2", "--mc-logits")
    table = tmp_path / "board.csv"
    leaderboard([tmp_path / "usual", tmp_path / "frames"], table)
    text = table.read_text()
    assert "limit-3," in text
    assert "limit-3 max-frames-2 mc-logits," in text
