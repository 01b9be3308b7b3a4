"""A repository that was moved is found under each of its names, and is the same under all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mirrors_image
import mirrors_video
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import Hub
from test_pull import data, evalkit

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.registry import declared, load_task
from evalkit.data.hub import HubDataset
from evalkit.data.lock import NAME, LockedRepo, read_lock, write_lock
from evalkit.models import describe_model
from evalkit.runner.requests import build_request
from evalkit.task import Task

NEW, OLD = "lmms-lab-encoder/ChartQA", "lmms-lab/ChartQA"
PARQUET = "data/test-00000-of-00001.parquet"


def built(root: Path, name: str = NEW, commit: str | None = None) -> Path:
    """A mirror of ChartQA under one of its names, with the notes that `hf download` leaves."""
    mirrors_image.build_chartqa_drawn_mirror(root / "made")
    folder = root / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "made" / NEW, folder)
    shutil.rmtree(root / "made")
    if commit:
        note = folder / ".cache/huggingface/download/README.md.metadata"
        note.parent.mkdir(parents=True)
        note.write_text(f"{commit}\n6c2ab6\n1767225600.0\n")
    return folder


def read(root: Path) -> tuple[Task, list[Any]]:
    task = load_task("chartqa").open(str(root))
    return task, list(task.samples(str(root)))


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """The hub with ChartQA under its old name alone."""
    mirrors_image.build_chartqa_drawn_mirror(tmp_path / "source")
    found = Hub()
    found.add_folder(tmp_path / "source", NEW)
    found.repos[OLD] = found.repos.pop(NEW)
    return found


@pytest.fixture
def endpoint(hub: Hub) -> Iterator[str]:
    with hub.running() as address:
        yield address


def test_the_repositories_that_were_moved_have_both_names() -> None:
    moved = {}
    for info in declared():
        dataset = load_task(info.name).dataset
        if isinstance(dataset, HubDataset) and dataset.aliases:
            moved[info.name] = dataset.names
    assert len(moved) == 30
    assert len(set(moved.values())) == 19
    for new, old in moved.values():
        assert new.partition("/")[0] in ("lmms-lab-encoder", "lmms-eval")
        assert old == f"lmms-lab/{new.partition('/')[2]}"


@pytest.mark.parametrize("name", [NEW, OLD])
def test_a_mirror_is_taken_under_each_name_and_says_which(name: str, tmp_path: Path) -> None:
    built(tmp_path, name, commit="4db1276")
    task, samples = read(tmp_path)
    assert len(samples) == 2
    found = task.dataset.describe()
    assert (found["repo"], found["found_as"], found["commit"]) == (NEW, name, "4db1276")


def test_the_name_is_no_part_of_what_an_answer_belongs_to(tmp_path: Path) -> None:
    kept = []
    for name in (NEW, OLD):
        folder = built(tmp_path / name, name)
        rows = pq.read_table(folder / PARQUET).to_pylist()
        rows.append({**rows[0], "answer": None})
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(folder / PARQUET)), folder / PARQUET)
        task, samples = read(tmp_path / name)
        model = describe_model("mock")
        keys = [build_request(model, task, sample).key for sample in samples if not sample.problem]
        kept.append((keys, [sample.id for sample in samples], [sample.problem for sample in samples]))
    assert kept[0] == kept[1]
    assert len(set(kept[0][0])) == 2
    assert f"row 2 of data set `{NEW}`" in kept[0][2][2]


def test_two_mirrors_that_may_differ_are_refused(tmp_path: Path) -> None:
    built(tmp_path, NEW, commit="4db1276")
    other = built(tmp_path, OLD, commit="9e63b7d")
    for commits in (("4db1276", "9e63b7d"), ("4db1276", "unknown")):
        with pytest.raises(EnvironmentProblem) as caught:
            read(tmp_path)
        assert "two mirrors of it, which may differ" in caught.value.why
        assert all(commit in caught.value.why for commit in commits)
        assert "move the other out of the data root" in caught.value.fix
        shutil.rmtree(other / ".cache", ignore_errors=True)  # now nothing says what it is


def test_of_two_mirrors_that_hold_the_same_the_present_name_is_taken(tmp_path: Path) -> None:
    built(tmp_path, NEW, commit="4db1276")
    old = built(tmp_path, OLD, commit="4db1276")
    assert read(tmp_path)[0].dataset.describe()["found_as"] == NEW
    shutil.rmtree(old)
    old.symlink_to(tmp_path / NEW)
    shutil.rmtree(tmp_path / NEW / ".cache")
    assert read(tmp_path)[0].dataset.describe()["found_as"] == NEW


def test_a_lock_file_says_which_commit_a_mirror_holds(tmp_path: Path) -> None:
    built(tmp_path, NEW)
    built(tmp_path, OLD)
    write_lock(tmp_path / NAME, {name: LockedRepo("main", "4db1276", {}, {}, {}) for name in (NEW, OLD)})
    assert read(tmp_path)[0].dataset.describe()["commit"] == "4db1276"


def test_a_missing_mirror_is_named_by_all_its_names(tmp_path: Path) -> None:
    (tmp_path / "lmms-lab-encoder/ChartQ").mkdir(parents=True)
    with pytest.raises(EnvironmentProblem) as caught:
        read(tmp_path)
    assert f"`{tmp_path / NEW}` does not exist, nor does `{tmp_path / OLD}`" in caught.value.why
    assert "Did you mean `lmms-lab-encoder/ChartQ`" in caught.value.why
    assert caught.value.fix == f"hf download {NEW} --repo-type dataset --local-dir {tmp_path / NEW}"


def test_a_mirror_that_appears_under_another_name_is_noticed(tmp_path: Path) -> None:
    built(tmp_path, OLD)
    found = load_task("chartqa").dataset.sources(str(tmp_path))  # type: ignore[attr-defined]
    assert {tmp_path / NEW, tmp_path / OLD} <= set(found)


def test_check_says_which_name_was_taken(tmp_path: Path) -> None:
    built(tmp_path / "data", OLD, commit="4db1276")
    done = data(tmp_path, None, "check", "chartqa")
    assert f"{NEW}: taken from `{OLD}`, commit 4db1276" in done.stderr.splitlines()
    assert done.stdout.splitlines() == [
        f"{OLD}: not in {NAME}; its files can't be checked, only read",
        "chartqa: 2 samples instead of 2500",
    ]


def test_the_hub_is_asked_for_each_name_and_the_one_found_is_recorded(
    tmp_path: Path, hub: Hub, endpoint: str
) -> None:
    out = tmp_path / "run"
    done = evalkit(
        tmp_path, endpoint, "run", "--model", "mock", "--tasks", "chartqa", "--output", str(out),
        "--workers", "0", "--json",
    )  # fmt: skip
    assert json.loads(done.stdout)["arms"][0]["tasks"]["chartqa"]["n"] == 2, done.stderr
    (evaluation,) = json.loads((out / "manifest.json").read_text())["evaluations"]
    found = evaluation["task"]["dataset"]
    assert (found["repo"], found["found_as"], found["commit"]) == (NEW, OLD, hub.commit(OLD))


def test_a_gated_repository_is_not_passed_over_for_an_older_name(
    tmp_path: Path, hub: Hub, endpoint: str
) -> None:
    hub.repos[NEW] = {**hub.repos[OLD], "extra.txt": b"newer"}
    hub.gated.add(NEW)
    done = data(tmp_path, endpoint, "pull", "chartqa")
    assert done.returncode == 4
    assert NEW in done.stderr
    assert "HF_TOKEN" in done.stderr
    assert not (tmp_path / "data" / OLD).exists()


def test_a_repository_that_the_hub_lacks_is_told_with_its_names(
    tmp_path: Path, hub: Hub, endpoint: str
) -> None:
    hub.repos.clear()
    done = data(tmp_path, endpoint, "pull", "chartqa")
    assert done.returncode == 4
    assert f"nor is it there as {OLD}" in done.stderr


def test_pulling_goes_on_in_the_folder_that_is_there(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    assert data(tmp_path, endpoint, "pull", "chartqa").returncode == 0
    lock = read_lock(tmp_path / "data" / NAME)
    assert list(lock) == [NEW]
    assert lock[NEW].commit == hub.commit(OLD)
    shutil.rmtree(tmp_path / "data")
    # One that was made before the repository was moved.
    built(tmp_path / "data", OLD)
    hub.repos[NEW] = hub.repos[OLD]
    done = data(tmp_path, endpoint, "pull", "chartqa")
    assert done.returncode == 0, done.stderr
    assert f"kept as {OLD}" in done.stderr
    assert not (tmp_path / "data" / NEW).exists()
    assert list(read_lock(tmp_path / "data" / NAME)) == [OLD]
    assert "samples instead of 2500" in data(tmp_path, None, "check", "chartqa").stdout


def test_a_lock_file_of_before_the_move_is_followed(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    lock = tmp_path / "evalkit.lock.json"
    write_lock(lock, {OLD: LockedRepo("main", hub.commit(OLD), {}, {}, {})})
    hub.repos[NEW] = {**hub.repos[OLD], "extra.txt": b"newer"}
    done = data(tmp_path, endpoint, "pull", "chartqa", "--lock", str(lock))
    assert done.returncode == 0, done.stderr
    assert {name: entry.commit for name, entry in read_lock(lock).items()} == {NEW: hub.commit(OLD)}
    write_lock(lock, {NEW: LockedRepo("main", "a", {}, {}, {}), OLD: LockedRepo("main", "b", {}, {}, {})})
    done = data(tmp_path, endpoint, "pull", "chartqa", "--lock", str(lock))
    assert done.returncode == 2
    assert "it names one repository twice, at two commits" in done.stderr


def test_a_moved_video_repository_finds_its_archives_under_its_old_name(tmp_path: Path) -> None:
    mirrors_video.build_charades_sta_mirror(tmp_path)
    (tmp_path / "lmms-lab").mkdir()
    shutil.move(tmp_path / "lmms-eval/charades_sta", tmp_path / "lmms-lab/charades_sta")
    samples = list(load_task("charades_sta").samples(str(tmp_path)))
    assert [sample.problem for sample in samples] == [None] * 3
    # STAR takes Charades' videos from there, too.
    mirrors_video.build_star_mirror(tmp_path)
    videos = tmp_path / "charades/Charades_v1_480"
    shutil.move(videos, tmp_path / "lmms-lab/charades_sta/Charades_v1_480")
    assert not [each.problem for each in load_task("star_val").samples(str(tmp_path)) if each.problem]


def test_answers_are_used_again_when_the_mirror_has_another_name(tmp_path: Path) -> None:
    where = ("--output", str(tmp_path / "out"), "--data-root", str(tmp_path / "data"), "--workers", "0")
    words = ("run", "--model", "mock", "--tasks", "chartqa", *where, "--rate-limit", "unparsed=1")
    folder = built(tmp_path / "data", OLD)
    assert "mock@mrope: 2 samples in 1 tasks" in evalkit(tmp_path, None, *words).stderr
    (tmp_path / "data" / NEW).parent.mkdir()
    folder.rename(tmp_path / "data" / NEW)
    again = evalkit(tmp_path, None, *words)
    assert "mock@mrope: all 2 samples are stored already" in again.stderr
    evaluations = json.loads((tmp_path / "out/manifest.json").read_text())["evaluations"]
    assert [each["task"]["dataset"]["found_as"] for each in evaluations] == [OLD, NEW]
