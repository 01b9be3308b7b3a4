"""A run directory: what is no run, what is damaged, and views that don't depend on the way."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path

import pytest
from test_journal import failed, record

from evalkit.errors import UsageError
from evalkit.store import Record, RunDir, planned

MANIFEST = {"status": "running", "arms": [], "tasks": []}
PLAN = {"tiny@mrope": {"chartqa": [f"key{number}" for number in range(8)]}}


def run_in(folder: Path) -> RunDir:
    run = RunDir.create(folder / "run")
    run.write_manifest(MANIFEST)
    run.write_plan(PLAN)
    return run


def complaint(call: object) -> str:
    with pytest.raises(UsageError) as caught:
        call()  # type: ignore[operator]
    assert caught.value.why
    assert caught.value.fix
    return str(caught.value)


def test_manifest_plan_and_records_read_back(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.write_records([record(1), record(0, raw="\ud800ü")])
    again = RunDir.open(tmp_path / "run")
    assert again.manifest() == {"format": 1, **MANIFEST}
    assert again.plan() == PLAN
    assert again.records() == [record(1), record(0, raw="\ud800ü")]
    assert again.name == "run"
    assert again.begun


def test_a_run_goes_on_where_it_is(tmp_path: Path) -> None:
    run_in(tmp_path)
    assert RunDir.create(tmp_path / "run").begun
    only_journal = RunDir.create(tmp_path / "other")
    only_journal.writer().close()
    assert not RunDir.create(tmp_path / "other").begun


def test_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    for name in ("file", "full"):
        assert f"{name}` is not a run directory" in complaint(
            lambda name=name: RunDir.create(tmp_path / name)
        )
    assert "there is no such folder" in complaint(lambda: RunDir.open(tmp_path / "none"))
    assert "no manifest.json" in complaint(lambda: RunDir.open(tmp_path / "full"))
    assert (tmp_path / "full" / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize("text", ["", "{", '{"format": 1', "\x00"])
def test_a_damaged_manifest_says_so(tmp_path: Path, text: str) -> None:
    run = run_in(tmp_path)
    (run.path / "manifest.json").write_text(text)
    assert "manifest.json` is damaged" in complaint(run.manifest)


def test_another_format_is_not_misread(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    (run.path / "manifest.json").write_text(json.dumps({"format": 2}))
    assert "format 2" in complaint(run.manifest)


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_a_manifest_that_is_no_mapping_is_damaged(tmp_path: Path, text: str) -> None:
    run = run_in(tmp_path)
    (run.path / "manifest.json").write_text(text)
    assert "manifest.json` is damaged" in complaint(run.manifest)


def test_records_that_are_missing_or_damaged(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    assert "no records yet" in complaint(run.records)
    for text in ("{}\n", "[]\n", "{\n", json.dumps(record().to_json() | {"groups": ["human"]}) + "\n"):
        (run.path / "records.jsonl").write_text(text)
        assert "records.jsonl` is damaged" in complaint(run.records)


def test_a_write_that_is_cut_short_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path)

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        run.write_manifest({"status": "complete"})
    assert run.manifest()["status"] == "running"
    assert sorted(path.name for path in run.path.iterdir()) == ["manifest.json", "plan.json"]


def test_what_a_kill_leaves_of_the_first_file_does_not_block_the_next_try(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.path.mkdir()
    (run.path / ".manifest.json.123.tmp").write_text('{"form')
    assert RunDir.create(tmp_path / "run") == run


def test_files_are_as_readable_as_the_user_wants(tmp_path: Path) -> None:
    """Results are shared: a temporary file's private mode must not stick to them."""
    run = run_in(tmp_path)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((run.path / "manifest.json").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("seed", range(5))
def test_records_do_not_depend_on_order_writers_or_kills(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    run = run_in(tmp_path)
    lines = [record(number, seconds={"generate": rng.random()}) for number in range(8)]
    lines += [failed(number) for number in rng.sample(range(8), 3)]
    rng.shuffle(lines)
    while lines:
        with run.writer() as one, run.writer() as two:
            for writer in (one, two):
                batch, lines = lines[: rng.randint(1, 3)], lines[3:] and lines[rng.randint(1, 3) :]
                writer.append(batch)
        with open(run.path / "journal" / "worker-000.jsonl", "ab") as file:
            file.write(b'{"arm": "tiny')
    with run.writer() as rest:  # the command that finishes the run
        have = run.journal().records
        rest.append([record(n) for n in range(8) if f"key{n}" not in have or have[f"key{n}"].failed])
    found, missing = planned(run.plan(), run.journal().records)
    assert missing == 0
    assert [each.without_timings() for each in found] == [record(n).without_timings() for n in range(8)]


def test_what_a_plan_misses_is_counted() -> None:
    have: dict[str, Record] = {"key3": record(3), "key1": record(1), "other": record(9)}
    found, missing = planned(PLAN, have)
    assert ([each.key for each in found], missing) == (["key1", "key3"], 6)


def test_copies_of_a_checkpoint_share_answers_but_keep_their_names() -> None:
    plan = {arm: {"chartqa": ["key0"]} for arm in ("a@mrope", "b@mrope")}
    found, _ = planned(plan, {"key0": record(0, arm="a@mrope")})
    assert [each.arm for each in found] == ["a@mrope", "b@mrope"]
