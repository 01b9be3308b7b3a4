"""What the tasks rely on, against the table of what their repositories hold (evalkit/data/schemas.yaml)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mirrors
import pyarrow.parquet as pq
import pytest
from mirrors import arrow_type, schema_for
from mirrors_all import build_all

from evalkit.cli.schema_card import schema_card
from evalkit.core.columns import OPTIONS, TEXT, type_mismatches
from evalkit.core.registry import declared, load_task
from evalkit.data.hub import HubDataset
from evalkit.data.schemas import schema_of, schemas
from evalkit.task import Task

NAMES = [info.name for info in declared() if not info.name.startswith(("mini_", "probe_"))]
# Their samples are not the rows: expressions of an object, some of the rows, rotations.
OTHERWISE = re.compile("refcoco|seedbench_image|mmbench_.*_test")
# Columns of two of MVBench's twenty tasks, which a row may lack.
OPTIONAL = {"start", "end"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of every repository, as the table says that they are."""
    return build_all(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("clips"))


def hub(task: Task) -> HubDataset:
    assert isinstance(task.dataset, HubDataset)
    return task.dataset


def kind_of(kind: str) -> str:
    """A type of the table as `evalkit.core.columns` names kinds."""
    if kind.startswith("list<"):
        return f"list of {kind_of(kind[5:-1])}"
    if kind.startswith("struct<"):
        return "record"
    if kind.startswith("int"):
        return "whole number"
    return {"string": "text", "float16": "number", "float32": "number", "float64": "number"}.get(kind, kind)


class Watched(dict[str, Any]):
    """A row that remembers which of its columns were read."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        super().__init__(row)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def read_by(task: Task, row: Mapping[str, Any]) -> set[str]:
    """The columns that a task's functions ask a row for, there or not; not those that `expand` adds."""
    stored = Watched(row)
    read: set[str] = set()
    for each in list(task.expand(stored)) if task.expand else [row]:
        seen = Watched(each)
        calls = (task.prompt, task.reference, task.id, task.cluster, task.meta, task.unit)
        for call in (*calls, *task.groups.values(), *task.links.values()):
            if call:
                call(seen)
        read |= seen.read - (each.keys() - row.keys())
    return read | stored.read


@pytest.mark.parametrize("name", NAMES)
def test_what_a_task_declares_is_in_the_table(name: str) -> None:
    task = load_task(name)
    dataset = hub(task)
    known = schema_of(dataset.repo)
    assert known is not None
    assert dataset.aliases == known.aliases
    counts = []
    for config in dataset.configs:
        part = known.part(config)
        assert part.split(dataset.split), f"no split {dataset.split}"
        assert set(dataset.columns) <= set(part.types)
        assert (
            type_mismatches(dataset.kinds, {column: kind_of(kind) for column, kind in part.types.items()})
            == []
        )
        counts.append(part.rows(dataset.split, [config] if config else []))
    if not OTHERWISE.match(name):
        assert task.size == sum(count or 0 for count in counts)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_reads_no_column_that_the_table_lacks(name: str, data: Path) -> None:
    task = load_task(name)
    dataset = hub(task)
    known = schema_of(dataset.repo)
    assert known is not None
    for row in dataset.rows(str(data)):
        types = known.part(row.get("config")).types
        made_here = {"row_number", "config", *dataset.files}
        assert row.keys() - made_here <= set(types)
        assert [each.problem for each in task.samples_of(row) if each.problem] == []
        read = read_by(task, row)
        assert read - set(types) - made_here == set(), "the table has no such column"
        assert read & set(types)
        known_of = {*dataset.columns, *made_here, *OPTIONAL}
        told = {column: value for column, value in row.items() if column in known_of}
        assert list(task.samples_of(told)) == list(task.samples_of(row)), "it reads what it doesn't declare"


@pytest.mark.parametrize("repo", schemas())
def test_a_mirror_is_as_the_table_says(repo: str, data: Path) -> None:
    rest = set((data / repo).rglob("*.parquet"))
    assert rest or repo == "OpenGVLab/MVBench"
    for part, config in ((each, config) for each in schemas()[repo].parts for config in each.configs):
        for split in part.splits:
            path = part.files.format(config=config, split=split.name, shard="*")
            for found in (data / repo).glob(path):
                rest -= {found}
                if found.suffix == ".parquet":
                    held = {field.name: field.type for field in pq.read_schema(found)}
                    assert held == schema_for(repo, config)
    assert rest == set()


def test_a_mirror_refuses_a_column_that_the_table_lacks(tmp_path: Path) -> None:
    row = {"question": "?", "answer": "1", "type": "human_test", "label": "1"}
    with pytest.raises(ValueError, match=r"lmms-lab-encoder/ChartQA has no \['label'\]"):
        mirrors.write_split(tmp_path, "lmms-lab-encoder/ChartQA", "test", [row])
    with pytest.raises(AssertionError, match="no split val of lmms-lab-encoder/ChartQA"):
        mirrors.write_split(tmp_path, "lmms-lab-encoder/ChartQA", "val", [])


def test_a_task_that_disagrees_with_the_table_is_found() -> None:
    known = schema_of("lmms-lab-encoder/ai2d")
    assert known is not None
    found = {column: kind_of(kind) for column, kind in known.part(None).types.items()}
    assert type_mismatches({"options": TEXT, "answer": OPTIONS, "question": TEXT}, found) == [
        "its column `options` holds a list of text; the task declares text",
        "its column `answer` holds text; the task declares a list of text",
    ]


@pytest.mark.parametrize("repo", schemas())
def test_every_entry_says_where_it_was_seen_or_that_it_was_not(repo: str) -> None:
    known = schemas()[repo]
    assert known.name_seen
    for part in known.parts:
        assert part.columns
        for column in part.columns:
            arrow_type(column.type)
            assert column.seen or not column.typed
        for split in part.splits:
            assert set(split.counts) == set(part.configs)
            assert isinstance(split.seen, str)


def test_the_table_says_what_was_not_seen() -> None:
    card = schema_card(load_task("mlvu_test"))
    assert card["unverified"] == (
        "the columns duration, candidates; the number of rows of test; the paths of its files"
    )
    assert "not seen: duration float64, candidates list<string>" in card["columns (* read here)"]
    assert card["splits"] == "test*: 502 rows, not seen"
    card = schema_card(load_task("docvqa_val"))
    assert card["unverified"] == "nothing"
    assert card["splits"].splitlines()[0] == (
        "validation*: 5,349 rows, seen in the repository's card (539088e)"
    )
    assert "question_types* list<string>" in card["columns (* read here)"]
    card = schema_card(load_task("seedbench_image"))
    assert "question_type_id* int16 (its type not seen)" in card["columns (* read here)"]
    assert "the types of question_type_id" in card["unverified"]
    assert schema_card(load_task("mini_chartqa")) == {}


def test_a_user_s_own_repository_or_configuration_is_unverified() -> None:
    task = load_task("docvqa_val")
    card = schema_card(replace(task, dataset=HubDataset("me/mine")))
    assert card == {"unverified": "everything: the repository is not in evalkit's table of schemas"}
    for config in (None, "Mine"):
        card = schema_card(replace(task, dataset=replace(hub(task), config=config)))
        assert list(card) == ["unverified"]
        assert "no such configuration" in card["unverified"]
    card = schema_card(replace(task, dataset=replace(hub(task), split="train")))
    assert card["unverified"] == "the split train"
    old = schema_card(replace(task, dataset=replace(hub(task), repo="lmms-lab/DocVQA", aliases=())))
    assert old["unverified"] == "nothing"
