"""Records by column: what is read back is what its line is, whatever has become of the view."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from test_journal import record
from test_rundir import complaint, run_in

from evalkit.core.types import MediaInfo
from evalkit.metrics.base import Score
from evalkit.report.comparability import _difference
from evalkit.report.comparison import Arm
from evalkit.report.results import open_run
from evalkit.scoring.finalize import rescore
from evalkit.store import Record, RunDir
from evalkit.store.page_rows import answer_rows, question_rows
from evalkit.store.records_table import ScoreRow, StoredRecords, filtered, sample_ids, score_rows
from tools.bench.made_runs import generate_run

FILM = MediaInfo("video", "cd", (64, 48), (64, 48), 90, (0, 5), (0.0, 2.5))
ARM = Arm("tiny@mrope", "tiny", "mrope", "mock", "f", "run")


def varied() -> list[Record]:
    """Every kind of value that a record may hold."""
    film = (FILM, replace(FILM, digest="ab"))
    link = {"links": {"of": "x"}, "options": {"A": "é"}}
    whole = Score(1.0, ["a", 2], None, {"iou": 0.5}, "whole")
    return [
        record(0, raw="\ud800ü", score=whole, flags=("truncated",)),
        record(1, score=None, reference={"box": [1, 2.5, None]}, groups={"kind": ("a", "b"), "size": None}),
        record(2, score=Score(None), finish_reason="error", error="no\x00file", flags=("error",), final=None),
        record(3, score=Score(0.0, None, "no letter"), margin=math.inf, media=film),
        record(4, score=Score(0.5, "\udfff"), meta=link, groups={"k": "v"}),
        record(5, score=Score(0.1 + 0.2), token_ids=(1, 2, 3), seconds={"prepare": 0.1}, final=""),
    ]


def stored(folder: Path, records: list[Record]) -> RunDir:
    run = run_in(folder)
    run.write_records(records)
    return run


def test_a_page_reads_the_same_by_column(tmp_path: Path) -> None:
    records = [*varied(), record(6, score=Score(1.0, [1, 2, 3, 4]), reasoning="so")]
    records.append(replace(records[-1], key="no box", box_space=None))
    run = stored(tmp_path, records)
    by_line, by_column = run.records(), StoredRecords(run.table(), range(len(records)))
    for places in (range(len(records)), [5, 0, 3], []):
        assert answer_rows(by_column, places) == answer_rows(by_line, places)
        asked = [question_rows(each, places) for each in (by_column, by_line)]
        texts = [json.dumps([asdict(row) for row in rows]) for rows in asked]
        assert texts[0] == texts[1]
    assert [row.box for row in answer_rows(by_column, [6, 7])] == [[1, 2, 3, 4], None]


def test_long_answers_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    records = [record(place, key=str(place), raw="x" * 2**22) for place in range(5)]
    run = stored(tmp_path, [*records, *(record(9, key=f"short {place}") for place in range(2100))])
    table = run.table()
    assert [table.group_of(row) for row in (0, 1, 2, 3, 4, 2051, 2052)] == [0, 0, 1, 1, 2, 2, 3]
    assert [table.record(row).key for row in (4, 2104, 0)] == ["4", "short 2099", "0"]
    rows = StoredRecords(table, range(2105))
    assert [len(each.text) for each in answer_rows(rows, [3, 4, 5])] == [2**22, 2**22, len(record(9).raw)]


def test_the_figures_of_whole_files_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ci = generate_run(tmp_path / "run", 60, "made", ["refcoco_val", "blink", "mmmu_val"], ["mrope"])
    rescore(ci)
    found = open_run(ci)
    table = found.comparison().to_json()
    assert {"qwen_vl_acc@0.5", "exact_acc", "official_acc"} <= {
        name for cell in table["arms"][0]["tasks"].values() for name in cell["figures"]
    }
    assert replace(found, figures={}).comparison().to_json() == table
    computed: list[object] = []
    monkeypatch.setattr("evalkit.report.aggregate.filtered", lambda *words: computed.append(words) or ())
    assert open_run(ci).comparison().to_json() == table
    assert not computed
    fewer = {each: list(own)[:5] for each, own in found.records.items()}
    replace(found, records=fewer).comparison()
    assert len(computed) == 3
    seeded = found.manifest.scoring.model_copy(update={"official_random": 7})
    replace(found, manifest=found.manifest.with_scoring(seeded)).comparison()
    assert len(computed) == 6


def test_every_kind_of_value_is_read_back(tmp_path: Path) -> None:
    records = varied()
    run = stored(tmp_path, records)
    by_line = run.records()
    assert by_line == [*records[:3], replace(records[3], margin=None), *records[4:]]  # no infinity in JSON
    table = run.table()
    places = list(range(len(records)))
    assert list(StoredRecords(table, places)) == by_line
    assert [StoredRecords(table, places)[place] for place in reversed(places)] == by_line[::-1]
    assert list(StoredRecords(table, places)[2:4]) == by_line[2:4]
    assert list(filtered(StoredRecords(table, places), [place % 2 == 0 for place in places])) == by_line[::2]
    for order in (places, places[::-1], [4, 1]):
        assert score_rows(StoredRecords(table, order)) == [ScoreRow.of(by_line[place]) for place in order]
        assert sample_ids(StoredRecords(table, order)) == [by_line[place].sample_id for place in order]
    assert score_rows([]) == score_rows(StoredRecords(table, [])) == []
    assert score_rows(StoredRecords(table, [3]))[0].video_seconds == 2.5


def test_more_records_than_are_decoded_together(tmp_path: Path) -> None:
    records = [record(number % 8, sample_id=str(number), key=f"key{number}") for number in range(4500)]
    run = stored(tmp_path, records)
    table = run.table()
    assert list(StoredRecords(table, range(4500))) == run.records()
    assert sample_ids(StoredRecords(table, [4499, 0, 2048])) == ["4499", "0", "2048"]
    assert StoredRecords(table, [4499, 0, 2048])[2].sample_id == "2048"


def test_the_digests_are_those_of_the_files(tmp_path: Path) -> None:
    run = stored(tmp_path, varied())
    said = dict(reversed(line.split("  ")) for line in (run.path / "records.sha256").read_text().splitlines())
    for name in ("records.jsonl", "records.parquet"):
        assert said[name] == hashlib.sha256((run.path / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["records.parquet", "records.sha256"])
@pytest.mark.parametrize("harm", ["lost", "empty", "half", "other", "folder"])
def test_lost_or_damaged_columns_are_made_of_the_lines(tmp_path: Path, name: str, harm: str) -> None:
    run = stored(tmp_path, varied())
    path = run.path / name
    content = path.read_bytes()
    path.unlink()
    if harm == "folder":
        path.mkdir()
    elif harm != "lost":
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "other": content[::-1]}[harm])
    assert list(StoredRecords(run.table(), range(6))) == run.records()


def test_columns_of_other_lines_are_not_read(tmp_path: Path) -> None:
    """What a kill between the views leaves, and what an edit does."""
    run = stored(tmp_path, varied())
    old = {name: (run.path / name).read_bytes() for name in ("records.parquet", "records.sha256")}
    changed = [replace(each, raw="another") for each in varied()]
    run.write_records(changed)
    for name in old:
        (run.path / name).write_bytes(old[name])
        assert [each.raw for each in StoredRecords(run.table(), range(6))] == ["another"] * 6
    run.write_records(changed)
    lines = (run.path / "records.jsonl").read_text(errors="surrogatepass").splitlines()
    edited = json.dumps({**_uncounted(lines[1]), "raw": "edited"})
    (run.path / "records.jsonl").write_text(edited + "\n")
    assert [each.raw for each in StoredRecords(run.table(), [0])] == ["edited"]
    (run.path / "records.jsonl").write_text("{}\n")
    assert "records.jsonl` is damaged" in complaint(run.table)
    (run.path / "records.jsonl").unlink()
    assert "no records yet" in complaint(run.table)


def test_columns_of_another_version_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("evalkit.store.records_table.FORMAT", b"0")
        run = stored(tmp_path, varied())
    assert run.table().current
    assert list(StoredRecords(run.table(), range(6))) == run.records()


def test_a_number_that_no_column_holds_is_a_message(tmp_path: Path) -> None:
    run = stored(tmp_path, varied())
    (run.path / "records.jsonl").write_text(json.dumps({**record(0).to_json(), "index": 10**30}) + "\n")
    assert "has more than 64 bits" in complaint(run.table)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"reference": "other"}, "sample `3` has different references"),
        ({"media": (FILM,)}, "sample `3` was shown with different media"),
        ({"prompt": "other"}, "sample `3` was asked with different prompts"),
        ({"media": (), "finish_reason": "error"}, None),  # of a failed one nothing is known
        ({"sample_id": "x"}, "2 samples are in one of them only, such as `3`"),
    ],
)
def test_arms_are_compared_by_digests_as_by_records(
    tmp_path: Path, change: dict[str, Any], says: str | None
) -> None:
    one = [record(number) for number in range(8)]
    two = [replace(each, **change) if number == 3 else each for number, each in enumerate(one)]
    rows = [
        StoredRecords(stored(tmp_path / str(n), part).table(), range(8)) for n, part in enumerate((one, two))
    ]
    for first, second in ((one, two), (rows[0], rows[1]), (rows[0], rows[1][::-1])):
        found = _difference(first, second, ARM, ARM)
        assert (found is None) if says is None else (found or "").startswith(says)


def test_results_are_read_by_column(tmp_path: Path) -> None:
    records = [record(number, score=Score(float(number % 2))) for number in (3, 1, 2)]
    run = stored(tmp_path, records)
    found = open_run(run)
    assert [each.sample_id for each in found.flat()] == ["1", "2", "3"]  # in the plan's order
    assert found.missing == 5


def _uncounted(line: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(line)
    del fields["crc32"]
    return fields
