"""Files as VLMEvalKit writes them: by pandas, with the engine and options of its `dump`.

Source: open-compass/VLMEvalKit, vlmeval/smp/file.py (`dump_xlsx`, `dump_tsv`, `load_xlsx`) and
vlmeval/inference.py (`infer_data_job`: the data set's columns without images, and `prediction`).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import example_task
import pandas as pd
import pytest

from evalkit.api import import_results
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.integrations.interchange.vlmevalkit import read

MC = """\
from evalkit.core.columns import OPTIONS, TEXT, WHOLE
from evalkit.metrics import letters
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Rows, Task, image, text

LETTERS = "ABCD"
task = Task(
    name="my_choices",
    category="image",
    title="My choices",
    dataset=Rows(
        "choices.jsonl",
        columns={"index": WHOLE, "question": TEXT, "options": OPTIONS, "answer": TEXT, "image": TEXT},
    ),
    prompt=lambda row: (image(row["image"]), text(row["question"])),
    reference=lambda row: row["answer"],
    id=lambda row: str(row["index"]),
    cluster=lambda row: row["image"],
    meta=lambda row: {"question": row["question"], "options": dict(zip(LETTERS, row["options"]))},
    metric=MultipleChoice(letters.mmstar),
    max_new_tokens=8,
)
"""


def dump(frame: pd.DataFrame, path: Path) -> Path:
    """As VLMEvalKit's `dump` does it."""
    if path.suffix == ".xlsx":
        options = {"options": {"strings_to_formulas": False}}
        with pd.ExcelWriter(path, engine="xlsxwriter", engine_kwargs=options) as writer:
            frame.to_excel(writer, index=False)
    elif path.suffix == ".json":
        path.write_text(json.dumps(frame.to_dict("records"), indent=4, ensure_ascii=False))
    else:
        frame.to_csv(path, sep="\t", index=False, encoding="utf-8", quoting=csv.QUOTE_ALL)
    return path


def predictions(answers: list[Any]) -> pd.DataFrame:
    """What `infer_data_job` has when it calls `dump`."""
    rows = example_task.rows()
    return pd.DataFrame(
        {
            "index": [row["id"] for row in rows],
            "question": [row["question"] for row in rows],
            "answer": [row["answer"] for row in rows],
            "category": ["charts"] * len(rows),
            "prediction": answers,
        }
    )


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_task.write(tmp_path_factory.mktemp("example_task"))


def imported(path: Path, tasks: Path, folder: Path, **options: Any) -> Any:
    where = {"output": folder / "run", "tasks_dirs": (str(tasks),)}
    return import_results(path, **({"task": example_task.NAME, "model": "m"} | options), **where)


def notes(found: Any) -> str:
    return "\n".join(found.results.evaluations[0].imported.notes)


@pytest.mark.parametrize("suffix", ["xlsx", "tsv", "json"])
def test_answers_come_in_verbatim(tmp_path: Path, tasks: Path, suffix: str) -> None:
    answers = [
        "42",
        'say "42"\nor\tnot',
        "=6*7",
        "+42",
        "@SUM(1)",
        "NA",
        "nan",
        "None",
        "TRUE",
        "012",
        "ä€😀",
        "9" * (200_000 if suffix == "tsv" else 9),
    ]
    path = dump(predictions(answers), tmp_path / f"model_data.{suffix}")
    found = imported(path, tasks, tmp_path)
    assert [record.raw for record in found.records] == answers
    assert (found.missing, found.failed) == (0, 0)
    assert run_cli(["score", str(path), "--task", example_task.NAME, "--tasks-dir", str(tasks)]) == 0


def test_what_a_round_through_pandas_does_to_numbers_is_undone_and_counted(
    tmp_path: Path, tasks: Path
) -> None:
    """VLMEvalKit loads its files with `pd.read_excel`, which makes numbers of answers, and dumps them."""
    answers = ["42", "110", "120", "42", "140", "150", "42", "170", "180", "42", "200", None]
    path = dump(predictions(answers), tmp_path / "a.xlsx")
    again = pd.read_excel(path)
    assert again["prediction"].dtype == float
    found = imported(dump(again, tmp_path / "b.xlsx"), tasks, tmp_path)
    assert [record.raw for record in found.records[:11]] == answers[:11]
    assert "11 answers that stand as numbers in the sheet are read as `12`, not `12.0`" in notes(found)
    assert (found.missing, found.failed) == (0, 1)
    assert str(found.records[11].error).startswith("its cell is empty")


def test_cells_that_are_no_text_are_errors_of_their_samples(tmp_path: Path, tasks: Path) -> None:
    answers: list[Any] = ["42"] * 12
    answers[1] = True
    answers[2] = pd.Timestamp("2026-05-12")
    answers[3] = 12345678901234567890.0
    answers[4] = "Failed to obtain answer via API."
    answers[5] = ""
    answers[6] = "x" * 32767
    found = imported(dump(predictions(answers), tmp_path / "a.xlsx"), tasks, tmp_path)
    errors = {record.sample_id: record.error for record in found.records if record.failed}
    assert list(errors) == ["q-1", "q-2", "q-3", "q-4", "q-5"]
    assert "a truth value" in str(errors["q-1"])
    assert "a date" in str(errors["q-2"])
    assert "more digits" in str(errors["q-3"])
    assert "VLMEvalKit got no answer" in str(errors["q-4"])
    assert "truncated" in found.records[6].flags


def test_a_list_of_records_is_read_by_its_types(tmp_path: Path, tasks: Path) -> None:
    answers: list[Any] = ["42"] * 12
    answers[1:4] = [float("nan"), {"prediction": "42"}, 42]
    found = imported(dump(predictions(answers), tmp_path / "a.json"), tasks, tmp_path)
    assert [record.sample_id for record in found.records if record.failed] == ["q-1", "q-2"]
    assert found.records[3].raw == "42"


def test_formulas_of_other_spreadsheets_are_the_text_that_was_typed(tmp_path: Path, tasks: Path) -> None:
    path = tmp_path / "a.xlsx"
    predictions(["=6*7", *["42"] * 11]).to_excel(path, index=False, engine="openpyxl")
    found = imported(path, tasks, tmp_path)
    assert found.records[0].raw == "=6*7"
    assert "1 answers that stand as formulas in the sheet are read as the text `=...`" in notes(found)


def test_judged_files_have_their_hits_compared(tmp_path: Path, tasks: Path) -> None:
    frame = predictions(["42"] * 12).assign(hit=[1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0], thinking="hm")
    found = imported(dump(frame, tmp_path / "a.xlsx"), tasks, tmp_path)
    assert "its own `hit` differs from our relaxed_accuracy in 1 of 12 answers" in notes(found)
    assert "reasoning was split off" in notes(found)


def choices(folder: Path) -> Path:
    from mirrors import png

    (folder / "a.png").write_bytes(png())
    options = [["cat", "dog"], ["red", "blue", "green"]]
    lines = [
        {
            "index": n,
            "question": f"What is shown at place {n}?",
            "options": options[n % 2],
            "answer": "AB"[n % 2],
        }
        for n in range(6)
    ]
    text = "".join(json.dumps({**each, "image": "a.png"}) + "\n" for each in lines)
    (folder / "choices.jsonl").write_text(text)
    (folder / "my_choices.py").write_text(MC)
    return folder


def test_options_in_another_order_are_no_match(tmp_path: Path) -> None:
    folder = choices(tmp_path)
    frame = pd.DataFrame([json.loads(line) for line in (folder / "choices.jsonl").read_text().splitlines()])
    letters = pd.DataFrame([dict(zip("ABC", each, strict=False)) for each in frame.pop("options")])
    frame = frame.drop(columns="image").join(letters).assign(prediction="A")
    frame.loc[1, ["A", "B"]] = ["blue", "red"]
    found = imported(dump(frame, tmp_path / "a.tsv"), folder, tmp_path, task="my_choices")
    assert found.missing == 1
    assert "its options are others than the data's, or in another order: `1`" in notes(found)
    assert [record.score.value for record in found.records] == [1.0, 1.0, 0.0, 1.0, 0.0]


def test_numbers_of_another_data_set_are_refused(tmp_path: Path) -> None:
    """Indices are small numbers everywhere; the questions tell."""
    folder = choices(tmp_path)
    frame = pd.DataFrame(
        {
            "index": range(6),
            "question": [f"How many birds are in picture {n}?" for n in range(6)],
            "prediction": "A",
        }
    )
    with pytest.raises(UsageError, match="its question is another than the data's"):
        imported(dump(frame, tmp_path / "a.xlsx"), folder, tmp_path, task="my_choices")
    with pytest.raises(UsageError, match="nothing but a number says so"):
        imported(
            dump(frame.drop(columns="question"), tmp_path / "b.xlsx"), folder, tmp_path, task="my_choices"
        )


def test_files_that_are_torn_or_not_predictions_are_refused(tmp_path: Path) -> None:
    whole = dump(predictions(["42"] * 12), tmp_path / "a.xlsx").read_bytes()
    table = dump(predictions(["42"] * 12), tmp_path / "a.tsv").read_bytes()
    cases = {
        "cut.json": (b'[{"index": 1, "prediction"', "can't be read as JSON"),
        "list.json": (b"[1, 2]", "no list of predictions"),
        "cut.xlsx": (whole[: len(whole) // 2], "no whole .xlsx file"),
        "text.xlsx": (b"index,prediction\n1,2\n", "no whole .xlsx file"),
        "empty.tsv": (b"", "it has no column `index`"),
        "cut.tsv": (table[:-20], "the record up to line 13 has 3 cells, its header 5"),
        "quote.tsv": (table[:-2], "line 13 is no record"),
        "latin.tsv": (
            table.replace(b"charts", "Diagramm\xe4".encode("latin-1"), 1),
            "line 2 is no UTF-8 text",
        ),
        "short.tsv": (b"index\tprediction\n1\n", "the record up to line 2 has 1 cells, its header 2"),
        "twice.tsv": (b"index\tprediction\tprediction\n1\ta\tb\n", "two columns `prediction`"),
        "data.tsv": (b"index\tquestion\n1\ta\n", "it has no column `prediction`"),
    }
    for name, (content, why) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError) as caught:
            read(tmp_path / name)
        assert why in str(caught.value), name
