"""Logs that inspect_ai's own `eval` wrote, and ours read by inspect_ai.

Needs inspect_ai, whose dependencies don't fit beside ours: `make inspect` builds an environment with it, and
`test_inspect_environment.py` runs this file there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import example_task
import pytest

pytest.importorskip("inspect_ai", reason="needs inspect_ai: `make inspect`")

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalSampleLimit, ProvenanceData, read_eval_log, write_eval_log
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    ModelAPI,
    ModelOutput,
    modelapi,
)
from inspect_ai.scorer import Score, Target, accuracy, match, mean, scorer
from inspect_ai.solver import TaskState, generate

from evalkit import evaluate
from evalkit.api import export_inspect, import_results
from evalkit.cli import run_cli
from evalkit.core.errors import UsageError
from evalkit.store import RunDir

SAYING: list[Callable[[str], ModelOutput]] = []


@modelapi(name="canned")
class Canned(ModelAPI):
    """A model of Inspect that says what the last function makes of the question; needs no network."""

    async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
        return SAYING[-1](input[-1].text)

    async def count_text_tokens(self, text: str) -> int:
        return len(text)  # its own way downloads a vocabulary


@scorer(metrics={"exact": [mean()], "length": [mean()]})
def several() -> Any:
    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion
        return Score(value={"exact": float(text == target.text), "length": float(len(text))})

    return score


@scorer(metrics=[accuracy()])
def words() -> Any:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value="C" if state.output.completion == target.text else "I")

    return score


def said(text: str | list[Any], stop: str = "stop") -> ModelOutput:
    message = ChatMessageAssistant(content=text)
    return ModelOutput(model="canned", choices=[ChatCompletionChoice(message=message, stop_reason=stop)])


def asked() -> list[Sample]:
    """Our questions with their pictures, as Inspect's users write them."""
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 20
    return [
        Sample(
            id=row["id"],
            input=[
                ChatMessageUser(
                    content=[ContentImage(image=picture), ContentText(text=row["question"] + " " * 200)]
                )
            ],
            target=row["answer"],
        )
        for row in example_task.rows()
    ]


def log(
    folder: Path,
    say: Callable[[str], ModelOutput],
    scorers: Any = None,
    samples: list[Sample] | None = None,
    **options: Any,
) -> Path:
    task = Task(
        dataset=MemoryDataset(samples or asked()), solver=generate(), scorer=scorers or words(), name="theirs"
    )
    SAYING.append(say)
    found = eval(
        task, model="canned/talker", log_dir=str(folder), display="none", fail_on_error=False, **options
    )
    return Path(found[0].location.removeprefix("file://"))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_task.write(tmp_path_factory.mktemp("example_task"))


def imported(path: Path, tasks: Path, folder: Path, **options: Any) -> Any:
    where = {"output": folder / "run", "tasks_dirs": (str(tasks),)}
    return import_results(path, task=example_task.NAME, model="m", **where, **options)


def notes(found: Any) -> str:
    return "\n".join(found.results.evaluations[0].imported.notes)


def test_answers_come_in_with_their_reasoning_apart(tmp_path: Path, tasks: Path) -> None:
    def say(question: str) -> ModelOutput:
        if "number 3" in question:
            return said([ContentReasoning(reasoning="hm"), ContentText(text="42")])
        if "number 4" in question:
            return said("4" * 300, stop="max_tokens")
        if "number 5" in question:
            raise RuntimeError("the model fell over")
        if "number 7" in question:
            both = said("170")
            return both.model_copy(update={"choices": [*both.choices, *said("no").choices]})
        return said("42")

    path = log(tmp_path, say)
    found = imported(path, tasks, tmp_path)
    assert (found.missing, found.failed, len(found.records)) == (0, 1, 12)
    texts = {record.sample_id: record.raw for record in found.records}
    assert texts["q-3"] == "42"
    assert texts["q-4"] == "4" * 300
    assert "truncated" in found.records[4].flags
    assert "the model fell over" in str(found.records[5].error)
    assert found.records[0].cluster_id == "chart-0.png"
    assert example_task.rows()[0]["question"] in found.records[0].prompt
    assert "iVBOR" not in found.records[0].prompt
    assert "1 of several completions the first is scored" in notes(found)
    assert "`words` differs from our relaxed_accuracy in 0 of 11 answers" in notes(found)
    source = found.results.evaluations[0].imported
    assert (source.source.startswith("Inspect 0."), source.task, source.model) == (
        True,
        "theirs",
        "canned/talker",
    )
    assert run_cli(["score", str(path), "--task", example_task.NAME, "--tasks-dir", str(tasks)]) == 0


def test_samples_that_inspect_cut_off_or_invalidated(tmp_path: Path, tasks: Path) -> None:
    path = log(tmp_path, lambda question: said("42"))
    read = read_eval_log(str(path))
    assert read.samples is not None
    by_id = {sample.id: sample for sample in read.samples}
    by_id["q-0"].limit = EvalSampleLimit(type="time", limit=1)
    by_id["q-3"].invalidation = ProvenanceData(author="somebody", reason="a wrong picture")
    write_eval_log(read.model_copy(update={"invalidated": True}), str(tmp_path / "edited.eval"))
    found = imported(tmp_path / "edited.eval", tasks, tmp_path)
    assert "truncated" in found.records[0].flags
    assert found.records[3].error == "Inspect calls the sample invalidated"
    assert (found.failed, "Inspect calls the log invalidated" in notes(found)) == (1, True)


def test_scores_that_are_mappings_are_compared_one_by_one(tmp_path: Path, tasks: Path) -> None:
    found = imported(log(tmp_path, lambda question: said("42"), several()), tasks, tmp_path)
    assert "`several.exact` differs from our relaxed_accuracy in 0 of 12" in notes(found)
    assert "`several.length` differs from our relaxed_accuracy in 12 of 12" in notes(found)


def test_of_several_epochs_one_is_chosen(tmp_path: Path, tasks: Path) -> None:
    count = iter(range(1000))
    path = log(tmp_path, lambda question: said(str(next(count))), match(), epochs=2)
    with pytest.raises(UsageError, match="the log has 2 epochs"):
        imported(path, tasks, tmp_path)
    with pytest.raises(UsageError, match="epoch 3"):
        imported(path, tasks, tmp_path, epoch=3)
    found = imported(path, tasks, tmp_path, epoch=2)
    theirs = {
        sample.id: sample.output.completion
        for sample in read_eval_log(str(path)).samples
        if sample.epoch == 2
    }
    assert {record.sample_id: record.raw for record in found.records} == theirs
    assert "12 answers were left out, since they are of other epochs" in notes(found)


def test_numbered_samples_of_other_data_are_refused(tmp_path: Path, tasks: Path) -> None:
    """Inspect numbers samples that have no id of their own."""
    samples = [Sample(input="What is the capital of France?", target="Paris") for _ in range(12)]
    path = log(tmp_path, lambda question: said("Paris"), samples=samples)
    with pytest.raises(UsageError, match="the data have no such sample"):
        imported(path, tasks, tmp_path)
    renamed = [
        Sample(id=f"q-{n}", input=f"How many birds are in picture {n}?", target="7") for n in range(12)
    ]
    path = log(tmp_path, lambda question: said("7"), samples=renamed)
    with pytest.raises(UsageError, match="its target is another than the data's"):
        imported(path, tasks, tmp_path)


def test_a_log_of_choices_in_another_order_is_refused(tmp_path: Path) -> None:
    from test_vlmevalkit import choices

    folder = choices(tmp_path)
    samples = [
        Sample(id=n, input=f"What is shown at place {n}?", choices=["dog", "cat"], target="B")
        for n in range(0, 6, 2)
    ]
    path = log(tmp_path, lambda question: said("B"), samples=samples)
    with pytest.raises(UsageError, match="its options are others than the data's, or in another order"):
        import_results(path, task="my_choices", model="m", output=tmp_path / "run", tasks_dirs=(str(folder),))


def test_torn_and_empty_logs_are_refused(tmp_path: Path, tasks: Path) -> None:
    path = log(tmp_path, lambda question: said("42"))
    whole = path.read_bytes()
    for name, content in (
        ("cut.eval", whole[: len(whole) // 2]),
        ("text.eval", b"no zip"),
        ("empty.eval", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match="inspect_ai can't read it"):
            imported(tmp_path / name, tasks, tmp_path)
    header = read_eval_log(str(path), header_only=True)
    write_eval_log(header.model_copy(update={"samples": []}), str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="it has no samples"):
        imported(tmp_path / "none.json", tasks, tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        imported(tmp_path / "absent.eval", tasks, tmp_path)


def test_an_exported_run_is_read_by_inspect_sample_by_sample(
    tmp_path: Path, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    evaluate(
        ["mock:fixed=42", "mock:fail=q-5"], example_task.NAME, output=run, workers=0, tasks_dirs=[str(tasks)]
    )
    arms = [each.arm for each in RunDir.open(run).manifest().arms]
    with pytest.raises(UsageError, match="is one file"):
        export_inspect(run, tmp_path / "both.eval")
    with pytest.raises(UsageError, match="Did you mean"):
        export_inspect(run, tmp_path / "both.eval", task="my_question")
    written = export_inspect(run, tmp_path / "logs")
    assert len(written) == 2
    one = tmp_path / "one.eval"
    assert run_cli(["export", str(run), "--to", "inspect", "-o", str(one), "--arm", arms[1]]) == 0
    assert capsys.readouterr().out.strip() == str(one)

    records = RunDir.open(run).records()
    for path, arm in ((written[0], arms[0]), (written[1], arms[1]), (one, arms[1])):
        read = read_eval_log(str(path), resolve_attachments=True)
        own = sorted((record for record in records if record.arm == arm), key=lambda each: each.sample_id)
        assert read.status == "success"
        assert (read.eval.task, read.eval.model) == (example_task.NAME, f"evalkit/{arm}")
        assert read.samples is not None
        assert [sample.id for sample in read.samples] == [record.sample_id for record in own]
        for sample, record in zip(read.samples, own, strict=True):
            assert sample.input == record.prompt
            assert sample.target == record.reference
            assert sample.metadata["cluster_id"] == record.cluster_id
            if record.failed:
                assert sample.error is not None
                assert (sample.error.message, sample.scores) == (record.error, {})
            else:
                assert (sample.output.completion, sample.output.stop_reason) == (record.raw, "stop")
                assert sample.scores is not None
                assert record.score is not None
                score = sample.scores["relaxed_accuracy"]
                assert (score.value, score.answer) == (record.score.value, str(record.score.parsed))
        assert read.results is not None
        scores = [record.score.value for record in own if record.score and record.score.value is not None]
        assert read.results.completed_samples == len(scores)
        assert read.results.scores[0].metrics["relaxed_accuracy"].value == pytest.approx(
            sum(scores) / len(scores)
        )

    # And back again: the same scores.
    back = imported(written[0], tasks, tmp_path / "back")
    assert [record.score for record in back.records] == [record.score for record in records[:12]]
    assert "differs from our relaxed_accuracy in 0 of 12 answers" in notes(back)
    assert back.results.evaluations[0].imported.source.startswith("evalkit in a log of Inspect ")
