"""What `evalkit tasks show` and docs/tasks.md say of every benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from evalkit.cli import cli
from evalkit.core.registry import declared, load_task

ROOT = Path(__file__).resolve().parents[2]
NAMES = [info.name for info in declared()]


def shown(*words: str) -> str:
    result = CliRunner().invoke(cli, ["tasks", *words], standalone_mode=False)
    assert result.exception is None, result.output
    return result.output


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/tasks.md").read_text() == shown("docs"), "run `evalkit tasks docs > docs/tasks.md`"


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_shown(name: str) -> None:
    card = json.loads(shown("show", name, "--json"))[name]
    task = load_task(name)
    assert card["metric"].startswith("none" if task.submission else task.metric.name)
    assert "<image" in card["example"] or "<video" in card["example"]
    assert ("example's reference" in card) == (task.submission is None)
    assert (card["answers go to"] != "-") if task.submission else "answers go to" not in card
    assert shown("show", name).startswith(name)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("mini_", "probe_"))])
def test_an_example_has_what_the_task_needs(name: str) -> None:
    task = load_task(name)
    sample = next(task.samples_of(task.example))
    assert sample.id
    assert sample.cluster_id
    assert list(sample.groups) == list(task.groups)
    declared_columns = set(getattr(task.dataset, "columns", ()))
    made_here = {"image_1", "image_2", "image_3", "image_4", "image_5", "image_6", "image_7"}
    optional = {"start", "end", *made_here}
    assert declared_columns - set(task.example) - optional - {"video_path", "answer", "question_idx"} == set()


def test_other_families_are_asked_in_their_own_words() -> None:
    card = json.loads(shown("show", "docvqa_val", "--json"))["docvqa_val"]
    assert "example (qwen3_5, qwen3_5_moe, qwen3_vl, qwen3_vl_moe)" in card
    assert "single word or phrase" in card["example (internvl, llava_onevision)"]
