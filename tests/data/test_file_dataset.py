"""Files of one's own: what is read of them, what is an error of a row, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mirrors import IMAGE as IMAGE_FEATURE
from mirrors import png, write_parquet

from evalkit import evaluate
from evalkit.cli import run_cli
from evalkit.core.columns import ANSWERS, IMAGE, IMAGES, NAME, NUMBER, OPTIONS, TEXT, WHOLE
from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.registry import load_task
from evalkit.core.types import MediaRef
from evalkit.data.rows import Rows

TASK = """\
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import Rows, Task, image, text

task = Task(
    name="mine",
    category="image",
    title="Mine",
    dataset=Rows({rows}),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: row["answer"],
    id=lambda row: row["id"],
    cluster=lambda row: row["id"],
    groups={{"kind": lambda row: row["kind"]}},
    metric=RelaxedAccuracy(),
    max_new_tokens=8,
    ci=2,
)
"""


def read(folder: Path, name: str, content: bytes | str, **options: Any) -> list[dict[str, Any]]:
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return [dict(row) for row in Rows(name, **options).declared_in(folder).rows(None)]


def refused(folder: Path, name: str, content: bytes | str, **options: Any) -> str:
    with pytest.raises(EnvironmentProblem) as caught:
        read(folder, name, content, **options)
    return str(caught.value)


def complaints(folder: Path, name: str, content: bytes | str, **options: Any) -> list[str | None]:
    data = Rows(name, **options).declared_in(folder)
    return [data.check(row) for row in read(folder, name, content, **options)]


def test_json_lines_that_cant_be_read_are_rows_that_say_so(tmp_path: Path) -> None:
    lines = [
        b'\xef\xbb\xbf{"id": 1, "answer": "a"}',
        b"",
        b'{"id": 2, "answer": ',
        b'{"id": 3, "answer": "\xe4"}',
        b'["id", 4]',
        b'{"id": 5, "answer": "a", "answer": "b"}',
        b'{"id": 6}',
        b'{"id": 7, "answer": NaN}',
        b'{"id": 8.5, "answer": "a"}',
        '{"id": 9, "answer": "ä\u2028b"}'.encode(),
        b"[" * 3000,
    ]
    columns = {"id": NAME, "answer": TEXT}
    found = complaints(tmp_path, "a.jsonl", b"\n".join(lines), columns=columns)
    assert found[0] is None
    assert str(found[1]).startswith("line 3 can't be read as JSON")
    assert found[2] == "line 4 is no utf-8 text: byte 21 can't be read"
    assert str(found[3]).startswith("line 5 is no object of columns")
    assert found[4] == "line 6 can't be read as JSON: it has 'answer' twice"
    assert found[5] == "column `answer` is absent"
    assert found[6] == "column `answer` is null; the task declares text"
    assert str(found[7]).startswith("column `id` holds a number (8.5)")
    assert found[8] is None
    assert str(found[9]).startswith("line 11 can't be read as JSON")
    rows = read(tmp_path, "a.jsonl", b"\r\n".join(lines), columns=columns)
    assert [row["row_number"] for row in rows] == list(range(10))
    assert rows[8]["answer"] == "ä\u2028b"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", "", "it has no rows"),
        ("a.jsonl", "\n\n", "it has no rows"),
        ("a.jsonl", '[\n{"id": 1}\n]', "it is a list, not a line for each row"),
        ("a.jsonl", '{\n"id": 1\n}', "none of its first 3 lines is a row"),
        ("a.jsonl", '{"id": 1}'.encode("utf-16"), "it is UTF-16 text"),
        ("a.jsonl", '{"name": 1}', "its rows have no `id`; they have `name`"),
        (
            "a.jsonl",
            '{"id": "x"}\n{"id": "y"}',
            "its column `id` holds text; the task declares a whole number",
        ),
        ("a.csv", "", "it has no rows"),
        ("a.csv", "id\n", "it has no rows"),
        ("a.csv", "id,id\n1,2\n", "its header has `id` twice"),
        ("a.csv", "id;name\n1;2\n", "its cells seem to be separated by ';'"),
        ("a.csv", "id\tname\n1\t2\n", r"its cells seem to be separated by '\t'"),
        ("a.csv", 'id,name\n1,"a\n2,b\n', "is no record"),
        ("a.csv", 'id,name\n1,"a" b\n2,b\n', "line 2 is no record"),
        ("a.csv", b"id,name\n1,\xe4\n", "line 2 is no utf-8 text (byte 0xe4)"),
        ("a.csv", "id,name\n1,2\n".encode("utf-16"), "it is UTF-16 text"),
        ("a.csv", "name\n1\n", "its rows have no `id`; they have `name`"),
        ("a.parquet", b"PAR1", "Parquet"),
        ("a.parquet", b"", "Parquet"),
    ],
)
def test_files_that_cant_be_told_into_rows_are_refused(
    tmp_path: Path, name: str, content: bytes | str, why: str
) -> None:
    assert why in refused(tmp_path, name, content, columns={"id": WHOLE})


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`.json` is not read. Did you mean `.jsonl`"):
        read(tmp_path, "a.json", "[]")
    with pytest.raises(EnvironmentProblem, match="No such file"):
        list(Rows("absent.csv").declared_in(tmp_path).rows(None))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(EnvironmentProblem, match="it is a folder"):
        list(Rows("folder.csv").declared_in(tmp_path).rows(None))
    with pytest.raises(EnvironmentProblem, match="its media folder"):
        read(tmp_path, "a.csv", "id\n1\n", media="absent")
    with pytest.raises(EnvironmentProblem, match="there is no encoding"):
        read(tmp_path, "a.csv", "id\n1\n", encoding="utf-9")


def test_cells_of_csv_are_text_unless_they_are_declared_otherwise(tmp_path: Path) -> None:
    columns = {
        "id": NAME,
        "n": WHOLE.or_null,
        "x": NUMBER,
        "options": OPTIONS,
        "note": TEXT.or_null,
        "image": IMAGE,
    }
    lines = [
        "\ufeffid,n,x,options,note,image,free",
        '007,12,0.5,"[""a"", ""b,c""]",NA,a.png,None',
        '008,,1e3,"[""a""]",,a.png,',
        '009,1_0,1,"[""a""]","two\r\nlines",a.png,x',
        '010,1,nan,"[""a""]",x,a.png,x',
        "011,1,1,a|b,x,a.png,x",
        "012,1,1",
        '013,1,1,"[""a""]",x,a.png,x,y',
        "",
    ]
    text = "\r\n".join(lines)
    rows = read(tmp_path, "a.csv", text, columns=columns)
    assert rows[0] == {
        "row_number": 0,
        "id": "007",
        "n": 12,
        "x": 0.5,
        "options": ["a", "b,c"],
        "note": "NA",
        "image": {"bytes": None, "path": "a.png"},
        "free": "None",
    }
    assert (rows[1]["n"], rows[1]["x"], rows[1]["note"], rows[1]["free"]) == (None, 1000.0, None, "")
    found = complaints(tmp_path, "a.csv", text, columns=columns)
    assert found[:2] == [None, None]
    assert found[2] == "line 5: column `n` is '1_0', no whole number"
    assert found[3] == "line 6: column `x` is 'nan', no number"
    assert "write it as JSON" in str(found[4])
    assert found[5] == "the record that ends in line 8 has 3 cells, its header 7"
    assert found[6] == "the record that ends in line 9 has 8 cells, its header 7"


def test_long_cells_and_other_encodings_and_tabs(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    long = "x" * 300_000
    assert read(tmp_path, "a.csv", f"id,text\n1,{long}\n")[0]["text"] == long
    assert csv.field_size_limit() == limit
    rows = read(tmp_path, "a.tsv", "id\tname\n1\tä,b\n".encode("cp1252"), encoding="cp1252")
    assert rows == [{"row_number": 0, "id": "1", "name": "ä,b"}]


def test_parquet_keeps_types_and_embedded_images(tmp_path: Path) -> None:
    picture = {"bytes": png(), "path": "a.png"}
    rows = [{"id": n, "answers": ["a", "b"], "image": picture} for n in range(600)]
    schema = {"id": pa.int64(), "answers": pa.list_(pa.string()), "image": IMAGE_FEATURE}
    write_parquet(tmp_path / "a.parquet", rows, schema)
    columns = {"id": WHOLE, "answers": ANSWERS, "image": IMAGE}
    data = Rows("a.parquet", columns=columns).declared_in(tmp_path)
    found = list(data.rows(None))
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert {data.check(row) for row in found} == {None}
    with pytest.raises(
        EnvironmentProblem, match="its column `id` holds a whole number; the task declares text"
    ):
        list(Rows("a.parquet", columns={"id": TEXT}).declared_in(tmp_path).rows(None))
    with pytest.raises(EnvironmentProblem, match="its rows have no `name`; they have `id`, "):
        list(Rows("a.parquet", columns=("name",)).declared_in(tmp_path).rows(None))
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EnvironmentProblem, match="Parquet"):
        list(data.rows(None))


def test_parquet_with_paths_of_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ["a.png"], "images": [["b.png", "c.png"]]}), tmp_path / "a.parquet")
    data = Rows("a.parquet", columns={"image": IMAGE, "images": IMAGES}).declared_in(tmp_path)
    (row,) = data.rows(None)
    assert row["image"] == {"bytes": None, "path": "a.png"}
    assert [each["path"] for each in row["images"]] == ["b.png", "c.png"]
    assert data.check(row) is None


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../a.png", "no path below the media folder"),
        ("b/../../a.png", "no path below the media folder"),
        ("/etc/hostname", "an absolute path"),
        ("~/a.png", "an absolute path"),
        ("C:\\a.png", "no path below the media folder"),
        ("none.png", "there is no file 'none.png' in the media folder `media`"),
        (".", "no path below the media folder"),
        ("b", "there is no file 'b'"),
        ("x" * 5000, "there is no file"),
    ],
)
def test_media_that_lead_elsewhere_are_errors_of_their_rows(tmp_path: Path, path: str, why: str) -> None:
    (tmp_path / "media/b").mkdir(parents=True)
    (tmp_path / "a.png").write_bytes(png())
    with pytest.raises(ValueError, match=r"path|there is") as caught:
        Rows("a.csv", media="media").declared_in(tmp_path).locate(MediaRef("image", path=path))
    assert why in str(caught.value)


def test_media_lie_below_their_folder_or_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "media/b").mkdir(parents=True)
    for place in ("media/b/a.png", "c.png"):
        (tmp_path / place).write_bytes(png())
    data = Rows("a.csv", media="media").declared_in(tmp_path)
    assert data.locate(MediaRef("image", path="b/a.png")).path == str(tmp_path / "media/b/a.png")
    assert data.locate(MediaRef("video", path="b", frame_rate=1.0)).path == str(tmp_path / "media/b")
    embedded = MediaRef("image", data=png())
    assert data.locate(embedded) == embedded
    beside = Rows("a.csv").declared_in(tmp_path).locate(MediaRef("image", path="c.png"))
    assert beside.path == str(tmp_path / "c.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = Rows("~/a.csv", media="~/media").declared_in(Path("/elsewhere"))
    assert at_home.locate(MediaRef("image", path="b/a.png")).path == str(tmp_path / "media/b/a.png")


def mine(folder: Path, lines: list[dict[str, Any]], rows: str = '"data/a.jsonl", media="pictures"') -> None:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "pictures").mkdir(exist_ok=True)
    (folder / "mine.py").write_text(TASK.format(rows=rows))
    (folder / "data/a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def line(number: int, **changed: Any) -> dict[str, Any]:
    kind = "odd" if number % 2 else "even"
    own = {"id": str(number), "question": f"Number {number}?", "answer": "7", "kind": kind, "image": "a.png"}
    return own | changed


def test_a_task_of_ones_own_in_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("EVALKIT_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "tasks"
    folder.mkdir()
    mine(
        folder, [line(number) for number in range(9)] + [line(9, image="../mine.py"), line(10, image="b.png")]
    )
    (folder / "pictures/a.png").write_bytes(png())
    (folder / "pictures/b.png").write_bytes(b"no picture")
    here = ["--tasks-dir", "tasks"]
    assert run_cli(["data", "check", "mine", *here]) == 1
    told = capsys.readouterr()
    assert "mine: 2 of 11 samples can't be asked" in told.out
    assert "row 9 of data set `data/a.jsonl`: its `prompt` can't be used: '../mine.py' is no path" in told.out
    assert "row 10 of data set `data/a.jsonl`" in told.out
    assert "data pull" not in told.err
    assert run_cli(["data", "pull", "mine", *here]) == 0
    assert "nothing to fetch" in capsys.readouterr().out
    assert not (tmp_path / ".evalkit-pull.lock").exists()
    assert run_cli(["tasks", "show", "mine", *here]) == 0
    assert "file data/a.jsonl, media pictures" in capsys.readouterr().out
    run = ["run", "--model", "mock:fixed=7", "--tasks", "mine", *here, "--workers", "0"]
    assert run_cli([*run, "--output", "whole"]) == 3
    assert "samples without a score: mine 2 of 11" in capsys.readouterr().out
    assert run_cli([*run, "--output", "few", "--limit", "3"]) in (0, 3)
    assert run_cli([*run, "--output", "ci", "--subset", "ci"]) in (0, 3)
    assert "n: mine 2" in capsys.readouterr().out
    assert run_cli(["score", "whole"]) == 3
    assert run_cli(["report", "whole", "-o", "page.html"]) == 0
    (folder / "data/a.jsonl").unlink()
    assert run_cli(["data", "check", "mine", *here]) == 4


def test_films_by_relative_path(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    mine(folder, [line(0, image="clips/a.mp4"), line(1, image="clips/b.mp4")])
    text = (folder / "mine.py").read_text().replace("image(", "video(").replace("Task, image", "Task, video")
    (folder / "mine.py").write_text(text.replace('category="image"', 'category="video"'))
    parts = next(load_task("mini_video").samples(None)).parts
    film = next(part for part in parts if isinstance(part, MediaRef))
    (folder / "pictures/clips").mkdir()
    shutil.copy(str(film.path), folder / "pictures/clips/a.mp4")
    found = evaluate("mock:fixed=7", "mine", output=tmp_path / "run", workers=0, tasks_dirs=[str(folder)])
    first, second = found.records
    assert (first.failed, first.media[0].kind, len(first.media[0].frames) > 0) == (False, "video", True)
    assert "there is no file 'clips/b.mp4'" in str(second.error)


def test_a_changed_file_or_picture_is_another_run(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    mine(folder, [line(0), line(1)])
    (folder / "pictures/a.png").write_bytes(png())

    def asked() -> tuple[list[str], list[str]]:
        found = evaluate("mock:fixed=7", "mine", output=tmp_path / "run", workers=0, tasks_dirs=[str(folder)])
        evaluations = found.run.manifest().evaluations
        return [record.key for record in found.records], [
            each.task.dataset["revision"] for each in evaluations
        ]

    first, revisions = asked()
    assert revisions[0].startswith("sha256:")
    # Nothing changed: nothing is asked again.
    assert asked() == (first, revisions)
    # Another answer in the file: that row is another question, and the file another revision.
    mine(folder, [line(0), line(1, answer="8")])
    second, revisions = asked()
    assert (second[0] == first[0], second[1] == first[1]) == (True, False)
    assert len(set(revisions)) == 2
    # Another picture under the same name.
    (folder / "pictures/a.png").write_bytes(png((1, 2, 3)))
    third, _ = asked()
    assert set(third).isdisjoint(second)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    rows = Rows("a.jsonl").declared_in(tmp_path).rows(None)
    next(rows)
    with open(tmp_path / "a.jsonl", "a") as file:
        file.write('{"id": 3}\n')
    with pytest.raises(EnvironmentProblem, match="changed while it was read"):
        list(rows)


def test_paths_count_from_the_task_file_wherever_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tasks"
    (folder / "deeper").mkdir(parents=True)
    mine(folder / "deeper", [line(0)])
    (folder / "deeper/pictures/a.png").write_bytes(png())
    monkeypatch.chdir(tmp_path)
    relative = load_task("mine", [os.path.relpath(folder)])
    monkeypatch.chdir(folder / "deeper/data")
    absolute = load_task("mine", [str(folder)])
    (sample,) = absolute.samples(None)
    assert sample.problem is None
    opened = absolute.open(None).dataset.describe()
    assert opened["revision"].startswith("sha256:")
    assert opened == relative.dataset.describe() | {"revision": opened["revision"]}


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n')
    opened = Rows("a.jsonl").declared_in(tmp_path).open(None)
    assert [row["id"] for row in opened.rows(None)] == [1]
    (tmp_path / "a.jsonl").write_text('{"id": 2}\n')
    with pytest.raises(EnvironmentProblem, match="changed since it was opened"):
        list(opened.rows(None))
