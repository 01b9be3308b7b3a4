"""Our side of the pipe to lmms-eval's server, against a process that isn't lmms-eval."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import fork_server
import pytest

from evalkit.integrations.lmms_eval.server import Unsupported, cut, new_tokens, parts_of
from evalkit.report.results import limits_of
from evalkit.store import RunDir

# Three documents; its score is the share of answers that are "B", its figures are not means.
FAKE = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    op = request.pop("op")
    {before}
    if op == "open":
        reply = {{"ok": {{"version": "9.9", "tasks": [request["task"]]}}}}
    if op == "describe":
        reply = {{"ok": {{"kind": {kind!r}, "docs": 3, "metrics": ["good"], "max_new_tokens": 4,
            "until": None, "sampled": False, "repo": "own/data", "config": "", "split": "test",
            "version": "1"}}}}
    if op == "render":
        parts = [{{"type": "text", "text": "What?"}}]
        docs = [{{"id": n, "parts": parts, "reference": "B"}} for n in request["docs"]]
        reply = {{"ok": docs}}
    if op == "score":
        values = [[n, {{"good": float(text == "B")}}] for n, text in request["answers"]]
        figures = {{"good": 100 * sum(each["good"] for _, each in values) / len(values), "other/strict": 7.0}}
        reply = {{"ok": {{"figures": figures, "values": values}}}}
    print(json.dumps(reply), flush=True)
"""


def fake(folder: Path, before: str = "pass", kind: str = "generate_until") -> Path:
    """An interpreter that speaks the protocol, whatever script it is given."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\n" + FAKE.format(before=before, kind=kind))
    path.chmod(0o755)
    return path


def run(folder: Path, *words: str, model: str = "mock:fixed=B", tasks: str = "lmms:some_task") -> Any:
    return fork_server.evalkit(
        "run", "--model", model, "--tasks", tasks, "--lmms-python", str(folder / "python"),
        "--output", str(folder / "run"), "--workers", "0", *words,
    )  # fmt: skip


def test_scores_are_stored_and_shown_without_lmms_eval(tmp_path: Path) -> None:
    fake(tmp_path)
    done = run(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    cell = json.loads(done.stdout)["arms"][0]["tasks"]["lmms:some_task"]
    assert (cell["value"], cell["n"]) == (100.0, 3)
    assert cell["figures"] == {"good": 100.0, "other/strict": 7.0}
    column = json.loads(done.stdout)["columns"][0]
    assert column["metric"] == "good by lmms-eval 9.9"
    assert column["limits"] == [0.0, 100.0]
    (tmp_path / "python").unlink()
    for words in (("score", str(tmp_path / "run")), ("compare", str(tmp_path / "run"))):
        again = fork_server.evalkit(*words, "--json")
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["arms"][0]["tasks"]["lmms:some_task"] == cell
    assert [record.score.value for record in RunDir.open(tmp_path / "run").records() if record.score] == [
        1.0
    ] * 3


def test_a_second_command_runs_only_what_is_missing(tmp_path: Path) -> None:
    fake(tmp_path)
    assert run(tmp_path, "--limit", "1").returncode == 0
    assert run(tmp_path).returncode == 0
    lines = [path.read_text().splitlines() for path in (tmp_path / "run/journal").iterdir()]
    assert sum(map(len, lines)) == 3


def test_beside_tasks_of_our_own(tmp_path: Path) -> None:
    fake(tmp_path)
    done = run(tmp_path, "--limit", "2", "--json", tasks="mini_docvqa,lmms:some_task")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["arms"][0]["tasks"]) == ["mini_docvqa", "lmms:some_task"]


@pytest.mark.parametrize(
    ("before", "code", "why"),
    [
        ("sys.exit(3)", 4, "ended with code 3"),
        ("print('no JSON', flush=True); continue", 4, "lmms-eval ended"),
        ("print('something to know', file=sys.stderr); sys.exit(1)", 4, "something to know"),
        ('print(\'{"error": "ValueError: no data"}\', flush=True); continue', 4, "ValueError: no data"),
        ('print(\'{"error": "the task called sys.exit(0)"}\', flush=True); continue', 4, "sys.exit(0)"),
        ('print(\'{"unsupported": "audio in a prompt"}\', flush=True); continue', 2, "audio in a prompt"),
        (
            "print(json.dumps({'error': \"No module named 'lmms_eval'\"}), flush=True); continue",
            4,
            "has no lmms-eval",
        ),
        (
            'print(\'{"ok": {"unknown": true, "near": ["mmmu_val"], "count": 1985}}\', flush=True); continue',
            2,
            "Did you mean `lmms:mmmu_val`?",
        ),
    ],
)
def test_what_goes_wrong_is_said(tmp_path: Path, before: str, code: int, why: str) -> None:
    if "no JSON" in before:
        before = "print('no JSON', flush=True); sys.exit(0)"
        why = "ended with code 0"
    fake(tmp_path, before)
    done = run(tmp_path)
    assert done.returncode == code, done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_that_is_not_generated_is_refused(tmp_path: Path) -> None:
    fake(tmp_path, kind="loglikelihood")
    done = run(tmp_path)
    assert done.returncode == 2
    assert "loglikelihood" in done.stderr


def test_parts_of_messages(tmp_path: Path) -> None:
    from PIL import Image

    image = Image.new("RGB", (4, 3), (1, 2, 3))
    content = [
        {"type": "image", "url": image},
        {"type": "text", "text": "and"},
        {"type": "video", "url": "file:///a.mp4", "start_time": 1.0, "end_time": 2.5},
        {"type": "video", "url": {"path": "/b.mp4", "video_start": 3, "video_end": 4}},
    ]
    parts = parts_of([{"role": "user", "content": content}], str(tmp_path))
    with Image.open(parts[0]["path"]) as stored:
        assert stored.tobytes() == image.tobytes()
    assert parts[1:] == [
        {"type": "text", "text": "and"},
        {"type": "video", "path": "/a.mp4", "start": 1.0, "end": 2.5},
        {"type": "video", "path": "/b.mp4", "start": 3, "end": 4},
    ]
    again = parts_of([{"role": "user", "content": [{"type": "image", "url": image}]}], str(tmp_path))
    assert again[0] == parts[0]
    assert len(list(tmp_path.iterdir())) == 1
    assert parts_of([{"role": "user", "content": "Hm?"}], "") == [{"type": "text", "text": "Hm?"}]
    for messages in (
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hm?"}],
        [{"role": "user", "content": [{"type": "audio", "url": "a.wav"}]}],
        [],
    ):
        with pytest.raises(Unsupported):
            parts_of(messages, str(tmp_path))


def test_stop_strings_and_limits() -> None:
    assert cut("one\n\ntwo", ["\n\n", ""]) == "one"
    assert cut("one\ntwo", "\n") == "one"
    assert cut("one", None) == "one"
    assert (new_tokens({}), new_tokens({"max_new_tokens": 7})) == (128, 7)
    assert [limits_of(figures)[1] for figures in ([0.3, 1.0], [44.0], [672.0], [])] == [
        1.0,
        100.0,
        672.0,
        1.0,
    ]
    assert os.sep  # the child imports nothing of evalkit
    source = Path(sys.modules[parts_of.__module__].__file__ or "").read_text()
    assert "import evalkit" not in source
    assert "from evalkit" not in source
