"""Every declared column of every task, spoilt: its row is an error that says why, or is asked as it stands;
the other rows are what they were; nothing is raised, dropped, or scored by a reference that isn't there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from mirrors_all import build_all

from evalkit.core.registry import declared, load_task
from evalkit.core.types import Sample
from evalkit.data.hub import HubDataset
from evalkit.metrics.base import Answer
from evalkit.metrics.choice import MultipleChoice
from evalkit.task import Task

Row = dict[str, Any]
NAMES = [info.name for info in declared() if not info.name.startswith(("mini_", "probe_"))]
GONE = object()
TEXTS = ("", "Z", "nan", "-1", "99")
NUMBERS = (-1, 1.5, float("nan"), 10**30, True)
HELD = ([], [None], [""], ["x"] * 30, {}, b"x")
ODD = (None, GONE, *TEXTS, *NUMBERS, *HELD)
# What stands there says whether the row is asked at all.
DROPPED = {("seedbench_image", "data_type")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_all(tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("clips"))


@dataclass(frozen=True)
class Held(HubDataset):
    """A declared data set whose rows are given."""

    held: tuple[Mapping[str, Any], ...] = ()

    def rows(self, data_root: str | None) -> Iterator[Mapping[str, Any]]:
        return iter(self.held)


@lru_cache
def loaded(name: str) -> Task:
    return load_task(name)


def few(name: str, data: Path) -> list[Row]:
    """Some rows of a mirror, of several kinds."""
    dataset = loaded(name).dataset
    assert isinstance(dataset, HubDataset)
    if isinstance(dataset.config, tuple):
        dataset = replace(dataset, config=(dataset.config[0], dataset.config[-1]))
    rows = [dict(row) for row in dataset.rows(str(data))]
    return [rows[place] for place in sorted({0, len(rows) // 2, len(rows) - 1})]


def holding(name: str, rows: list[Row]) -> Task:
    task = loaded(name)
    dataset = task.dataset
    assert isinstance(dataset, HubDataset)
    fields = {each: getattr(dataset, each) for each in ("repo", "config", "split", "columns", "aliases")}
    return replace(task, dataset=Held(**fields, held=tuple(rows)))


def read(name: str, rows: list[Row]) -> list[tuple[int, Sample]]:
    """The samples of all rows, each with its row's number."""
    found = holding(name, rows).read(None)
    return [(place, sample) for place, (_, samples) in enumerate(found) for sample in samples]


def spoilt(row: Row, column: str) -> Iterator[Row]:
    """The row with something else in a column: odd values, and what contradicts the other columns."""
    for odd in ODD:
        yield {each: value for each, value in row.items() if each != column} | (
            {} if odd is GONE else {column: odd}
        )
    value = row.get(column)
    if isinstance(value, list) and value:
        for changed in (value[:1], value[:-1], value[:1] * len(value), [*value[:-1], None], [*value, *value]):
            yield {**row, column: changed}
    if isinstance(value, str):
        for text in (value[: len(value) // 2], value.lower(), f"{value}\n(A) x", value.splitlines()[:1]):
            yield {**row, column: text}


def is_sound(task: Task, sample: Sample) -> bool:
    """Whether a sample that is asked has options that can be told apart by letter, and a right one."""
    options = sample.meta.get("options") or {}
    if not all(isinstance(text, str) and text.strip() for text in options.values()):
        return False
    if isinstance(task.metric, MultipleChoice):
        return len(options) > 0 and str(sample.reference).strip("()") in options
    groups, question = {**sample.meta.get("links", {}), **sample.groups}, str(sample.meta.get("question", ""))
    answer = Answer("", sample.reference, question, options, groups, (100, 100), (100, 100), "abs")
    return task.submission is not None or task.metric.score(answer).value is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_spoilt_cell_is_its_row_s_error_or_nobody_s(name: str, data: Path) -> None:
    task = loaded(name)
    rows = few(name, data)
    good = read(name, rows)
    assert not [sample.problem for _, sample in good if sample.problem]
    assert all(is_sound(task, sample) for _, sample in good)
    refused: dict[str, int] = dict.fromkeys(getattr(task.dataset, "columns", ()), 0)
    for column in refused:
        for row in spoilt(rows[0], column):
            mine = read(name, [row])
            assert mine or (name, column) in DROPPED, f"{column}={row.get(column)!r}: the row is gone"
            for _, sample in mine:
                if sample.problem is None:
                    assert is_sound(task, sample), f"{column}={row.get(column)!r}: {sample}"
                    continue
                refused[column] += 1
                assert f"row {rows[0]['row_number']} of data set" in sample.problem
                assert sample.problem.partition(": ")[2].strip()
                assert (sample.parts, sample.reference) == ((), None)
        # The other rows don't feel it.
        found = read(name, [{**rows[0], column: {}}, *rows[1:]])
        assert [each for each in found if each[0]] == [each for each in good if each[0]]
        assert all(sample.problem for place, sample in found if not place)
    assert all(refused.values()), f"anything goes in {[each for each in refused if not refused[each]]}"
