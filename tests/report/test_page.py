"""The report page: what is in it, that it is self-contained, and that hostile text stays text."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from report_page import unpack_json
from test_comparison import ARMS, column, make_cell, record

from evalkit.core.types import MediaInfo
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Score
from evalkit.report.comparison import Comparison
from evalkit.report.curves import _bins
from evalkit.report.differences import with_differences
from evalkit.report.page import report_page, table_page
from evalkit.report.samples import PIECE, PageSamples
from evalkit.store import Record
from evalkit.store.records_table import RecordsTable, StoredRecords, write_columns

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u2028'\"`${x}"
FILM = MediaInfo("video", "cd", (64, 48), (64, 48), 90, (0, 5), (0.0, 2.5))


def made(count: int = 6, text: str = HOSTILE) -> tuple[Comparison, dict[str, dict[str, list[Record]]]]:
    records = {
        arm.name: {
            "doc": [
                record(
                    n,
                    float((n + place) % 2),
                    arm=arm.name,
                    raw=f"{text} {n}",
                    meta={"question": text},
                    groups={"type": text},
                    reference=text,
                    visual_tokens=10 * (n % 3 + 1),
                    media=(replace(FILM, timestamps=(0.0, float(n % 4))),),
                )
                for n in range(count)
            ]
        }
        for place, arm in enumerate(ARMS)
    }
    cells = {
        arm: {"doc": make_cell(arm, column(), tasks["doc"], count, Anls())} for arm, tasks in records.items()
    }
    plain = Comparison(ARMS, [column()], cells)
    return with_differences(plain, records, lambda arm, task: Anls(), "mrope"), records


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    parsed: dict[str, Any] = json.loads(found)
    return parsed


def samples_of(page: str) -> list[dict[str, Any]]:
    return [
        each
        for task in data_of(page)["tasks"]
        for piece in task["pieces"]
        for each in unpack_json(piece)["samples"]
    ]


def test_everything_is_in_the_page() -> None:
    comparison, records = made()
    page = report_page(comparison, records, {("doc", "0"): "data:image/jpeg;base64,AAAA"}, "Runs")
    data = data_of(page)
    assert data["arms"] == ["tiny@mrope", "tiny@mrope-i"]
    assert [line["label"] for line in data["lines"]] == ["doc"]
    (group,) = data["differences"]
    assert group["panels"][0]["rows"][0]["arm"] == 1
    assert [(task["name"], task["size"]) for task in data["tasks"]] == [("doc", 6)]
    assert len(samples_of(page)) == 6
    first = samples_of(page)[0]
    assert (first["question"], first["reference"], first["labels"]) == (
        HOSTILE,
        HOSTILE,
        [HOSTILE],
    )
    assert [answer[1] for answer in first["answers"]] == [0.0, 1.0]
    assert data["thumbs"] == ["data:image/jpeg;base64,AAAA"]
    assert (first["thumb"], samples_of(page)[1]["thumb"]) == (0, None)
    assert data["breakdowns"][0]["rows"][0]["n"] == 6
    assert data["sizes"][0]["curves"][0]["points"]
    assert data["lengths"][0]["curves"]
    assert data["rates"] == {"heads": ["share of answers"], "rows": []}


def test_hostile_text_is_data_and_nothing_is_fetched() -> None:
    comparison, records = made()
    page = report_page(comparison, records, {}, HOSTILE)
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "<img" not in page.replace("<img>", "")
    assert "default-src 'none'" in page
    outside = re.findall(r"(?:src|href)=[\"']?(?!data:)(\w+:)?//", page)
    assert outside == []
    assert "&lt;/script&gt;" in page  # in the title


def test_very_long_text_is_cut_and_says_so() -> None:
    comparison, records = made(2, "long " * 10_000)
    answer = samples_of(report_page(comparison, records, {}, "t"))[0]["answers"][0][0]
    assert len(answer) < 4100
    assert answer.endswith("more characters)")


def test_a_thousand_samples_stay_small() -> None:
    comparison, records = made(1000, "short")
    assert len(report_page(comparison, records, {}, "t")) < 80_000


@pytest.mark.parametrize("count", [1, 5, 60])
def test_bins_keep_samples_of_one_size_together(count: int) -> None:
    points = sorted((float(n % 4), float(n % 2), str(n)) for n in range(count))
    found = list(_bins(points))
    assert [each for part in found for each in part] == points
    sizes = [{size for size, *_ in part} for part in found]
    assert len(found) <= 6
    assert sum(map(len, sizes)) == len(set.union(*sizes))


def test_boxes_are_kept_for_drawing() -> None:
    comparison, records = made(1)
    boxed = replace(records["tiny@mrope"]["doc"][0], reference=[1, 2, 30, 40], box_space="abs",
                    score=Score(1.0, [1.5, 2.0, 30.0, 40.0]))  # fmt: skip
    records["tiny@mrope"]["doc"] = [boxed]
    sample = samples_of(report_page(comparison, records, {}, "t"))[0]
    assert sample["box"] == [1, 2, 30, 40]
    assert sample["answers"][0][3] == [1.5, 2.0, 30.0, 40.0]
    assert sample["size"] == [64, 48]


def test_an_index_says_what_to_show_without_the_texts() -> None:
    comparison, records = made(2 * PIECE + 1, "short")
    other = records["tiny@mrope-i"]["doc"]
    other[0] = replace(other[0], raw="another", flags=("unparsed", "truncated"))
    del other[1]
    (task,) = data_of(report_page(comparison, records, {}, "t"))["tasks"]
    index = unpack_json(task["index"])
    assert [len(unpack_json(piece)["samples"]) for piece in task["pieces"]] == [PIECE, PIECE, 1]
    assert index["values"][:3] == [[0.0, 1.0], [1.0, None], [0.0, 1.0]]
    assert [first == second for first, second in index["same"][:3]] == [False, False, True]
    assert [index["flags"][number] for number in index["flagged"][0]] == ["", "unparsed truncated"]
    assert index["flagged"][1][1] == -1
    assert [index["names"][number] for number in index["labels"][0]] == ["short"]
    assert unpack_json(task["pieces"][0])["samples"][1]["answers"][1] is None


def test_arms_of_one_run_are_not_read_again_for_every_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [record(n % 7, 1.0, sample_id=str(n % 2250), key=str(n)) for n in range(4500)]
    with open(tmp_path / "columns", "w+b") as file:
        write_columns(records, file)
        table, reads = RecordsTable(file), []
        read = pq.ParquetFile.read_row_group
        monkeypatch.setattr(
            pq.ParquetFile, "read_row_group", lambda *words, **more: reads.append(1) or read(*words, **more)
        )
        sides = [StoredRecords(table, range(2250)), StoredRecords(table, range(2250, 4500))]
        samples = PageSamples({})
        samples.add("doc", sides, [side.score_rows() for side in sides])
    assert [task["size"] for task in samples.data()["tasks"]] == [2250]
    assert len(reads) <= 12


def test_the_policy_allows_the_style_and_script_that_are_in_the_page_and_no_other() -> None:
    comparison, records = made(1)
    for page in (report_page(comparison, records, {}, "t"), table_page("t", ("a", "b"), [], [], [HOSTILE])):
        for kind, tag in (("style", "style"), ("script", "script")):
            (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
            digest = b64encode(sha256(content.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}';" in page


def test_a_lone_surrogate_leaves_a_page_that_can_be_written() -> None:
    comparison, records = made(1)
    page = report_page(comparison, records, {}, "t\ud800")
    assert "<title>t\\ud800</title>" in page
    page.encode("utf-8")
