"""Whatever became of a file: no traceback, and no number that is another one without a word.

A thousand mutations of manifests, plans, journals, records, run.yaml and prediction files, drawn from a fixed
seed. Mutated rows are in tests/e2e/test_bad_rows.py and below.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalkit import evaluate
from evalkit.api import compare
from evalkit.cli import run_cli
from evalkit.config.run_spec import RunSpec, load_config
from evalkit.core.errors import EvalkitError
from evalkit.scoring.finalize import rescore
from evalkit.scoring.predictions import score_file
from evalkit.store import RunDir

ODD = (None, True, -1, 0, 3, 1e400, float("nan"), "", "x", "\ud800", [], {}, [[[]]], {"a": {"b": []}}, 10**30)


def changed(value: Any, draw: random.Random) -> Any:
    """The value with something in it replaced, removed, repeated or added."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value, key=str))
        found = dict(value)
        what = draw.random()
        if what < 0.1:
            del found[key]
        elif what < 0.2:
            found[f"{key}x"] = found.pop(key)
        else:
            found[key] = changed(found[key], draw)
        return found
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        found = list(value)
        what = draw.random()
        if what < 0.1:
            del found[place]
        elif what < 0.2:
            found.insert(place, found[place])
        else:
            found[place] = changed(found[place], draw)
        return found
    if isinstance(value, int | float) and not isinstance(value, bool) and draw.random() < 0.3:
        return value + draw.choice((-1, 1, 0.5))
    return draw.choice(ODD)


def flipped(content: bytes, draw: random.Random) -> bytes:
    """The bytes with some changed, cut off, or doubled."""
    place = draw.randrange(len(content))
    what = draw.random()
    if what < 0.3:
        return content[:place]
    if what < 0.4:
        return content[:place] + content[place // 2 :]
    found = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        found[draw.randrange(len(found))] = draw.randrange(256)
    return bytes(found)


def mutated(path: Path, draw: random.Random) -> None:
    """Replace a file by what might have become of it."""
    content = path.read_bytes()
    if draw.random() < 0.4:
        path.write_bytes(flipped(content, draw))
        return
    if path.suffix == ".jsonl":
        lines = content.decode("utf-8", "surrogatepass").splitlines()
        place = draw.randrange(len(lines))
        lines[place] = json.dumps(changed(json.loads(lines[place]), draw))
        text = "\n".join([*lines, ""])
    else:
        text = json.dumps(changed(json.loads(content), draw))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    order: dict[str, Any] = {"tasks": ("mini_docvqa", "mini_video"), "limit": 3, "workers": 0}
    evaluate("mock:fixed=B", ropes=("mrope", "vanilla"), output=run, **order)
    return run


def figures(run: Path) -> dict[str, Any]:
    """Everything that a table says as numbers, with how many samples it is of."""
    found = compare(run).to_json()
    return {arm["arm"] if "arm" in arm else arm["name"]: arm["tasks"] for arm in found["arms"]}


def variants(run: Path, folder: Path, names: str, count: int) -> Iterator[Path]:
    for seed in range(count):
        draw = random.Random(f"{names}{seed}")
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        mutated(draw.choice(sorted(copy.glob(names))), draw)
        yield copy


def told(error: EvalkitError) -> bool:
    """Whether an error says what, why and what to do."""
    return all((error.what, error.why, error.fix))


@pytest.mark.parametrize("names", ["manifest.json", "records.jsonl", "plans/*.json"])
def test_stored_files(finished: Path, tmp_path: Path, names: str) -> None:
    expected, refused = figures(finished), 0
    for run in variants(finished, tmp_path, names, 150):
        try:
            assert figures(run) == expected
        except EvalkitError as error:
            refused += told(error)
    assert refused > 75


def test_journals(finished: Path, tmp_path: Path) -> None:
    """A line that is not what was written counts for nothing, and its sample as missing."""
    whole = {(each.arm, each.key): each.raw for each in rescore(RunDir.open(finished)).records}
    for run in variants(finished, tmp_path, "journal/*.jsonl", 200):
        found = rescore(RunDir.open(run))
        for each in found.records:
            assert each.raw == whole[each.arm, each.key]
        assert len(found.records) + found.missing == len(whole)
        if found.missing:
            assert not all(cell.whole for cells in found.comparison.cells.values() for cell in cells.values())


def test_run_yaml(tmp_path: Path) -> None:
    known = {"model": ["tiny"], "tasks": "mini", "limit": 3, "workers": 2, "audit": 0.5, "mc_logits": True,
             "rate_limits": {"unparsed": 0.5}, "devices": ["cpu", "cpu"], "dtype": "float32"}  # fmt: skip
    path, accepted = tmp_path / "run.yaml", 0
    for seed in range(250):
        draw = random.Random(seed)
        path.write_text(yaml.safe_dump(known))
        if draw.random() < 0.3:
            path.write_bytes(flipped(path.read_bytes(), draw))
        else:
            path.write_text(yaml.dump(changed(known, draw)))
        try:
            spec = RunSpec(**{"models": "tiny", "tasks": "mini", **load_config(path)})
        except EvalkitError as error:
            assert told(error)  # noqa: PT017 - most mutations raise, some don't
            continue
        accepted += 1
        assert isinstance(spec.limit, int | None)
        assert not isinstance(spec.limit, bool)
        spec.systems()
    assert accepted


LINES = [
    {"task": "chartqa", "prediction": "3", "reference": "3", "group": {"split": "human"}},
    {"task": "docvqa_val", "prediction": "a", "reference": ["a", "b"], "image_size": [10, 10]},
    {"task": "ai2d", "prediction": "B", "reference": "B", "options": {"A": "x", "B": "y"}},
    {"task": "refcoco_val", "prediction": "[0, 0, 5, 5]", "reference": [0, 0, 5, 5], "box_space": "abs",
     "image_size": [10, 10], "input_size": [10, 10]},
    {"task": "charades_sta", "prediction": "3 to 5", "reference": [3, 5]},
    {"task": "pope", "prediction": "yes", "reference": "yes", "question": "Is it?"},
]  # fmt: skip


def test_prediction_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, scored = tmp_path / "predictions.jsonl", 0
    for seed in range(250):
        draw = random.Random(seed)
        path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
        mutated(path, draw)
        try:
            blocks = score_file(path)
        except EvalkitError as error:
            assert told(error)  # noqa: PT017 - most mutations raise, some don't
            continue
        scored += 1
        for block in blocks.values():
            assert block["n"] >= 1
    assert scored
    capsys.readouterr()


def commands(run: Path) -> Iterator[Callable[[], int]]:
    for words in (["compare"], ["compare", "--json"], ["advise"], ["score"]):
        yield lambda words=words: run_cli([words[0], str(run), *words[1:]])


def test_no_command_ends_in_a_traceback(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in variants(finished, tmp_path, "*.json*", 30):
        for command in commands(run):
            assert command() in (0, 2, 3, 4)
    assert "Traceback" not in capsys.readouterr().err
