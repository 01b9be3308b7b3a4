"""The journal survives being killed at any byte, and gives the same answer whoever wrote what."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.core.errors import RunGone
from evalkit.core.types import MediaInfo
from evalkit.metrics.base import Score
from evalkit.store import JournalWriter, Record, read_journal

IMAGE = MediaInfo("image", "ab12", (640, 480), (644, 476), 391)
VIDEO = MediaInfo("video", "cd34", (320, 240), (308, 252), 99, (0, 15, 30), (0.0, 0.5, 1.0))
MEDIUM = {"kind": "image", "digest": "ab", "size": [6, 4], "input_size": [6, 4], "tokens": 3}


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


@given(raw=st.text(), reference=st.text() | st.lists(st.floats(allow_nan=False, allow_infinity=False)))
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
        assert after.records == {**found.records, "key3": record(3)}


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
    assert found.damaged[0].startswith(f"{tmp_path.name}/worker-000.jsonl line 2: ")


def test_a_changed_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append([record(0), record(1), record(2)])
    content = journal.path.read_bytes()
    begin = content.index(b"\n") + 1
    end = content.index(b"\n", begin)
    for place in range(begin, end):
        for bit in (0, 3, 5, 7):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            journal.path.write_bytes(changed)
            found = read_journal(tmp_path)
            assert sorted(found.records) == ["key0", "key2"], (place, bit)
            assert "worker-000.jsonl line 2: " in found.damaged[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"reference": "deep"},
        {"meta": {"options": 5}},
        {"meta": {"links": ["a"]}},
        {"meta": {"image_size": 5}},
        {"groups": {"a": {"b": 1}}},
        {"groups": 3},
        {"key": None},
        {"token_ids": "abc"},
        {"seconds": {"a": []}},
        {"finish_reason": "never"},
        {"extra": 1},
        {"index": 2**63},
        {"prompt_tokens": -(2**63) - 1},
        {"visual_tokens": 10**400},
        {"token_ids": [1, 2**64]},
        {"seconds": {"prepare": float("inf")}},
        {"media": [MEDIUM | {"tokens": 2**63}]},
        {"media": [MEDIUM | {"size": [1, 2**63]}]},
        {"media": [MEDIUM | {"frames": [2**63]}]},
        {"media": [MEDIUM | {"timestamps": [float("nan")]}]},
    ],
)
@pytest.mark.parametrize("summed", [True, False])
def test_what_would_break_a_command_later_is_no_record(
    tmp_path: Path, fields: dict[str, object], summed: bool
) -> None:
    body = json.dumps(record(0).to_json() | fields).encode().replace(b'"deep"', b"[" * 300 + b"]" * 300)
    line = b'{"crc32": "%08x", %s\n' % (zlib.crc32(body), body[1:]) if summed else body + b"\n"
    (tmp_path / "worker-000.jsonl").write_bytes(line)
    assert read_journal(tmp_path).unreadable == 1


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), -0.0, 1e308, 5e-324])
def test_numbers_at_the_edge_are_kept(tmp_path: Path, number: float) -> None:
    kept = replace(record(0), reference=[number], meta={"x": {"y": number}}, margin=float(number))
    with JournalWriter(tmp_path) as journal:
        journal.append([kept])
    assert str(read_journal(tmp_path).records["key0"]) == str(kept)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_written_is_standard_json(tmp_path: Path, number: float) -> None:
    odd = replace(record(0), reference=[number], meta={"x": number}, groups={"g": number}, margin=number)
    with JournalWriter(tmp_path) as journal:
        journal.append([odd])
    json.loads(journal.path.read_text(), parse_constant=pytest.fail)
    found = read_journal(tmp_path).records["key0"]
    assert (found.reference, found.meta, found.groups) == ([None], {"x": None}, {"g": None})
    # An earlier version wrote such numbers as they are: they are read as the same.
    body = json.dumps(odd.to_json()).encode()
    journal.path.write_bytes(b'{"crc32": "%08x", %s\n' % (zlib.crc32(body), body[1:]))
    assert read_journal(tmp_path).records["key0"] == found


def test_a_full_disk_leaves_whole_lines_and_what_comes_later_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with JournalWriter(tmp_path) as journal:
        journal.append([record(0)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="worker-000") as caught:
                journal.append([record(1)])
        assert caught.value.errno == errno.ENOSPC
        journal.append([record(2)])
    found = read_journal(tmp_path)
    assert (sorted(found.records), found.unreadable) == (["key0", "key2"], 0)


def test_a_folder_that_is_renamed_is_told_with_where_the_answers_are(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "run/journal")
    journal.append([record(0)])
    (tmp_path / "run").rename(tmp_path / "other")
    with pytest.raises(RunGone, match="renamed") as caught:
        journal.append([record(1)])
    journal.close()
    assert str(tmp_path / "other/journal/worker-000.jsonl") in caught.value.why
    assert sorted(read_journal(tmp_path / "other/journal").records) == ["key0", "key1"]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("at_end", [False, True])
def test_answers_of_a_folder_that_is_removed_are_saved_beside(
    tmp_path: Path, again: bool, at_end: bool
) -> None:
    """``again``: another process begins one of that name."""
    folder = tmp_path / "run/journal"
    journal = JournalWriter(folder)
    journal.append([record(0)])
    with pytest.raises(RunGone, match="removed") as caught, journal:  # noqa: PT012 - so is its end
        shutil.rmtree(tmp_path / "run")
        if again:
            JournalWriter(folder).close()
        if not at_end:
            journal.append([record(1)])
    (saved,) = tmp_path.glob("run.answers-*.jsonl")
    assert str(saved) in caught.value.why
    subprocess.run(caught.value.fix.partition(";")[0], shell=True, check=True)
    assert sorted(read_journal(folder).records) == ["key0", "key1"][: 2 - at_end]


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
