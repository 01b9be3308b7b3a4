"""Whatever a file, a folder or a machine is like: one message with what, why and fix, and the exit code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mirrors_image
import pyarrow.parquet as pq
import pytest

from evalkit.cli import run_cli
from evalkit.store import Manifest, RunDir

RUN = ("run", "--model", "mock:fixed=B", "--tasks", "mini_chartqa", "--limit", "3", "--workers", "0")
JUNK: dict[str, bytes | None] = {
    "a folder": None,
    "bytes": bytes(range(256)),
    "cut": b'{"a": 1, "b": [',
    "deep": b"[" * 100_000,
    "deep objects": b'{"a": ' * 20_000 + b"1" + b"}" * 20_000,
    "nothing": b"",
    "a number": b"3",
    "null": b"null",
    "a list": b"[1, 2]",
    "not finite": b'{"a": NaN, "arms": 3}',
    "UTF-16": "{}".encode("utf-16"),
}


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = run_cli([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err


def put(path: Path, content: bytes | None) -> Path:
    if path.is_dir():
        shutil.rmtree(path)
    if content is None:
        path.unlink(missing_ok=True)
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return path


def one_message(code: int, err: str) -> None:
    assert code in (1, 2, 3, 4), err
    assert err.count("evalkit: ") == 1, err
    assert "why: " in err
    assert "fix: " in err


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    from evalkit.zoo import resolve

    return resolve("tiny", "mrope")


@pytest.mark.parametrize("kind", JUNK)
def test_files_that_commands_are_given(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (
        ("score", "junk"),
        ("leaderboard", "check", "junk", "junk"),
        ("compare", "junk"),
        ("ci", "check", "junk"),
        ("run", "--model", "mock:answers=junk", "--tasks", "mini_chartqa", "--limit", "1"),
        ("run", "--model", "junk", "--tasks", "mini_chartqa"),
        ("run", "--model", "mock", "--tasks", "chartqa", "--data-root", "junk"),
        ("tasks", "--tasks-dir", "tasks"),
    ):
        put(tmp_path / "junk", JUNK[kind])
        put(tmp_path / "tasks/own.py", JUNK[kind])
        if words[0] == "tasks" and JUNK[kind] is None:
            continue  # a folder of tasks may have folders
        code, _, err = said(capsys, *words)
        one_message(code, err)


@pytest.mark.parametrize("kind", JUNK)
def test_files_of_a_mirror(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("test-00000-of-00001.parquet", "test.jsonl"):
        root = tmp_path / name.replace(".", "-")
        put(root / "lmms-lab-encoder/ChartQA/data" / name, JUNK[kind])
        words = (
            "run",
            "--model",
            "mock",
            "--tasks",
            "chartqa",
            "--data-root",
            root,
            "--output",
            root / "out",
        )
        code, _, err = said(capsys, *words, "--workers", "0")
        one_message(code, err)
        assert code == 4
        assert "lmms-lab-encoder/ChartQA" in err


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"]
)
@pytest.mark.parametrize("kind", ["bytes", "cut", "a number", "null", "a list", "a folder", "deep"])
def test_files_of_a_checkpoint(
    kind: str, name: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "m"
    shutil.copytree(checkpoint, folder)
    put(folder / name, JUNK[kind])
    words = ("--tasks", "mini_chartqa", "--limit", "1", "--workers", "0", "--output", tmp_path / "out")
    code, _, err = said(capsys, "run", "--model", folder, *words)
    one_message(code, err)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False}, "optimum"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"}, "gptqmodel"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "hqq", "quant_config": {}}, "hqq"),
        ({"quant_method": "of their own"}, "of their own"),
    ],
    ids=str,
)
def test_a_quantised_checkpoint_says_what_is_missing(
    settings: dict[str, Any],
    named: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The reason is transformers' own."""
    folder = tmp_path / "m"
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    words = ("--tasks", "mini_chartqa", "--limit", "1", "--workers", "0", "--output", tmp_path / "out")
    code, _, err = said(capsys, "run", "--model", folder, *words)
    one_message(code, err)
    assert code == 4
    assert "(quantised by `" in err
    assert named.lower() in err.lower()


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, "--output", "/dev/null/out"),
        ("report", "run", "-o", "/dev/full"),
        ("report", "run", "-o", "/dev/null/page.html"),
        ("leaderboard", "run", "--csv", "/dev/null/lb.csv"),
        ("leaderboard", "run", "--csv", "lb.csv", "--html", "/dev/full"),
    ],
    ids=lambda words: " ".join(words[-2:]),
)
def test_places_that_can_t_be_written(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, *RUN, "--output", "run")[0] == 0
    code, _, err = said(capsys, *words)
    one_message(code, err)
    assert code == 4


@pytest.mark.parametrize("tasks", ["mini_docvqa", "mini_video", "chartqa"])
def test_a_cache_that_can_t_be_written(
    tasks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrors_image.build_chartqa_drawn_mirror(tmp_path)
    monkeypatch.setenv("EVALKIT_CACHE", "/dev/null/cache")
    words = ("run", "--model", "mock", "--tasks", tasks, "--limit", "1", "--data-root", tmp_path)
    code, _, err = said(capsys, *words, "--output", tmp_path / "out", "--workers", "0")
    one_message(code, err)
    assert code == 4
    assert "/dev/null/cache" in err
    assert "EVALKIT_CACHE" in err


@pytest.mark.parametrize(("error", "fix"), [("ENOSPC", "free some space"), ("EROFS", "another place")])
def test_a_full_disk_is_told(
    error: str,
    fix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import errno
    import os

    number = getattr(errno, error)

    def full(*words: Any) -> None:
        raise OSError(number, os.strerror(number), "journal")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = said(capsys, *RUN, "--output", tmp_path / "out")
    one_message(code, err)
    assert code == 4
    assert os.strerror(number) in err
    assert fix in err


def test_a_model_s_slash_stays_out_of_a_submission_s_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirrors_image.build_docvqa_test_mirror(tmp_path / "data")
    words = ("run", "--model", "mock:fixed=a/b", "--model", "mock:fixed=a%2Fb", "--tasks", "docvqa_test")
    more = ("--data-root", tmp_path / "data", "--output", tmp_path / "out", "--workers", "0")
    code, _, err = said(capsys, *words, *more)
    assert code == 0, err
    names = sorted(path.name for path in (tmp_path / "out/submissions").rglob("*"))
    assert names == [
        "docvqa_test-mock%3Afixed=a%252Fb@mrope.json",
        "docvqa_test-mock%3Afixed=a%2Fb@mrope.json",
    ]


def test_an_infinite_coordinate_is_no_end_of_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = ("[1e999 0 1 1]", "[1e308 1e308 1e308 1e308]", "[0 0 1e308 1e308]", "\ud800")
    model = [word for text in texts for word in ("--model", f"mock:fixed={text}")]
    words = ("--tasks", "mini_refcoco", "--limit", "2", "--workers", "0", "--output", "out")
    code, _, err = said(capsys, "run", *model, *words, "--rate-limit", "unparsed=1")
    assert code == 0, err
    code, out, err = said(capsys, "compare", "out", "--json")
    assert code == 0, err
    json.loads(out, parse_constant=lambda name: pytest.fail(f"JSON has no {name}"))
    records = (tmp_path / "out/records.jsonl").read_text(errors="surrogatepass")
    for line in records.splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"JSON has no {name}"))
    # As an earlier version stored it.
    old = [json.loads(line) for line in records.splitlines()]
    for record in old:
        del record["crc32"]
        record["score"]["parsed"] = [float("inf"), 0.0, float("nan"), 1.0]
    (tmp_path / "out/records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in old))
    code, _, err = said(capsys, "report", "out", "-o", "page.html")
    assert code == 0, err
    page = (tmp_path / "page.html").read_text()
    data = page.partition('id="data">')[2].partition("</script>")[0]
    json.loads(data, parse_constant=lambda name: pytest.fail(f"JSON has no {name}"))


LINES: list[dict[str, Any]] = [
    {
        "task": "refcoco_val",
        "prediction": "[1,2,3,4]",
        "reference": [1, 2, 10**400, 4],
        "box_space": "abs",
    },
    {"task": "charades_sta", "prediction": "1 - 2", "reference": [1, 10**400]},
    {"task": "charades_sta", "prediction": "1 - 2", "reference": [1, None]},
    {
        "task": "mathvista_testmini",
        "prediction": "1",
        "reference": "1",
        "group": {"question_type": "x"},
    },
    {"task": "hallusionbench", "prediction": "yes", "reference": "1", "group": {}},
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line['task']} {str(line['reference'])[:12]}")
def test_predictions_that_can_t_be_scored_name_their_line(
    line: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(line))
    code, _, err = said(capsys, "score", tmp_path / "p.jsonl")
    one_message(code, err)
    assert code == 2
    assert "line 1 can't be scored" in err


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ("dataset=3", "dataset"),
        ("metric=3", "metric"),
        ("max_new_tokens='a'", "max_new_tokens"),
        ("id=7", "id"),
    ],
)
def test_a_task_file_of_wrong_types(
    changed: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {
        "name": "'own'",
        "category": "'image'",
        "title": "'x'",
        "dataset": "HubDataset('a/b')",
        "prompt": "len",
        "reference": "len",
        "metric": "Anls()",
        "max_new_tokens": "4",
        "id": "str",
        "cluster": "str",
    }
    key, _, value = changed.partition("=")
    declared = ", ".join(f"{each}={text}" for each, text in {**fields, key: value}.items())
    head = "from evalkit.task import HubDataset, Task\nfrom evalkit.metrics.anls import Anls\n"
    put(tmp_path / "own.py", f"{head}task = Task({declared})\n".encode())
    code, _, err = said(capsys, "tasks", "show", "own", "--tasks-dir", tmp_path)
    one_message(code, err)
    assert code == 2
    assert f"`{name}" in err or name in err


def test_png_comments_may_be_of_any_size(tmp_path: Path) -> None:
    import io

    from PIL import Image, PngImagePlugin

    from evalkit.core.types import MediaRef
    from evalkit.data.images import image_size, load_image

    picture = Image.effect_noise((48, 32), 90).convert("RGB")
    for kind in ("compressed", "plain", "international"):
        info = PngImagePlugin.PngInfo()
        if kind == "international":
            info.add_itxt("workflow", "x" * 3_000_000, zip=True)
        else:
            for number in range(1 if kind == "compressed" else 70):
                info.add_text(f"note {number}", "x" * 2_000_000, zip=kind == "compressed")
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", pnginfo=info, icc_profile=b"x" * 100)
        (tmp_path / "a.png").write_bytes(buffer.getvalue())
        for ref in (
            MediaRef("image", data=buffer.getvalue()),
            MediaRef("image", path=str(tmp_path / "a.png")),
        ):
            assert image_size(ref) == (48, 32)
            assert load_image(ref).tobytes() == picture.tobytes()


def test_an_empty_shard_of_many_is_passed_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mirrors_image.build_chartqa_drawn_mirror(tmp_path)
    folder = tmp_path / "lmms-lab-encoder/ChartQA/data"
    (path,) = folder.glob("*.parquet")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    words = ("run", "--model", "mock", "--tasks", "chartqa", "--data-root", tmp_path, "--workers", "0")
    code, _, err = said(capsys, *words, "--output", tmp_path / "out")
    one_message(code, err)
    assert code == 4
    assert "split `test`" in err
    assert "it is empty: it has no rows" in err
    assert "BatchSize" not in err


def test_scoring_a_killed_run_with_tasks_of_lmms_eval_needs_lmms_eval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its answers were never judged, and only lmms-eval can."""
    assert said(capsys, *RUN, "--output", tmp_path / "out")[0] == 0

    def of_lmms_eval(manifest: Manifest) -> Manifest:
        (entry,) = manifest.invocations
        (asked,) = manifest.evaluations
        task = asked.task.model_copy(update={"name": "lmms:mme", "scored_by": "lmms-eval"})
        entry = entry.model_copy(update={"spec": entry.spec.with_options(lmms_python="/dev/null/python")})
        return manifest.with_invocation(entry).with_evaluations([asked.model_copy(update={"task": task})])

    RunDir(tmp_path / "out").update(of_lmms_eval, "now")
    code, _, err = said(capsys, "score", tmp_path / "out")
    one_message(code, err)
    assert code == 4
    assert "--lmms-python" in err
