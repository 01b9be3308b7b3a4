"""A run directory: what is no run, what is damaged, and views that don't depend on the way."""

from __future__ import annotations

import json
import os
import random
import stat
from pathlib import Path

import pytest
from test_journal import failed, record

from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError
from evalkit.report.results import open_run
from evalkit.store import Evaluation, Invocation, Manifest, Protocol, RunDir, SystemEntry, TaskEntry

ARM = SystemEntry(
    arm="tiny@mrope", model="tiny", rope="mrope", family="mock", fingerprint="f", box_space="abs_resized"
)
TASK = TaskEntry(
    name="chartqa",
    title="ChartQA",
    category="image",
    metric="relaxed_accuracy",
    range=(0.0, 1.0),
    max_new_tokens=8,
)
INVOCATION = Invocation(
    id="one", command="evalkit run", started="now", spec=RunSpec(models="tiny", tasks="mini")
)
KEYS = [f"key{number}" for number in range(8)]


def evaluation(run: RunDir, number: int = 0, arm: str = ARM.arm, keys: list[str] = KEYS) -> Evaluation:
    return Evaluation(
        id=number,
        invocation="one",
        arm=arm,
        task=TASK,
        protocol=Protocol(),
        samples=len(keys),
        plan=run.write_plan(keys),
    )


def run_in(folder: Path) -> RunDir:
    run = RunDir.create(folder / "run")
    entry = evaluation(run)
    run.update(
        lambda manifest: manifest.with_systems([ARM]).with_invocation(INVOCATION).with_evaluations([entry]),
        "now",
    )
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
    manifest = again.manifest()
    assert (manifest.arms, manifest.invocations) == ((ARM,), (INVOCATION,))
    assert again.keys(manifest.evaluations) == [KEYS]
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


def test_a_later_format_is_not_misread_and_says_what_to_install(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    later = {"format": 3, "invocations": [{"versions": {"evalkit": "9.1"}}]}
    (run.path / "manifest.json").write_text(json.dumps(later))
    said = complaint(run.manifest)
    assert "has format 3" in said
    assert "evalkit 9.1 wrote it" in said
    assert "pip install -U evalkit" in said


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
        run.update(lambda manifest: manifest.with_systems([ARM.model_copy(update={"arm": "b"})]), "now")
    assert run.manifest().arms == (ARM,)
    assert sorted(path.name for path in run.path.iterdir()) == ["locks", "manifest.json", "plans"]


def test_what_a_kill_leaves_of_the_first_file_does_not_block_the_next_try(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run")
    run.path.mkdir()
    (run.path / ".evalkit-tmp-0123456789ab.json").write_text('{"form')
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
    run.write_records(list(run.journal().records.values()))
    results = open_run(run)
    assert results.missing == 0
    assert [each.without_timings() for each in results.flat()] == [
        record(n).without_timings() for n in range(8)
    ]


def test_what_a_plan_misses_is_counted(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.write_records([record(3), record(1), record(9)])
    results = open_run(run)
    assert ([each.key for each in results.flat()], results.missing) == (["key1", "key3"], 6)


def test_a_plan_that_is_gone_or_another_is_an_error_that_says_so(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    run.write_records([record(1)])
    (plan,) = (run.path / "plans").iterdir()
    plan.write_text(json.dumps(KEYS[:3]))
    assert "is damaged" in complaint(lambda: open_run(run))
    plan.unlink()
    assert f"has no plans/{plan.name}" in complaint(lambda: open_run(run))


def test_of_several_evaluations_the_whole_one_stands_then_the_larger_then_the_last(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    whole = evaluation(run)

    def part(number: int, count: int) -> Evaluation:
        update = {"protocol": Protocol(limit=count), "id": number, "samples": count}
        return whole.model_copy(update=update)

    def standing(*entries: Evaluation) -> int:
        numbered = [each.model_copy(update={"id": place}) for place, each in enumerate(entries)]
        manifest = Manifest(
            created="now", arms=(ARM,), invocations=(INVOCATION,), evaluations=tuple(numbered)
        )
        (found,) = manifest.results()
        return found.id

    assert standing(whole, part(1, 3)) == 0
    assert standing(part(0, 3), whole, part(2, 7)) == 1
    assert standing(part(0, 3), part(1, 5), part(2, 4)) == 1
    assert standing(whole, whole) == 1
