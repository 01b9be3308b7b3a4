"""A bad row becomes an error that names it and says why; the other rows are what they were without it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mirrors_image
import mirrors_video
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mirrors import IMAGE, build_docvqa_mirror, build_mmmu_mirror, png, schema_for, write_parquet, write_split
from mirrors_grounding import build_screenspot_mirror
from mirrors_mvbench import build_mvbench_mirror

from evalkit.core.errors import EnvironmentProblem, ExitCode, UsageError
from evalkit.core.registry import load_task
from evalkit.core.types import MediaRef, Sample
from evalkit.data.hub import HubDataset
from evalkit.data.schemas import schemas
from evalkit.metrics.anls import Anls
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.relaxed import RelaxedAccuracy
from evalkit.task import Task, image, text

Row = dict[str, Any]
Build = Callable[[Path], Any]
BUILDERS: dict[str, Build] = {
    **mirrors_image.BUILDERS,
    **mirrors_image.HIDDEN,
    "chartqa": mirrors_image.build_chartqa_drawn_mirror,
    "docvqa_val": build_docvqa_mirror,
    "charades_sta": mirrors_video.build_charades_sta_mirror,
    "longvideobench": mirrors_video.build_longvideobench_mirror,
    "nextqa": mirrors_video.build_nextqa_mirror,
    "perceptiontest": mirrors_video.build_perceptiontest_mirror,
    "star_val": mirrors_video.build_star_mirror,
    "tempcompass": mirrors_video.build_tempcompass_mirror,
    "mlvu_dev": mirrors_video.build_mlvu_mirror,
    "lvbench": mirrors_video.build_lvbench_mirror,
    "egoschema_subset": mirrors_video.build_egoschema_mirror,
    "mvbench": build_mvbench_mirror,
    "screenspot": build_screenspot_mirror,
}


def spoilt(name: str, root: Path, change: Row, place: int = 0) -> tuple[list[Sample], list[Sample]]:
    """A mirror's samples with one row's cells changed, and without: the file is written by pyarrow."""
    BUILDERS[name](root)
    task = load_task(name)
    good = list(task.samples(str(root)))
    dataset = task.dataset
    assert isinstance(dataset, HubDataset)
    part = schemas()[dataset.repo].part(dataset.configs[0])
    config = dataset.configs[0] or part.configs[0]
    path = root / dataset.repo / part.files.format(config=config, split=dataset.split, shard="00000")
    rows = json.loads(path.read_text()) if path.suffix == ".json" else pq.read_table(path).to_pylist()
    rows[place] |= change
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
    return list(task.samples(str(root))), good


# task, cells, what the reason says
CASES: list[tuple[str, Row, str]] = [
    ("chartqa", {"answer": None}, "column `answer` is null"),
    ("chartqa", {"answer": "  "}, "column `answer` is an empty text"),
    ("chartqa", {"question": None}, "column `question` is null"),
    ("chartqa", {"type": None}, "column `type` is null"),
    ("chartqa", {"image": None}, "column `image` is null"),
    ("chartqa", {"image": {"bytes": None, "path": None}}, "neither bytes nor a path"),
    ("docvqa_val", {"answers": []}, "column `answers` is an empty list"),
    ("docvqa_val", {"answers": None}, "column `answers` is null"),
    ("docvqa_val", {"answers": ["4", None]}, "a list of text and null"),
    ("docvqa_val", {"answers": ["", " "]}, "an accepted answer is empty"),
    ("docvqa_val", {"questionId": None}, "column `questionId` is null"),
    ("docvqa_val", {"ucsf_document_id": None}, "column `ucsf_document_id` is null"),
    ("docvqa_test", {"questionId": "q-7"}, "takes whole numbers, not 'q-7'"),
    ("ocrbench", {"answer": ["x", ""]}, "an empty text in its list"),
    ("ai2d", {"answer": "7"}, "H is not among the options"),
    ("ai2d", {"answer": "-1"}, "an option's place is a whole number"),
    ("ai2d", {"answer": "1.5"}, "an option's place is a whole number"),
    ("ai2d", {"options": []}, "column `options` is an empty list"),
    ("ai2d", {"options": ["leaf", None]}, "a list of text and null"),
    ("ai2d", {"options": ["leaf", " "]}, "an empty text in its list"),
    ("mmstar", {"answer": "H"}, "H is not among the options"),
    ("mmstar", {"answer": "b"}, "must be an option's letter"),
    ("mmstar", {"l2_category": None}, "column `l2_category` is null"),
    ("mmbench_en_dev", {"answer": "E"}, "none of its 4 options has"),
    ("mmbench_en_dev", {"B": None}, "column `B` is null"),
    ("mmbench_en_dev", {"C": "nan"}, "an option is missing before others"),
    ("mmbench_en_dev", {"index": None}, "column `index` is null"),
    ("blink", {"answer": "(F)"}, "F is not among the options"),
    ("blink", {"image_1": None}, "column `image_1` is null"),
    ("pope", {"answer": "maybe"}, "must be yes or no"),
    ("hallusionbench", {"set_id": None}, "column `set_id` is null"),
    ("mathvista_testmini", {"answer": "85°"}, "is none of the choices"),
    ("mathvista_testmini", {"question_type": "essay"}, "must be multi_choice or free_form"),
    ("mathvista_testmini", {"metadata": None}, "column `metadata` is null"),
    ("seedbench_image", {"image": []}, "column `image` is an empty list"),
    ("seedbench_image", {"data_type": None}, "column `data_type` is null"),
    ("seedbench_image", {"question_type_id": 0}, "question type 0 is not about images"),
    ("seedbench_image", {"choice_b": None}, "column `choice_b` is null"),
    ("textvqa_val", {"answers": []}, "column `answers` is an empty list"),
    ("charades_sta", {"timestamp": [2.0]}, "must be [start, end]|not enough values"),
    ("charades_sta", {"timestamp": [float("nan"), 3.0]}, "list of null and number"),
    ("charades_sta", {"timestamp": [9.0, 3.0]}, "ends before it starts"),
    ("longvideobench", {"correct_choice": -1}, "at place -1"),
    ("longvideobench", {"option0": "N/A"}, "missing before others"),
    ("nextqa", {"a3": None}, "column `a3` is null"),
    ("nextqa", {"type": "XX"}, "KeyError: 'X'"),
    ("star_val", {"answer": "The lamp."}, "the answer is none of its candidates"),
    ("star_val", {"choices": [{"choice_id": n, "choice": None} for n in range(2)]}, "an option is None"),
    ("star_val", {"choices": [{"choice_id": 0, "choice": "a"}] * 2}, "the numbers of its choices are [0, 0]"),
    (
        "star_val",
        {"choices": [{"choice_id": n, "choice": "The lamp."} for n in range(2)], "answer": "The lamp."},
        "the answer is each of A, B",
    ),
    ("star_val", {"choices": []}, "column `choices` is an empty list"),
    ("star_val", {"start": float("nan")}, "column `start` is null"),
    ("tempcompass", {"answer": "dunking"}, "must begin with its letter"),
    ("tempcompass", {"answer": "C. passing"}, "is none of the lines of its question"),
    ("tempcompass", {"answer": "B. dunking"}, "is none of the lines of its question"),
    ("tempcompass", {"question": "What is he doing?"}, "is none of the lines of its question"),
    ("mlvu_dev", {"question": "What?\n(A) red\n(C) blue", "answer": "C"}, "its option (C) stands after (A)"),
    ("mlvu_dev", {"question": "What?\n(A) red\n(A) blue"}, "its option (A) stands after (A)"),
    ("mlvu_dev", {"answer": "pink"}, "the answer is none of its candidates"),
    ("mlvu_dev", {"question": "What?\n(A) red\n(B) red", "answer": "red"}, "the answer is each of A, B"),
    ("mlvu_dev", {"question": "What?\n(A) B\n(B) red", "answer": "B"}, "and another one's text"),
    ("mlvu_dev", {"question": "What?", "candidates": []}, "none of its candidates"),
    ("lvbench", {"question": "What year?"}, "no options can be read in its question"),
    ("lvbench", {"question": "What year?\n(A) 1636"}, "1 option can be read in its question"),
    ("lvbench", {"answer": "E"}, "E is not among the options"),
    ("mmstar", {"question": "What is shape 0?"}, "no options can be read in its question"),
    ("seedbench_image", {"answer": "E"}, "E is not among the options"),
    ("hallusionbench", {"gt_answer": "2"}, "must be"),
    ("egoschema_subset", {"answer": "5"}, "F is not among the options"),
    ("egoschema_subset", {"answer": None}, "column `answer` is null"),
    ("egoschema_subset", {"option": ["B. x", "A. y"]}, "the letters written before the options are B, A"),
    ("perceptiontest", {"answer_id": "3"}, "D is not among the options"),
    ("perceptiontest", {"options": []}, "column `options` is an empty list"),
    ("nextqa", {"answer": 5}, "F is not among the options"),
    ("mvbench", {"answer": "It flies."}, "the answer is none of its candidates"),
    ("mvbench", {"candidates": []}, "column `candidates` is an empty list"),
    ("screenspot", {"bbox": [12.0, 24.0, 48.0, 48.0]}, "is not in shares of the screenshot's size"),
]


@pytest.mark.parametrize(("name", "change", "said"), CASES)
def test_a_bad_cell_is_an_error_of_its_row(name: str, change: Row, said: str, tmp_path: Path) -> None:
    found, good = spoilt(name, tmp_path, change)
    bad = [each for each in found if each.problem]
    assert len(bad) == 1
    problem = str(bad[0].problem)
    assert any(each in problem for each in said.split("|")), problem
    repo = load_task(name).dataset.describe()["repo"]
    assert problem.startswith(f"row 0 of data set `{repo}`")
    assert bad[0].parts == ()
    assert bad[0].reference is None
    # MMBench's question is missing with all its rotations.
    others = [each for each in good if each.id in {sample.id for sample in found} - {bad[0].id}]
    assert [each for each in found if not each.problem] == others
    assert len(others) == len(good) - (4 if name.startswith("mmbench") else 1)


def test_a_repeated_id_is_the_later_row_s_error(tmp_path: Path) -> None:
    found, good = spoilt("docvqa_val", tmp_path, {"questionId": "49154"})
    assert [each.id for each in found] == ["49154", "49154 (row 1)", "49155"]
    assert "its id '49154' is that of row 0 too" in str(found[1].problem)
    assert [each.problem for each in (found[0], found[2])] == [None, None]
    assert len({each.id for each in found}) == len(good)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bbox": [1.0, 2.0, 3.0]}, "not enough values"),
        ({"bbox": [10.0, 10.0, 0.0, 5.0]}, "no area"),
        ({"bbox": [10.0, 10.0, -4.0, 5.0]}, "no area"),
        ({"bbox": [float("nan"), 1.0, 3.0, 4.0]}, "a list of null and number"),
        ({"bbox": [float("inf"), 1.0, 3.0, 4.0]}, "a list of infinity and number"),
        ({"answer": []}, "column `answer` is an empty list"),
        ({"answer": ["a dog", " "]}, "an empty text in its list"),
        ({"image": None}, "column `image` is null"),
    ],
)
def test_a_bad_object_is_one_error_for_all_its_expressions(change: Row, said: str, tmp_path: Path) -> None:
    rows = [
        {
            "question_id": str(number),
            "image": {"bytes": png(), "path": "a.png"},
            "question": "?",
            "answer": ["a dog", "the left dog"],
            "segmentation": [1.0],
            "bbox": [4.0, 4.0, 20.0, 20.0],
            "iscrowd": 0,
            "file_name": f"COCO_train2014_000000581857_{number}.jpg",
        }
        for number in range(3)
    ]
    rows[1] |= change
    write_split(tmp_path, "lmms-lab-encoder/RefCOCO", "testA", rows)
    found = list(load_task("refcoco_testA").samples(str(tmp_path)))
    bad = [each for each in found if each.problem]
    assert len(found) - len(bad) == 4
    assert all(said in str(each.problem) and "row 1 of" in str(each.problem) for each in bad)
    assert bad
    assert len({each.id for each in found}) == len(found)


def test_a_column_of_another_type_is_refused_with_both_named(tmp_path: Path) -> None:
    folder = tmp_path / "lmms-lab-encoder/ChartQA"
    rows = [
        {"type": "human_test", "question": "?", "answer": float(n), "image": {"bytes": png(), "path": None}}
        for n in range(2)
    ]
    schema = {
        "type": pa.string(),
        "question": pa.string(),
        "answer": pa.float64(),
        "image": IMAGE,
    }
    write_parquet(folder / "data/test-00000-of-00001.parquet", rows, schema)
    with pytest.raises(
        EnvironmentProblem, match="column `answer` holds a number; the task declares text"
    ) as caught:
        list(load_task("chartqa").samples(str(tmp_path)))
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("kind", "cell", "said"),
    [
        (pa.binary(), png(), "`image` holds raw bytes"),
        (pa.string(), base64.b64encode(png()).decode(), "`image` holds text"),
        (pa.list_(IMAGE), [{"bytes": png(), "path": None}], "`image` holds a list of image"),
    ],
)
def test_images_of_another_type_are_refused(kind: pa.DataType, cell: Any, said: str, tmp_path: Path) -> None:
    rows = [{"type": "human_test", "question": "?", "answer": "1", "image": cell} for _ in range(2)]
    schema = {"type": pa.string(), "question": pa.string(), "answer": pa.string(), "image": kind}
    write_parquet(tmp_path / "lmms-lab-encoder/ChartQA/data/test-00000-of-00001.parquet", rows, schema)
    with pytest.raises(EnvironmentProblem, match=f"{said}; the task declares an image"):
        list(load_task("chartqa").samples(str(tmp_path)))


def test_options_that_are_the_text_of_a_list_are_refused(tmp_path: Path) -> None:
    rows = [{**row, "options": str(row["options"])} for row in mirrors_image.build_ai2d_mirror(tmp_path)]
    schema = schema_for("lmms-lab-encoder/ai2d") | {"options": pa.string()}
    path = tmp_path / "lmms-lab-encoder/ai2d/data/test-00000-of-00001.parquet"
    write_parquet(path, rows, schema)
    with pytest.raises(EnvironmentProblem, match="`options` holds text; the task declares a list of text"):
        list(load_task("ai2d").samples(str(tmp_path)))


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        ("['$6', '$7'", "no list in Python's notation"),
        ("$6", "no list in Python's notation"),
        ("{'A': '$6'}", "no list of texts"),
        ("['$6', None]", "no list of texts"),
        ("[]", "without options"),
        ("['$6', '']", "an option is ''"),
    ],
)
def test_mmmu_s_options_must_be_a_list_in_source_text(stored: str, said: str, tmp_path: Path) -> None:
    build_mmmu_mirror(tmp_path, ("Art",))
    path = next((tmp_path / "MMMU/MMMU/Art").glob("*.parquet"))
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[1]["options"] = stored
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    task = load_task("mmmu_val")
    assert isinstance(task.dataset, HubDataset)
    found = list(replace(task, dataset=replace(task.dataset, config=("Art",))).samples(str(tmp_path)))
    assert [each.problem is None for each in found] == [True, False]
    assert said in str(found[1].problem)
    assert "config `Art`" in str(found[1].problem)


@pytest.mark.parametrize("empty", ["all", "one of two shards"])
def test_an_empty_split_is_named(empty: str, tmp_path: Path) -> None:
    rows = mirrors_image.build_chartqa_drawn_mirror(tmp_path)
    folder = tmp_path / "lmms-lab-encoder/ChartQA/data"
    (path,) = folder.glob("*.parquet")
    none = pq.read_table(path).slice(0, 0)
    if empty == "all":
        pq.write_table(none, path)
        with pytest.raises(EnvironmentProblem) as caught:
            list(load_task("chartqa").samples(str(tmp_path)))
        assert "lmms-lab-encoder/ChartQA" in caught.value.what
        assert "split `test`" in caught.value.what
        assert "empty" in caught.value.why
    else:
        pq.write_table(none, folder / "test-00000-of-00000.parquet")
        assert len(list(load_task("chartqa").samples(str(tmp_path)))) == len(rows)


def test_one_row_of_json_may_differ_and_a_whole_column_may_not(tmp_path: Path) -> None:
    folder = tmp_path / "me/odd"
    folder.mkdir(parents=True)
    lines = [
        {"q": "What?", "a": "x"},
        {"q": "Who?", "a": 1.5},
        {"q": None, "a": "y"},
        {"q": "Why?", "a": ["z"]},
    ]
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    from evalkit.core.columns import TEXT

    task = own(HubDataset("me/odd", columns={"q": TEXT, "a": TEXT}))
    found = list(task.samples(str(tmp_path)))
    assert [each.problem is None for each in found] == [True, False, False, False]
    assert "holds a number (1.5); the task declares text" in str(found[1].problem)
    assert "column `q` is null" in str(found[2].problem)
    assert "holds a list of text (['z'])" in str(found[3].problem)
    (folder / "test.jsonl").write_text("\n".join(json.dumps({**line, "a": [1, "b"]}) for line in lines))
    with pytest.raises(EnvironmentProblem, match="column `a` holds"):
        list(task.samples(str(tmp_path)))


@dataclass(frozen=True)
class Given:
    """A user's own data set."""

    given: tuple[Any, ...]

    def rows(self, data_root: str | None) -> Iterator[Any]:
        for row in self.given:
            if isinstance(row, Exception):
                raise row
            yield row

    def describe(self) -> dict[str, str]:
        return {"repo": "mine", "split": "test"}


def own(dataset: Any, **changes: Any) -> Task:
    """A task as a user writes it: without the kinds of its columns, and careless of nulls."""
    fields: dict[str, Any] = {
        "name": "mine",
        "category": "image",
        "title": "Mine",
        "dataset": dataset,
        "prompt": lambda row: (text(f"{row['q']}\nAnswer briefly."),),
        "reference": lambda row: row["a"],
        "metric": RelaxedAccuracy(),
        "max_new_tokens": 8,
        "id": lambda row: str(row.get("id", row["q"])),
        "cluster": lambda row: "c",
    }
    return Task(**{**fields, **changes})


GOOD = {"id": "good", "q": "Who?", "a": "you", "label": "l", "image": {"bytes": png(), "path": None}}
OWN: list[tuple[Any, dict[str, Any], str]] = [
    ({**GOOD, "q": None}, {}, "column `q` is null, and was written out as a word"),
    ({**GOOD, "q": float("nan")}, {}, "column `q` is null, and was written out as a word"),
    ({**GOOD, "id": None}, {}, "column `id` is null"),
    ({**GOOD, "id": None}, {"id": lambda row: row["id"]}, "it must be a text, not None"),
    ({**GOOD, "id": ""}, {"id": lambda row: row["id"]}, "it must be a text, not ''"),
    ({**GOOD, "a": 1.5}, {}, "must be a text or a list of texts, not 1.5"),
    ({**GOOD, "a": None}, {"reference": lambda row: str(row["a"])}, "column `a` is null"),
    ({**GOOD, "a": float("nan")}, {}, "JSON can't"),
    ({**GOOD, "a": b"you"}, {}, "JSON can't"),
    (
        {**GOOD, "label": None},
        {"groups": {"g": lambda row: row["label"]}},
        "a label is a text or several, not None",
    ),
    (
        {**GOOD, "label": 3},
        {"groups": {"g": lambda row: row["label"]}},
        "a label is a text or several, not 3",
    ),
    ({**GOOD, "label": [None]}, {"groups": {"g": lambda row: row["label"]}}, "not [None]"),
    ({**GOOD, "label": None}, {"groups": {"g": lambda row: str(row["label"])}}, "column `label` is null"),
    ({"q": "Who?"}, {}, "KeyError: 'a'"),
    (["Who?"], {}, "a row is a mapping of columns, not ['Who?']"),
    (None, {}, "a row is a mapping of columns, not None"),
    (
        {**GOOD, "q": "Who"},
        {"prompt": lambda row: (text("?"),) if row["q"] != "Who" else 1 / 0},
        "ZeroDivisionError",
    ),
    (
        {**GOOD, "q": "Who"},
        {"prompt": lambda row: exit(3) if row["q"] == "Who" else (text("?"),)},
        "SystemExit",
    ),
    ({**GOOD, "q": None}, {"prompt": lambda row: (text(row["q"]),)}, "a piece of text is None, not text"),
]


@pytest.mark.parametrize(("row", "changes", "said"), OWN)
def test_a_users_task_may_be_careless(row: Any, changes: dict[str, Any], said: str) -> None:
    task = own(Given((GOOD, row, {**GOOD, "id": "other"})), **changes)
    found = list(task.samples(None))
    assert [each.problem is None for each in found] == [True, False, True]
    assert said in str(found[1].problem)
    assert str(found[1].problem).startswith("row 1 of data set `mine`, split `test`: ")
    assert len({each.id for each in found}) == 3


PICTURES: list[tuple[Any, str]] = [
    (None, "not null (None)"),
    ([GOOD["image"]], "not list of image"),
    ([GOOD["image"], GOOD["image"]], "not list of image"),
    ([], "not list ([])"),
    (png(), "not raw bytes"),
    (base64.b64encode(png() * 2).decode(), "encoded text"),
    ("data:image/png;base64,iVBORw0KGgo=", "encoded text"),
    ({"bytes": None, "path": None}, "not null (None)"),
    ({"bytes": base64.b64encode(png()).decode(), "path": None}, "not bytes"),
    ({"url": "https://example.org/a.png"}, "not null (None)"),
    ("https://example.org/a.png", "a path of a local file"),
    (3, "not whole number (3)"),
    ("", "not text ('')"),
]


@pytest.mark.parametrize(("cell", "said"), PICTURES)
def test_an_image_is_bytes_in_a_mapping_or_a_path(cell: Any, said: str) -> None:
    prompt = lambda row: (image(row["image"]), text(row["q"]))  # noqa: E731
    task = own(Given((GOOD, {**GOOD, "id": "odd", "image": cell})), prompt=prompt)
    found = list(task.samples(None))
    assert found[0].problem is None
    assert said in str(found[1].problem)


def test_a_decoded_image_is_no_path(tmp_path: Path) -> None:
    from PIL import Image

    prompt = lambda row: (image(row["image"]), text(row["q"]))  # noqa: E731
    odd = {**GOOD, "id": "odd", "image": Image.new("RGB", (4, 4))}
    found = list(own(Given((GOOD, odd)), prompt=prompt).samples(None))
    assert "not Image" in str(found[1].problem)


def test_null_where_a_task_says_so_is_no_error() -> None:
    """A null that isn't shown, and a text that says None, are as they were."""
    rows = ({**GOOD, "q": "Is None of them red?", "hint": None}, {**GOOD, "id": "b", "hint": None})
    prompt = lambda row: (text(f"{row['hint'] or ''}{row['q']}"),)  # noqa: E731
    assert [each.problem for each in own(Given(rows), prompt=prompt).samples(None)] == [None, None]


def test_references_are_checked_by_their_metric() -> None:
    boxes = ([1, 2, 3], [5, 5, 5, 9], [9, 9, 1, 1], [0, 0, True, 4], "[0, 0, 4, 4]")
    for metric, right, wrong in (
        (BoxAccuracy(), [0, 0, 4, 4], boxes),
        (Anls(), ["a"], ([], [""], 3, [1], {"a": 1})),
        (MultipleChoice(), "B", ("b", "", 1, None, "BC", ["B"])),
    ):
        rows = ({**GOOD, "a": right}, *({**GOOD, "id": str(n), "a": each} for n, each in enumerate(wrong)))
        found = list(own(Given(rows), metric=metric).samples(None))
        assert [each.problem is None for each in found] == [True, *[False] * len(wrong)]


def test_the_same_everywhere_is_the_task_s_error_not_the_rows() -> None:
    with pytest.raises(EnvironmentProblem, match="none of its 2 rows can be asked") as caught:
        list(own(Given(({"q": "a"}, {"q": "b"}))).samples(None))
    assert "KeyError: 'a'" in caught.value.why


def test_a_data_set_that_fails_is_told_in_one_message() -> None:
    with pytest.raises(UsageError, match="its `rows` fails: RuntimeError: no luck"):
        list(own(Given((GOOD, RuntimeError("no luck")))).samples(None))


def test_bad_rows_don_t_change_what_a_limit_chooses(tmp_path: Path) -> None:
    from evalkit.data.cache import MediaCache
    from evalkit.data.selection import choose_samples, ci_subset

    rows = [{**GOOD, "id": f"s{number}", "label": "ab"[number % 2]} for number in range(20)]
    groups: Mapping[str, Any] = {"g": lambda row: row["label"]}
    spoilt_rows = [{**row, "a": None} if number == 7 else row for number, row in enumerate(rows)]
    ids = []
    for given in (rows, spoilt_rows):
        samples = list(own(Given(tuple(given)), groups=groups, id=lambda row: row["id"]).samples(None))
        ids.append(
            (
                [each.sample.id for each in choose_samples(samples, 9, MediaCache(tmp_path))],
                sorted(ci_subset(samples, 9)),
            )
        )
    assert ids[0] == ids[1]


def test_media_say_where_they_are_from(tmp_path: Path) -> None:
    found, _ = spoilt("chartqa", tmp_path, {})
    (ref,) = [part for part in found[1].parts if isinstance(part, MediaRef)]
    assert ref.source == "row 1 of data set `lmms-lab-encoder/ChartQA`, split `test`"
