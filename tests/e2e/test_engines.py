"""Several engines: the same answers as one, also when an engine is killed."""

from __future__ import annotations

import os
import signal
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

import fork_server
import psutil
import pytest

from evalkit.cli import run_cli
from evalkit.store import Record, RunDir

pytest.importorskip("ray", reason="needs the extra `ray`")

TASKS = "mini_docvqa,mini_chartqa,mini_refcoco,mini_video"


def records(output: Path) -> list[Record]:
    return [record.without_timings() for record in RunDir.open(output).records()]


def journalled(output: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in output.glob("journal/*.jsonl"))


def engines_of(pid: int) -> list[int]:
    """Processes of a run's engines."""
    found = []
    for each in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error):  # it may just have ended
            if "".join(each.cmdline()).startswith("ray::Worker"):
                found.append(each.pid)
    return found


def test_two_engines_answer_as_one_does_for_several_variants(tmp_path: Path) -> None:
    words = ["run", "--model", "tiny", "--rope", "vanilla,mrope-i", "--tasks", TASKS, "--limit", "6", "-q"]
    assert run_cli([*words, "--output", str(tmp_path / "one"), "--workers", "0"]) == 0
    two = [*words, "--output", str(tmp_path / "two"), "--devices", "cpu,cpu", "--workers", "1"]
    assert run_cli([*two, "--audit", "0.5"]) == 0
    assert records(tmp_path / "two") == records(tmp_path / "one")
    audits = RunDir.open(tmp_path / "two").manifest().invocations[-1].audits
    assert sorted(audits) == ["tiny@mrope-i", "tiny@vanilla"]
    assert all(audit.different == () for audit in audits.values())


def test_a_killed_engine_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    output = tmp_path / "out"
    words = ["run", "--model", "mock:slow=0.3", "--tasks", TASKS, "--limit", "20", "--batch-size", "2"]
    words += ["--workers", "1", "-q", "--devices", "cpu,cpu", "--output", str(output)]
    words += ["--rate-limit", "unparsed=1"]
    run = fork_server.start(*words)
    engines: list[int] = []
    # On a busy machine the second starts long after the first has answered.
    while (len(engines) < 2 or not journalled(output)) and run.poll() is None:
        time.sleep(0.05)
        engines = engines_of(run.pid)
    assert len(engines) == 2
    os.kill(engines[0], signal.SIGKILL)
    _, problems = run.communicate()
    assert run.wait() == 0, problems
    assert "died and is started again" in problems
    keys = [record.key for record in records(output)]
    assert len(keys) == len(set(keys)) == journalled(output)
    assert not any(record.failed for record in records(output))


@pytest.mark.every_point
@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_a_ray_whose_own_processes_are_killed_ends_the_command(tmp_path: Path, name: str) -> None:
    output = tmp_path / "out"
    words = ["run", "--model", "mock:slow=1", "--tasks", TASKS, "--limit", "40", "--batch-size", "2"]
    words += ["--workers", "1", "-q", "--devices", "cpu,cpu", "--output", str(output)]
    run = fork_server.start(*words)
    while not journalled(output) and run.poll() is None:
        time.sleep(0.05)
    for each in psutil.Process(run.pid).children(recursive=True):
        with suppress(psutil.Error, IndexError):
            if Path(each.cmdline()[0]).name == name:
                each.kill()
    for engine in engines_of(run.pid)[:1]:  # one that would have to be started again
        with suppress(OSError):  # it may have ended with its node
            os.kill(engine, signal.SIGKILL)
    _, problems = run.communicate()
    assert run.wait() == 4, problems
    assert "Ray, which the engines run on, broke down" in problems
    assert "the same command again: what was answered is kept" in problems
    assert journalled(output) > 0


def test_a_cluster_loses_a_machine(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 100 << 20})
    lost = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    output = tmp_path / "out"
    words = ["run", "--model", "mock:slow=0.2", "--tasks", TASKS, "--limit", "20", "--batch-size", "2"]
    words += ["--workers", "0", "-q", "--executor", "ray", "--output", str(output)]
    words += ["--rate-limit", "unparsed=1"]
    environment = os.environ | {"RAY_ADDRESS": cluster.address}
    run = fork_server.start(*words, env=environment)
    try:
        while journalled(output) < 6 and run.poll() is None:
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)
        _, problems = run.communicate()
        assert run.returncode == 0, problems
        assert "died and is started again" in problems
        assert len({record.key for record in records(output) if not record.failed}) == 80
    finally:
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
        cluster.shutdown()


def test_a_sample_that_kills_its_engine_is_that_samples_error(tmp_path: Path) -> None:
    names = sorted(sample_ids(tmp_path))
    words = ["run", "--model", f"mock:die={names[1]}", "--tasks", "mini_chartqa", "--limit", "6", "-q"]
    with warnings.catch_warnings(record=True):
        code = run_cli([*words, "--devices", "cpu,cpu", "--workers", "0", "--output", str(tmp_path / "out")])
    assert code == 3
    failed = [record for record in records(tmp_path / "out") if record.failed]
    assert [record.sample_id for record in failed] == [names[1]]
    assert "died whenever" in str(failed[0].error)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--devices", "0,cpu"], "of two kinds"),
        (["--devices", "cpu", "--device", "cpu"], "each says where"),
        (["--devices", "cpu,cpu", "--executor", "local"], "there is one engine"),
        (["--devices", "0,1", "--executor", "ray"], "Ray says which GPUs"),
        (["--gpus-per-engine", "2"], "for a Ray cluster"),
    ],
)
def test_orders_that_make_no_sense(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_cli(["run", "--model", "mock", "--tasks", "mini", "--output", str(tmp_path / "o"), *words])
    assert code == 2
    assert says in capsys.readouterr().err


def test_no_cluster_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "run",
        "--model",
        "mock",
        "--tasks",
        "mini",
        "--output",
        str(tmp_path / "o"),
        "--executor",
        "ray",
    ]
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    assert run_cli(words) == 2
    assert "on a machine of the cluster" in capsys.readouterr().err
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    # A test beside this one may have started a cluster, which Ray finds among the processes.
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(set))
    assert run_cli(words) == 4
    assert "ray start --head" in capsys.readouterr().err


def sample_ids(tmp_path: Path) -> list[str]:
    output = tmp_path / "names"
    words = ["run", "--model", "mock", "--tasks", "mini_chartqa", "--limit", "6", "-q", "--workers", "0"]
    assert run_cli([*words, "--output", str(output)]) == 0
    return [record.sample_id for record in records(output)]


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("The current node timed out during startup.\nMore.", "The current node timed out during startup."),
        ("", "Exception"),
    ],
)
def test_ray_that_does_not_start_is_said_in_a_sentence(
    says: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**options: object) -> None:
        raise Exception(says)  # as Ray words it, and as bare

    monkeypatch.setattr("ray.init", fail)
    words = ["run", "--model", "mock", "--tasks", "mini", "--devices", "cpu,cpu"]
    words += ["--output", str(tmp_path / "o")]
    assert run_cli(words) == 4
    assert f"why: {why}\n" in capsys.readouterr().err
