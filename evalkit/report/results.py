"""The evaluations of a run, or of one of its commands, with their scored records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evalkit.config.run_spec import RATE_LIMITS
from evalkit.core.errors import UsageError
from evalkit.core.registry import load_task
from evalkit.metrics.base import Metric
from evalkit.report.aggregate import BY_LOGITS, BenchmarkColumn, file_figures, make_cell
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.labels import labelled
from evalkit.report.repetitions import mean_cell
from evalkit.report.steps import counted
from evalkit.report.stored_metric import StoredFigures, stored_metric
from evalkit.store import Evaluation, Manifest, Record, RunDir, TaskEntry
from evalkit.store.records_table import StoredRecords

RecordsByTask = dict[str, Sequence[Record]]


@dataclass(frozen=True)
class Results:
    """Evaluations of one run, at most one of each arm and task.

    ``records`` has the records of each evaluation by its id, in the order of its samples; ``metrics`` the
    metrics that have just scored them, or are known already. ``figures`` are the :meth:`file_figures` that
    were computed when the records were scored, by :meth:`figures_key`.
    """

    run: RunDir
    manifest: Manifest
    evaluations: Sequence[Evaluation]
    records: Mapping[int, Sequence[Record]]
    metrics: dict[int, Metric] = field(default_factory=dict, repr=False, compare=False)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False, compare=False)

    def flat(self) -> list[Record]:
        """All records, evaluation by evaluation."""
        return [record for each in self.evaluations for record in self.records[each.id]]

    def by_arm(self) -> dict[str, RecordsByTask]:
        """The records by arm and task."""
        found: dict[str, RecordsByTask] = {}
        for each in self.evaluations:
            found.setdefault(each.arm, {})[each.task.name] = self.records[each.id]
        return found

    @property
    def missing(self) -> int:
        """How many samples have no record."""
        return sum(each.asked - len(self.records[each.id]) for each in self.evaluations)

    def only(self, evaluations: Iterable[Evaluation]) -> Results:
        """The results of some of the evaluations."""
        ids = {each.id for each in evaluations}
        return replace(self, evaluations=[each for each in self.evaluations if each.id in ids])

    def arms(self, run: str) -> list[Arm]:
        """The arms, in the order of the manifest; ``run`` is the run's name."""
        having = {each.arm for each in self.evaluations}
        return [
            Arm(
                each.arm,
                each.model,
                each.rope,
                each.family,
                each.fingerprint,
                run,
                each.trained_with,
                system=each.arm,
                label=each.label,
                recipe=self._recipes(each.arm),
                engine=each.identity.get("engine", ""),
            )
            for each in self.manifest.arms
            if each.arm in having
        ]

    def columns(self) -> list[BenchmarkColumn]:
        """The benchmarks that have a score here, in the order in which they were first run."""
        first: dict[str, Evaluation] = {}
        for each in self.evaluations:
            if not each.task.submission:
                first.setdefault(each.task.name, each)
        return [
            BenchmarkColumn(
                name,
                each.task.category,
                each.task.title,
                metric_name(each.task),
                self._range(each),
                each.task.paper_row,
            )
            for name, each in first.items()
        ]

    def metric(self, evaluation: Evaluation) -> Metric:
        """The metric of an evaluation; the figures of a task that another program scored are stored ones.

        Raises:
            UsageError: a run of an earlier evalkit doesn't say what scored it, and its task is gone.
        """
        task = evaluation.task
        if task.scored_by is not None:
            return StoredFigures(task.metric, self._range(evaluation), evaluation.figures or {})
        if evaluation.id not in self.metrics:
            self.metrics[evaluation.id] = self._stored_metric(evaluation)
        return self.metrics[evaluation.id]

    def _stored_metric(self, evaluation: Evaluation) -> Metric:
        known = evaluation.scored_with
        if known is None:
            return load_task(evaluation.task.name, evaluation.tasks_dirs).metric
        try:
            return stored_metric(evaluation, known)
        except ValueError as error:
            raise UsageError(
                f"run `{self.run.path}`, task `{evaluation.task.name}`",
                f"{error}; evalkit {known.evalkit} scored it",
                "use that version or a later one, or score it with yours: `evalkit score RUN`",
            ) from None

    def comparison(self, run: str = "") -> Comparison:
        """The table of these evaluations."""
        columns = {column.task: column for column in self.columns()}
        scoring = self.manifest.scoring
        limits = {**RATE_LIMITS, **scoring.rate_limits}
        cells = {
            arm.name: {
                task: make_cell(
                    arm.name,
                    columns[task],
                    self.records[evaluation.id],
                    evaluation.samples,
                    self.metric(evaluation),
                    scoring.official_random,
                    limits,
                    self.figures.get(self.figures_key(evaluation)),
                )
                if evaluation.protocol.n == 1
                else mean_cell(
                    arm.name,
                    columns[task],
                    self.records[evaluation.id],
                    evaluation.samples,
                    self.metric(evaluation),
                    scoring.official_random,
                    limits,
                    n=evaluation.protocol.n,
                )
                for task, evaluation in self._of(arm.name)
                if task in columns
            }
            for arm in counted(self.arms(run), "adding up the scores of system")
        }
        notes = [
            note for arm in self.arms(run) for note in self.import_notes(arm.name, arm.label or arm.name)
        ]
        return labelled(
            Comparison(self.arms(run or self.run.name), list(columns.values()), cells, notes=notes)
        )

    def figures_key(self, evaluation: Evaluation) -> str:
        """What an evaluation's figures depend on beside its records' scores: the samples that it has, and the
        seed.
        """
        found = len(self.records[evaluation.id])
        seed = self.manifest.scoring.official_random
        return json.dumps([evaluation.arm, evaluation.task.name, evaluation.plan, found, seed])

    def file_figures(self) -> dict[str, dict[str, float]]:
        """The figures that take all answers of a task to compute, by :meth:`figures_key`."""
        seed = self.manifest.scoring.official_random
        return {
            self.figures_key(each): file_figures(self.records[each.id], self.metric(each), seed)
            for each in self.evaluations
            if not each.task.submission and each.protocol.n == 1
        }

    def _recipes(self, arm: str) -> str:
        """The recipe of an arm's evaluations; usually one."""
        return "; ".join(dict.fromkeys(each.protocol.conditions for _, each in self._of(arm)))

    def import_notes(self, arm: str, shown: str) -> list[str]:
        """Footnotes about an arm's imported answers; ``shown`` is the arm's name in the table."""
        return [
            f"{shown} {task}: imported from {each.imported.source}: {'; '.join(each.imported.notes)}"
            for task, each in self._of(arm)
            if each.imported is not None
        ]

    def _of(self, arm: str) -> list[tuple[str, Evaluation]]:
        return [(each.task.name, each) for each in self.evaluations if each.arm == arm]

    def _range(self, evaluation: Evaluation) -> tuple[float, float]:
        task = evaluation.task
        if task.scored_by is None:
            return task.range
        alike = [each for each in self.evaluations if each.task.name == task.name]
        return limits_of([(each.figures or {}).get(each.task.metric, 0.0) for each in alike])


def open_run(run: RunDir, invocation: str | None = None) -> Results:
    """The stored results of a run: the latest of each arm and task, or those of one invocation.

    Raises:
        UsageError: the run was never scored, or one of its files is damaged.
    """
    manifest = run.manifest()
    evaluations = manifest.results() if invocation is None else manifest.evaluations_of(invocation)
    table = run.table()
    places = table.row_of_key()
    rows = {
        each.id: [places[each.arm, key] for key in keys if (each.arm, key) in places]
        for each, keys in zip(evaluations, run.keys(evaluations), strict=True)
    }
    records = {each: StoredRecords(table, found) for each, found in rows.items()}
    return Results(run, manifest, evaluations, records, figures=table.figures)


def metric_name(task: TaskEntry) -> str:
    """The metric's name in tables, with the program that scored the answers, or how options were chosen."""
    judge = f" by {task.scored_by}" if task.scored_by else ""
    return task.metric + judge + (f" {BY_LOGITS}" if task.chosen_by else "")


def limits_of(figures: Sequence[float]) -> tuple[float, float]:
    """The range of an external metric, guessed from its figures: 0 to 1, 0 to 100, or up to the highest."""
    top = max((abs(value) for value in figures), default=0.0)
    return (0.0, next((bound for bound in (1.0, 100.0) if top <= bound), top))
