"""``evalkit bench`` as a user would call it."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest

from evalkit.api import score_run
from evalkit.cli import run_cli
from evalkit.core.types import MediaRef
from evalkit.models import describe_model
from tools.bench.made_runs import generate_run
from tools.bench.store import STAGES, Cost, stage_cost
from tools.bench.workloads import WORKLOADS, bench_prompts, random_model


def test_the_engine_against_a_naive_script_and_the_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "bench",
        "engine",
        "--tasks",
        "mini_chartqa,mini_video",
        "--limit",
        "4",
        "--folder",
        str(tmp_path),
    ]
    assert run_cli(words) == 0
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if " samples/s " in line]
    assert [row.split("  ")[0] for row in rows[:3]] == ["naive", "batch of one", "engine"]
    assert all("0 of 8 texts differ" in row for row in rows)
    for figure in (
        "visual tokens/s",
        "CPU time per sample",
        "GPU busy",
        "utilisation",
        "memory:",
    ):
        assert figure in said
    share = re.search(r"([\d.]+) % of the limit", said)
    assert share is not None
    assert 0 < float(share[1]) < 100
    assert "8 media shown" in said  # what was seen in the warm-up doesn't count


def test_variants_in_lockstep_answer_every_question(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "engine", "--tasks", "mini_chartqa", "--limit", "4", "--techniques", "none"]
    assert run_cli([*words, "--lockstep", "vanilla,mrope-i"]) == 0
    said = capsys.readouterr().out
    rates = re.findall(r"^engine(, 3 in lockstep)? +([\d.]+) samples/s .* 0 of 4 texts differ$", said, re.M)
    (_, alone), (_, together) = rates
    ratio = re.search(r"^engine, 3 in lockstep: ([\d.]+) x the samples/s of one$", said, re.M)
    assert ratio is not None
    assert float(ratio[1]) == pytest.approx(float(together) / float(alone), rel=0.02)


def test_questions_about_a_video_share_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lmms_found: str | None
) -> None:
    if lmms_found:
        pytest.skip("test_bench_lmms.py runs the same command, with lmms-eval beside it")
    words = ["bench", "engine", "--workload", "video", "--limit", "1", "--techniques", "none"]
    assert run_cli([*words, "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 media shown" in said
    assert "10 samples of video" in said


def test_scaling_is_measured_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.bench.scaling.REPEATS", 1)
    plot = tmp_path / "scaling.png"
    words = [
        "bench",
        "scaling",
        "--model",
        "tiny",
        "--samples",
        "2,4",
        "--questions",
        "1,2",
        "--variants",
        "1,2",
    ]
    code = run_cli([*words, "--folder", str(tmp_path), "--plot", str(plot)])
    assert code in (0, 1)  # what a machine under load measures is no matter of this test
    said = capsys.readouterr().out
    assert len(re.findall(r"x linear growth", said)) == 6
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_memory_of_a_video_all_of_whose_frames_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "memory", "--frames", "24", "--size", "320", "180", "--visual-tokens", "600"]
    assert run_cli([*words, "--folder", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    shown = re.search(r"24 frames of 320x180, .* ([\d,]+) of them visual", said)
    assert shown is not None
    assert 300 <= int(shown[1].replace(",", "")) <= 600
    assert re.search(r"largest process: [\d.]+ GiB", said)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["engine", "--model", "random:qwen2"], "Did you mean `qwen2_5_vl`"),
        (["engine", "--workload", "image"], "Did you mean `images`"),
        (["engine", "--model", "mock"], "nothing to measure"),
        (["engine", "--lockstep", "vanila"], "Did you mean `vanilla`"),
        (["memory", "--model", "mock"], "nothing to measure"),
        (["memory", "--frames", "0"], "x>=2"),
        (["memory", "--size", "0", "10"], "x>=64"),
        (["scaling", "--samples", "10"], "at least two numbers"),
        (["scaling", "--variants", "1,99"], "8 variants"),
    ],
)
def test_mistakes(words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_cli(["bench", *words, "--folder", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err


def test_lmms_eval_that_is_not_there_is_told_and_the_rest_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "engine", "--tasks", "mini_chartqa", "--limit", "2", "--techniques", "none"]
    assert run_cli([*words, "--lmms-python", str(tmp_path / "none")]) == 0
    said = capsys.readouterr().out
    assert "can't be started" in said
    assert "naive" in said


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_random_models_are_made_once_and_are_the_same_everywhere(kind: str, tmp_path: Path) -> None:
    folders = [random_model(f"random:{kind}", tmp_path / each) for each in ("a", "b")]
    assert len({describe_model(folder).fingerprint for folder in folders}) == 1
    assert random_model("tiny", tmp_path) == "tiny"


def test_made_media_are_the_same_everywhere(tmp_path: Path) -> None:
    for name in ("images", "video"):
        made: list[dict[str, str]] = []
        for folder in (tmp_path / "a", tmp_path / "b"):
            folder.mkdir(exist_ok=True)
            questions = bench_prompts((), 2, name, None, folder)
            assert len(questions) == 2 * WORKLOADS[name].questions
            refs = [part for each in questions for part in each.parts if isinstance(part, MediaRef)]
            files = {Path(str(ref.path)) for ref in refs}
            # Digests: of whole files pytest would look for what differs, line by line, for minutes.
            made.append({each.name: sha256(each.read_bytes()).hexdigest() for each in files})
        assert len(made[0]) == 2
        assert made[0] == made[1]


def test_stored_runs_are_measured_stage_by_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [generate_run(tmp_path / f"run{number}", 40, f"made{number}").path for number in range(2)]
    for run in runs:
        outcome = score_run(run)
        assert (len(outcome.records), outcome.missing, outcome.failed) == (40, 0, 0)
    for name, prepared in STAGES.items():
        prepared(runs, tmp_path)()
        assert len(score_run(runs[0]).records) == 40, name
    cost = stage_cost("read", runs, tmp_path)
    assert cost.seconds > 0
    assert cost.peak >= cost.before


def test_what_is_printed_of_stored_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.bench.store.stage_cost", lambda stage, runs, folder: Cost(2.0, 1.5, 1, 2**20))
    words = ["--records", "20,40", "--runs", "2", "--table", "1", "--folder", str(tmp_path)]
    assert run_cli(["bench", "store", *words]) == 0
    said = capsys.readouterr().out
    assert "2 runs of 20 records" in said
    assert re.search(r"compare +1\.0 x reading +20 records/s +1\.5 s CPU +1 MiB", said)
    assert re.search(
        r"2\.0 times the records take\n(.*\n)* +compare +1\.0 times the CPU time +1\.0 times", said
    )
    assert re.search(
        r"a table of 11 systems, 25 benchmarks, 1 samples of each\n(.*\n)* +report +1\.0 x", said
    )
    assert "resume of a finished run: 1.00 x scoring it" in said
