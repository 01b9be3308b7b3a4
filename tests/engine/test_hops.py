"""The way from the command line to a stored record: short, and nothing is done twice on it."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evalkit import compare, evaluate
from evalkit.cli import run_cli
from evalkit.core import registry
from evalkit.data import file_hash
from evalkit.inference.one_shot_decoder import OneShotDecoder
from evalkit.store.journal import JournalWriter

HOPS = [
    "run.command",
    "running.run",
    "run.run_spec",
    "system_run.answer",
    "scheduler.generate_groups",
    "scheduler.step_loop",
    "scheduler._run_step",
]


def hops() -> list[str]:
    """Functions of evalkit on the stack, from the command on; `Executor.generate` has returned its stream."""
    frame, found = sys._getframe(2), list[str]()
    while frame.f_back is not None:
        if f"{Path('evalkit')}/" in frame.f_code.co_filename:
            found.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
        frame = frame.f_back
    return found[found.index("run.command") :: -1]


def test_a_record_is_eight_hops_from_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[str]] = {}
    add, append = OneShotDecoder.add, JournalWriter.append

    def watched_add(decoder: OneShotDecoder, groups: Any) -> Any:
        seen["add"] = hops()
        return add(decoder, groups)

    def watched_append(journal: JournalWriter, records: Any) -> None:
        seen["append"] = hops()
        append(journal, records)

    monkeypatch.setattr(OneShotDecoder, "add", watched_add)
    monkeypatch.setattr(JournalWriter, "append", watched_append)
    words = ["run", "--model", "mock", "--tasks", "mini_docvqa", "--limit", "2", "--workers", "0", "-q"]
    run_cli([*words, "--output", str(tmp_path / "run")])
    assert seen["add"] == HOPS  # and `Executor.generate`, which has returned: eight
    assert seen["append"] == HOPS[:4]


def test_media_are_hashed_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    own = file_hash._read

    def counted(path: Path, progress: Any) -> str:
        read[str(path)] += 1
        return own(path, progress)

    monkeypatch.setattr(file_hash, "_read", counted)
    tasks = ["mini_docvqa", "mini_video"]
    found = evaluate(["mock", "mock:fixed=B"], tasks, limit=4, workers=0, output=tmp_path / "run")
    media = {medium.digest for record in found.records for medium in record.media}
    assert len(found.records) == 16
    assert len(read) == len(media) > 1
    assert set(read.values()) == {1}


def test_a_medium_that_changed_is_hashed_again(tmp_path: Path) -> None:
    from evalkit.core.types import MediaRef
    from evalkit.data.media import media_digest
    from evalkit.engine.media_scan import digest_of

    path = tmp_path / "a.png"
    path.write_bytes(b"one")
    ref = MediaRef("image", path=str(path))
    known = MediaRef("image", path=str(path), digest=digest_of(ref))
    assert media_digest(known) == media_digest(ref)
    path.write_bytes(b"another")
    assert media_digest(known) == media_digest(ref) != digest_text(known)


def digest_text(ref: Any) -> str:
    return str(ref.digest.text)


def test_task_files_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison of four systems on four tasks, from nothing known."""
    models = ["mock", "mock:loop", "mock:fixed=A", "mock:fixed=B"]
    tasks = ["mini_docvqa", "mini_chartqa", "mini_refcoco", "mini_video"]
    parsed: Counter[str] = Counter()
    parse = ast.parse

    def counted(source: Any, filename: str = "<unknown>", *more: Any, **options: Any) -> Any:
        parsed[str(filename)] += str(filename).endswith(".py")
        return parse(source, filename, *more, **options)

    evaluate(models, tasks, limit=2, workers=0, output=tmp_path / "run")
    registry._parsed.cache_clear()
    monkeypatch.setattr(ast, "parse", counted)
    found = compare(tmp_path / "run")
    assert (len(found.arms), len(found.columns)) == (4, 4)
    files = {str(info.path) for info in registry.declared()}
    assert {name: count for name, count in parsed.items() if name in files} == dict.fromkeys(files, 1)
