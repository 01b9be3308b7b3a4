"""The end of a run: its records are scored, views and submission files written, the manifest completed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.core.console import scrub
from evalkit.core.errors import EvalkitError
from evalkit.core.submission import SubmissionEntry, file_name
from evalkit.core.task import Task
from evalkit.integrations.lmms_eval import task as lmms
from evalkit.metrics.base import ExternalMetric, Metric
from evalkit.report.comparison import Comparison
from evalkit.report.results import Results, open_run
from evalkit.scoring.score import score_records
from evalkit.scoring.scorers import Scorer, ScorerOf, registry_scorer, scored_with, scorer_of
from evalkit.store import Evaluation, Inputs, Invocation, Manifest, Record, RunDir
from evalkit.store.records_frame import records_frame
from evalkit.store.records_table import score_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class RunResult:
    """The result of one command: scored records, what is missing and what went wrong.

    Attributes:
        results: the evaluations that the command covers, with their records.
        invocation: the manifest's entry of the command; None where a stored run was scored.
        damaged: journal lines that can't be read, with the reason; their samples count as missing.
        problems: why systems were left out.
        submissions: files written for splits without public answers, and where each is to be submitted.
    """

    results: Results
    invocation: Invocation | None = None
    damaged: tuple[str, ...] = ()
    problems: Sequence[EvalkitError] = ()
    submissions: Mapping[Path, str] = field(default_factory=dict)

    @property
    def run(self) -> RunDir:
        """Where it is stored."""
        return self.results.run

    @property
    def records(self) -> list[Record]:
        """The scored records, system by system and task by task."""
        return self.results.flat()

    @property
    def missing(self) -> int:
        """How many samples have no answer yet."""
        return self.results.missing

    @property
    def failed(self) -> int:
        """How many samples have an error in place of an answer."""
        found = self.results
        return sum(each.failed for entry in found.evaluations for each in score_rows(found.records[entry.id]))

    @property
    def comparison(self) -> Comparison:
        """The comparison table, as far as the command got."""
        return self.results.comparison()

    def __repr__(self) -> str:
        counts = f"{len(self.records)} answers, {self.failed} failed, {self.missing} missing"
        return f"<RunResult {self.run.path}: {counts}>"

    def _repr_html_(self) -> str:
        """The comparison table, in a notebook."""
        return self.comparison._repr_html_()

    def to_pandas(self) -> pd.DataFrame:
        """The scored records as a frame, one row each (:mod:`evalkit.store.records_frame`)."""
        return records_frame(self.records)


def rescore(
    run: RunDir,
    tasks_dirs: Sequence[str] = (),
    official_random: int | None = None,
    reasoning: str | None = None,
) -> RunResult:
    """Score a stored run again from its journal: no model, data set or GPU is needed.

    ``official_random`` seeds the official scripts' random fallbacks, ``reasoning`` names the rule that
    separates reasoning from answers; None leaves what the run says.

    A program outside evalkit is asked to score only what it never has.

    Raises:
        EnvironmentProblem: that program is not installed.
    """
    asked = {"official_random": official_random, "reasoning": reasoning}
    asked = {name: value for name, value in asked.items() if value is not None}
    if asked:
        scoring = run.manifest().scoring.model_copy(update=asked)
        run.update(lambda manifest: manifest.with_scoring(scoring), now())
    with run.view_lock():
        manifest = run.manifest()
        own = registry_scorer(run, tasks_dirs)

        def scorer(evaluation: Evaluation) -> Scorer | None:
            never = evaluation.task.scored_by is not None and evaluation.figures is None
            return Scorer(_lmms_metric(manifest, evaluation)) if never else own(evaluation)

        found, damaged = score_evaluations(run, manifest.results(), scorer, stores=True)
        manifest = run.update(lambda known: known.with_evaluations(found.evaluations), now())
        found = replace(found, manifest=manifest)
        _write_views(found)
    return RunResult(results=found, damaged=damaged)


def finalize(
    run: RunDir,
    tasks: Sequence[Task],
    invocation: Invocation,
    *,
    problems: Sequence[EvalkitError] = (),
    inputs: Inputs | None = None,
) -> RunResult:
    """Score what a command asked for, and write the views of the whole run anew.

    Args:
        run: holds the answers.
        tasks: those of the command.
        invocation: the manifest's entry of the command, which is completed.
        problems: of systems that were left out.
        inputs: state of the files that the command depends on; None if it is not known.
    """
    run.check_there()
    loaded = {task.name: scorer_of(task) for task in tasks}
    elsewhere = registry_scorer(run, needed=False)
    with run.view_lock():
        manifest = run.manifest()
        own = {each.id for each in manifest.evaluations_of(invocation.id)}
        wanted = [
            *manifest.evaluations_of(invocation.id),
            *(each for each in manifest.results() if each.id not in own),
        ]

        def scorer(evaluation: Evaluation) -> Scorer | None:
            return loaded[evaluation.task.name] if evaluation.id in own else elsewhere(evaluation)

        found, damaged = score_evaluations(run, wanted, scorer, stores=True)
        asked = found.only(each for each in wanted if each.id in own)
        failed = sum(record.failed for record in asked.flat())
        complete = not (asked.missing or failed or problems)
        invocation = invocation.model_copy(
            update={
                "finished": now(),
                "status": "complete" if complete else "incomplete",
                "problems": tuple(scrub(str(problem)) for problem in problems),
                "inputs": inputs if complete else None,
            }
        )
        manifest = run.update(
            lambda known: known.with_evaluations(found.evaluations).with_invocation(invocation),
            invocation.started,
        )
        _write_views(replace(found, manifest=manifest).only(manifest.results()))
    asked = replace(asked, manifest=manifest)
    return RunResult(
        results=asked,
        invocation=invocation,
        damaged=damaged,
        problems=tuple(problems),
        submissions=_write_submissions(run, tasks, asked) if complete else {},
    )


def stored_result(run: RunDir, invocation: Invocation) -> RunResult:
    """The result of a finished command, read from the views."""
    return RunResult(results=open_run(run, invocation.id), invocation=invocation)


def score_from_journal(run: RunDir) -> Results:
    """A stored run's results, scored from its journal; nothing is written."""
    return score_evaluations(run, run.manifest().results(), registry_scorer(run))[0]


def _lmms_metric(manifest: Manifest, evaluation: Evaluation) -> Metric:
    """The program that scores a task of lmms-eval."""
    spec = manifest.invocation(evaluation.invocation).spec
    return lmms.load(evaluation.task.name, spec.lmms_python, spec.lmms_include)[0].metric


def score_evaluations(
    run: RunDir, evaluations: Sequence[Evaluation], scorer_of: ScorerOf, *, stores: bool = False
) -> tuple[Results, tuple[str, ...]]:
    """Evaluations with their records from the journal, scored; and the journal's lines that can't be read.

    What another program has scored stays as it is stored, unless ``scorer_of`` returns that program, and so
    does what nothing here scores. With ``stores``, the sources of the tasks are stored, and the evaluations
    say what scored them.
    """
    journal, manifest = run.journal(), run.manifest()
    rule, seed = manifest.scoring.reasoning, manifest.scoring.official_random
    stored: dict[tuple[str, str], Record] = {}
    scorers = [scorer_of(each) for each in evaluations]
    if None in scorers and (run.path / "records.jsonl").is_file():
        stored = {(each.arm, each.key): each for each in run.records()}
    judged: list[Evaluation] = []
    records: dict[int, Sequence[Record]] = {}
    metrics: dict[int, Metric] = {}
    for evaluation, keys, by in zip(evaluations, run.keys(evaluations), scorers, strict=True):
        # Copies of one checkpoint have the same keys: whichever answered, the record counts for every arm.
        own = [replace(journal.records[key], arm=evaluation.arm) for key in keys if key in journal.records]
        if by is None:
            own = [stored.get((each.arm, each.key), each) for each in own]
        elif isinstance(by.metric, ExternalMetric):
            flagged = score_records(own, {evaluation.task.name: by.metric}, rule)
            own, evaluation = _score_externally(flagged, evaluation, by.metric)
        else:
            own = score_records(own, {evaluation.task.name: by.metric}, rule)
            metrics[evaluation.id] = by.metric
            if stores:
                found = scored_with(run, evaluation, by, own, seed)
                evaluation = evaluation.model_copy(update={"scored_with": found})
        judged.append(evaluation)
        records[evaluation.id] = own
    return Results(run, manifest, judged, records, metrics), journal.damaged


def _score_externally(
    flagged: list[Record], evaluation: Evaluation, judge: ExternalMetric
) -> tuple[list[Record], Evaluation]:
    """Have another program score answers; its figures are stored with the evaluation."""
    answered = [each for each in flagged if not each.failed]
    if not answered:
        return flagged, evaluation
    found = judge.judge([record.answer() for record in answered])
    scores = {each.key: score for each, score in zip(answered, found.scores, strict=True)}
    task = evaluation.task.model_copy(update={"metric": found.primary})
    update = {"figures": {name: float(value) for name, value in found.figures.items()}, "task": task}
    scored = [replace(each, score=scores.get(each.key, each.score)) for each in flagged]
    return scored, evaluation.model_copy(update=update)


def _write_views(results: Results) -> None:
    """Write the views, which can be made again from the journal: the records, and the table as JSON."""
    figures = results.file_figures()
    results.run.write_records(results.flat(), figures)
    results.run.write_scores(replace(results, figures=figures).comparison().to_json())


def _write_submissions(run: RunDir, tasks: Sequence[Task], results: Results) -> dict[Path, str]:
    """Write the submission file of every system and task without public answers."""
    writers = {task.name: task.submission for task in tasks if task.submission is not None}
    written = {}
    for evaluation in results.evaluations:
        submission = writers.get(evaluation.task.name)
        if submission is not None:
            name = file_name(evaluation.task.name, evaluation.arm, submission.suffix)
            content = submission.write(list(_submission_entries(results.records[evaluation.id])))
            written[run.write_submission(name, content)] = submission.to
    return written


def _submission_entries(records: Iterable[Record]) -> Iterable[SubmissionEntry]:
    for record in records:
        question, options = record.meta.get("question", ""), record.meta.get("options", {})
        yield SubmissionEntry(
            record.sample_id, record.answer().prediction.strip(), question, options, record.labels
        )


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
