"""``from evalkit import evaluate, compare`` in scripts as people write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fork_server
import pytest

from evalkit.store import RunDir

SCRIPT = """
from evalkit import compare, evaluate
outcome = evaluate("mock:fixed=B", "mini_video", limit=5, output="out", workers=1)
cell = compare("out").cells["mock:fixed=B@mrope"]["mini_video"]
print("RESULT", len(outcome.records), outcome.missing, cell.estimate.n)
"""


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(script)
    return subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True)


def test_a_script_with_a_main_guard(tmp_path: Path) -> None:
    lines = "".join(f"    {line}\n" for line in SCRIPT.strip().splitlines())
    done = run(tmp_path, f"if __name__ == '__main__':\n{lines}")
    assert done.returncode == 0, done.stderr
    assert "RESULT 5 0 5" in done.stdout


def test_a_script_without_one_still_gets_its_answers(tmp_path: Path) -> None:
    """Each of its pools finds out by two tries, not five (21 imports), that processes can't import it."""
    done = run(tmp_path, f"print('IMPORTED', flush=True){SCRIPT}")
    assert done.returncode == 0, done.stderr
    assert "RESULT 5 0 5" in done.stdout
    assert "if __name__ == '__main__':" in done.stderr
    assert 1 < done.stdout.count("IMPORTED") < 15


def test_a_mistake_is_an_exception_with_the_three_parts() -> None:
    from evalkit import evaluate
    from evalkit.core.errors import UsageError

    with pytest.raises(UsageError, match="Did you mean `mini_video`") as caught:
        evaluate("mock", "mini_vide")
    assert caught.value.what
    assert caught.value.why
    assert caught.value.fix


def test_python_and_the_command_line_leave_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit import evaluate

    monkeypatch.chdir(tmp_path)
    outcome = evaluate("mock:fixed=B", ["mini_video", "mini_docvqa"], limit=5, output="python", workers=0)
    words = ["run", "--model", "mock:fixed=B", "--tasks", "mini_video,mini_docvqa", "--limit", "5"]
    done = fork_server.evalkit(*words, "--output", "typed", "--workers", "0", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = [json.loads((tmp_path / name / "scores.json").read_text()) for name in ("python", "typed")]
    for found in scores:
        for arm in found["arms"]:
            del arm["run"]
    assert scores[0] == scores[1]
    records = [
        [each.without_timings() for each in RunDir.open(tmp_path / name).records()]
        for name in ("python", "typed")
    ]
    assert records[0] == records[1] == [each.without_timings() for each in outcome.records]
    manifests = [RunDir.open(tmp_path / name).manifest() for name in ("python", "typed")]
    assert manifests[0].arms == manifests[1].arms
    asked = [
        [each.model_copy(update={"invocation": ""}) for each in found.evaluations] for found in manifests
    ]
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": -1}, "greater than or equal to 0"),
        ({"workers": "many"}, "whole number"),
        ({"audit": "high"}, "must be a number"),
        ({"audit": float("inf")}, "finite"),
        ({"limit": 0}, "greater than or equal to 1"),
        ({"limit": True}, "whole number"),
        ({"mc_logits": "yes"}, "true or false"),
        ({"data_root": 3}, "must be a text"),
        ({"devices": {"a": 1}}, "tuple"),
        ({"limt": 3}, "Did you mean `limit`"),
        ({"rate_limits": {"unparsd": 0.5}}, "Did you mean `unparsed`"),
        ({"rate_limits": {"unparsed": 7}}, "less than or equal to 1"),
    ],
)
def test_options_of_a_wrong_type_are_refused_before_anything_runs(
    options: dict[str, object], said: str
) -> None:
    from evalkit import evaluate
    from evalkit.core.errors import UsageError

    with pytest.raises(UsageError, match=said):
        evaluate("mock", "mini_video", **options)


def test_a_plan_says_what_the_run_of_the_same_spec_does(tmp_path: Path) -> None:
    from evalkit import api
    from evalkit.config.run_spec import RunSpec

    spec = RunSpec(
        models="mock:fixed=B", tasks="mini_video", limit=3, output=str(tmp_path / "run"), workers=0
    )
    planned = api.plan(spec)
    assert not (tmp_path / "run").exists()
    result = api.run(spec)
    assert planned["output"] == str(result.run.path)
    (entry,) = planned["plan"]
    first = min(result.records, key=lambda record: record.index)
    assert (entry["arm"], entry["task"], entry["samples"]) == (first.arm, first.task, len(result.records))
    assert entry["errors"] == []
    assert entry["prompt"] in {record.prompt for record in result.records}


def test_a_file_is_scored_by_whoever_wrote_it(tmp_path: Path) -> None:
    from evalkit import api
    from evalkit.core.errors import UsageError

    ours = tmp_path / "predictions.jsonl"
    ours.write_text(json.dumps({"task": "docvqa_val", "prediction": "42", "reference": ["42"]}) + "\n")
    block = api.score_file(ours)["docvqa_val"]
    assert (block["n"], block["scores"]["anls"]) == (1, 1.0)
    theirs = tmp_path / "a_samples_docvqa_val.jsonl"
    line = {"doc_id": 0, "target": "['42']", "filtered_resps": "42", "input": "What is it?"}
    theirs.write_text(json.dumps(line) + "\n")
    with pytest.raises(UsageError, match="without `--task`"):
        api.score_file(theirs)
    found = api.score_file(theirs, "docvqa_val", references="file")["docvqa_val"]
    assert (found["n"], found["scores"]["anls"], found["rates"]["missing"]) == (1, 1.0, 0.0)
    assert set(found["rates"]) == {*block["rates"], "missing"}
    assert any("references, questions and options are the file's own" in note for note in found["notes"])


def test_the_parameters_are_the_options_of_a_run() -> None:
    """By name, with the same defaults, with types, and documented one by one."""
    import inspect

    from evalkit import evaluate
    from evalkit.config.run_spec import RunSpec

    parameters = dict(inspect.signature(evaluate).parameters)
    del parameters["reporter"]
    assert set(parameters) == set(RunSpec.model_fields)
    assert inspect.signature(evaluate).return_annotation == "RunResult"
    for name, parameter in parameters.items():
        field = RunSpec.model_fields[name]
        assert parameter.kind is not inspect.Parameter.VAR_KEYWORD
        assert parameter.annotation is not inspect.Parameter.empty
        assert f"\n    {name}: " in (inspect.getdoc(evaluate) or "")
        if not field.is_required():
            default = field.get_default(call_default_factory=True)
            assert (parameter.default or default) == default, name


def test_results_are_short_in_a_terminal_and_tables_in_a_notebook(tmp_path: Path) -> None:
    import evalkit

    result = evalkit.evaluate(
        ["mock:fixed=A", "mock:fixed=B"], "mini_video", limit=4, output=tmp_path / "run", workers=0
    )
    found = evalkit.compare(tmp_path / "run", baseline="mock:fixed=A@mrope")
    advice = evalkit.advise(tmp_path / "run", weights={"video": 2})
    for each in (result, found, advice):
        assert len(repr(each)) < 300
        assert "\n" not in repr(each)
        assert "<table" in each._repr_html_()
        assert "mock:fixed=B@mrope" in each._repr_html_()
        assert len(each.to_pandas()) >= 2
    assert "8 answers, 0 failed, 0 missing" in repr(result)
    assert repr(found) == "<Comparison of mock:fixed=A@mrope, mock:fixed=B@mrope on mini_video>"


def test_what_the_commands_do_is_at_the_top(tmp_path: Path) -> None:
    """`evalkit.report` is a function, whatever was imported before, and a room of the package too."""
    import evalkit
    import evalkit.report.tables
    from evalkit import advise, compare, evaluate, report, score
    from evalkit.core.errors import UsageError
    from evalkit.report.tables import markdown

    result = evaluate("mock:fixed=B", "mini_video", limit=3, output=tmp_path / "run", workers=0)
    assert "mini_video" in markdown(compare(tmp_path / "run"))
    assert evalkit.report is report
    assert "mini_video" in report(tmp_path / "run", output=tmp_path / "page.html", media=0).read_text()
    assert advise(tmp_path / "run").ranked[0].arm == "mock:fixed=B@mrope"
    scored = score(tmp_path / "run")
    assert getattr(scored, "records", None) == result.records
    lines = {"task": "docvqa_val", "prediction": "42", "reference": ["42"]}
    (tmp_path / "mine.jsonl").write_text(json.dumps(lines) + "\n")
    by_task = score(tmp_path / "mine.jsonl")
    assert isinstance(by_task, dict)
    assert by_task["docvqa_val"]["scores"]["anls"] == 1.0
    with pytest.raises(UsageError):
        score(tmp_path / "nothing")
    assert set(evalkit.__all__) <= set(dir(evalkit))
    for name in evalkit.__all__:
        assert getattr(evalkit, name) is not None
