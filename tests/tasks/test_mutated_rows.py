"""A row may hold anything: it is asked as it stands, or it is an error that says what is wrong with it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from evalkit.core.registry import declared, load_task
from evalkit.core.types import Sample
from evalkit.metrics.base import Answer
from evalkit.models import describe_model
from evalkit.runner.requests import build_request

ODD = (None, True, -1, 7, 1.5, float("nan"), float("inf"), "", "x", "['a', 'b']", b"bytes", [], {}, [[]],
       [None], {"bytes": None, "path": None}, {"a": [1]}, 10**30, "\ud800", "a\x00b", "None")  # fmt: skip
PROBES = ("", "A", "B. no", "yes", "3", "[0, 0, 5, 5]", "from 1 to 2", "\ud800")


def mutated(row: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """The row with one cell, or something in it, replaced, missing, or wrapped."""
    found, name = dict(row), draw.choice(sorted(row))
    what = draw.random()
    if what < 0.1:
        del found[name]
    elif what < 0.2:
        found[name] = [found[name]]
    elif isinstance(found[name], list) and found[name] and what < 0.5:
        items = list(found[name])
        items[draw.randrange(len(items))] = draw.choice(ODD)
        found[name] = items
    elif isinstance(found[name], str) and what < 0.4:
        found[name] = found[name][: draw.randrange(len(found[name]) + 1)]
    else:
        found[name] = draw.choice(ODD)
    return found


def samples(name: str) -> Iterator[tuple[dict[str, Any], Sample]]:
    task = load_task(name)
    for seed in range(8):
        row = mutated(dict(task.example), random.Random(f"{name}{seed}"))
        for sample in task.samples_of(row):
            yield row, sample


def answer(sample: Sample, text: str) -> Answer:
    groups = {**sample.meta.get("links", {}), **sample.groups}
    options, question = sample.meta.get("options") or {}, str(sample.meta.get("question", ""))
    return Answer(text, sample.reference, question, options, groups, (100, 100), (100, 100), "abs")


@pytest.mark.parametrize("name", [info.name for info in declared()])
def test_a_mutated_row_is_asked_or_is_an_error(name: str) -> None:
    task, model = load_task(name), describe_model("mock")
    if not task.example:
        pytest.skip("the mini-suite's rows are drawn, not stored")
    refused = 0
    for row, sample in samples(name):
        if sample.problem:
            refused += 1
            assert "row 0 of data set" in sample.problem
            continue
        request = build_request(model, task, sample)
        assert request.full_prompt((0.0, 1.0)) or not sample.parts, row
        for text in PROBES:
            score = task.metric.score(answer(sample, text))
            assert score.value is None or 0 <= score.value <= max(1.0, task.metric.range[1]), row
    assert refused
