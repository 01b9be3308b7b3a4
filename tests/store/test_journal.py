"""The journal survives being killed at any byte, and gives the same answer whoever wrote what."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics.base import Score
from evalkit.store import JournalWriter, Record, read_journal
from evalkit.types import MediaInfo

IMAGE = MediaInfo("image", "ab12", (640, 480), (644, 476), 391)
VIDEO = MediaInfo("video", "cd34", (320, 240), (308, 252), 99, (0, 15, 30), (0.0, 0.5, 1.0))


def record(number: int = 0, **fields: object) -> Record:
    plain = Record(
        arm="tiny@mrope",
        model="tiny",
        rope="mrope",
        task="chartqa",
        sample_id=str(number),
        index=number,
        key=f"key{number}",
        cluster_id="image",
        prompt="<image>How many?",
        reference=["3", "three"],
        raw="3",
        finish_reason="stop",
        token_ids=(1, 2, 3),
        groups={"split": "human", "types": ("bar", "pie")},
        meta={"question": "How many?", "options": {"A": "x"}, "image_size": [640, 480]},
        box_space="abs_resized",
        media=(IMAGE, VIDEO),
        seconds={"generate": 0.25},
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


def failed(number: int = 0, why: str = "broken image") -> Record:
    return record(number, raw="", finish_reason="error", error=why, token_ids=())


@given(raw=st.text(), reference=st.text() | st.lists(st.floats(allow_nan=False)))
def test_a_record_reads_back_as_it_was_written(raw: str, reference: object) -> None:
    written = record(raw=raw, reference=reference)
    scored = replace(written, score=Score(0.5, [1], "why", {"iou": 0.25}), flags=("empty",))
    assert Record.from_json(json.loads(json.dumps(scored.to_json()))) == scored
    with tempfile.TemporaryDirectory() as folder:
        with JournalWriter(Path(folder)) as journal:
            journal.append([scored])
        assert read_journal(Path(folder)).records == {"key0": written}  # scores are never journalled


def test_lone_surrogates_survive(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append([record(raw="\ud800 \u2028 ü")])
    assert read_journal(tmp_path).records["key0"].raw == "\ud800 \u2028 ü"


def test_what_was_appended_is_on_disk_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size))
    with JournalWriter(tmp_path) as journal:
        for number in range(3):
            journal.append([record(number), record(number + 10)])
            assert len(synced) == number + 1
            assert synced[-1] == journal.path.stat().st_size
            assert len(read_journal(tmp_path).records) == 2 * (number + 1)


def test_a_kill_at_any_byte_costs_at_most_the_line_in_flight(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append([record(0), record(1, raw="über\n"), record(2)])
    content = journal.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(0, len(content), 7):
        journal.path.write_bytes(content[:cut])
        whole = sum(end <= cut for end in ends)
        found = read_journal(tmp_path)
        # A line that lacks nothing but its line break is whole for a reader.
        assert whole <= len(found.records) <= whole + (cut + 1 in ends)
        assert found.unreadable == (cut not in (0, *ends)) - (cut + 1 in ends)
        with JournalWriter(tmp_path) as again:
            again.append([record(3)])
        after = read_journal(tmp_path)
        assert after.unreadable == 0
        assert sorted(after.records) == [*(f"key{number}" for number in range(whole)), "key3"]


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"null\n", b"[1]\n", b"{}\n", b"\x00\x00\x00\n", b"\xff\n", b'{"key": "key0"}\n', b"3\n"],
)
def test_garbage_is_counted_and_skipped(tmp_path: Path, garbage: bytes) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append([record(0)])
    with open(journal.path, "ab") as file:
        file.write(garbage)
    with JournalWriter(tmp_path) as journal:
        journal.append([record(1)])
    found = read_journal(tmp_path)
    assert (sorted(found.records), found.unreadable) == (["key0", "key1"], 1)


def test_a_line_of_another_version_is_not_half_understood(tmp_path: Path) -> None:
    fields = record().to_json() | {"groups": ["human"]}
    (tmp_path / "worker-000.jsonl").write_text(json.dumps(fields) + "\n")
    assert read_journal(tmp_path).unreadable == 1


def test_an_answer_beats_an_error_and_the_first_answer_stands(tmp_path: Path) -> None:
    first, second = record(0, raw="first"), record(0, raw="second")
    with JournalWriter(tmp_path) as journal:
        journal.append([failed(0, "a"), failed(0, "b"), first, second, failed(0, "c"), failed(1, "a")])
        journal.append([failed(1, "b")])
    found = read_journal(tmp_path).records
    assert (found["key0"].raw, found["key1"].error) == ("first", "a")


@given(order=st.permutations(range(6)))
def test_which_process_wrote_what_does_not_matter(order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        with JournalWriter(Path(name)) as one, JournalWriter(Path(name)) as two:
            for place in order:
                (one if place % 2 else two).append([record(place // 2) if place > 2 else failed(place // 2)])
        found = read_journal(Path(name)).records
    assert {key: each.failed for key, each in found.items()} == {"key0": True, "key1": False, "key2": False}


def test_two_writers_have_files_of_their_own_and_a_file_is_taken_again(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as one, JournalWriter(tmp_path) as two:
        assert (one.path.name, two.path.name) == ("worker-000.jsonl", "worker-001.jsonl")
    with JournalWriter(tmp_path) as again:
        assert again.path.name == "worker-000.jsonl"


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from evalkit.store import JournalWriter\n"
        "journal = JournalWriter(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert done.returncode == -9
    with JournalWriter(tmp_path) as journal:
        assert journal.path.name == "worker-000.jsonl"


def test_processes_write_to_one_run_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from test_journal import record; from evalkit.store import JournalWriter\n"
        "with JournalWriter(Path(sys.argv[1])) as journal:\n"
        "    for number in range(20):\n"
        "        journal.append([record(20 * int(sys.argv[2]) + number)])\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    here = str(Path(__file__).parent)
    running = [subprocess.Popen([*words, str(number), here]) for number in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    found = read_journal(tmp_path)
    assert (len(found.records), found.unreadable) == (60, 0)


def test_an_answer_takes_sizes_from_meta_or_from_the_first_image() -> None:
    assert record().answer().image_size == (640, 480)
    assert record(meta={}).answer().image_size == IMAGE.size
    assert record().answer().input_size == IMAGE.input_size
    assert record(media=(VIDEO,), meta={}).answer().image_size is None
