"""Answers tasks with systems as a run does, and looks at the attention of every answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from evalkit.config.run_spec import RunSpec
from evalkit.core.console import scrub
from evalkit.core.errors import EnvironmentProblem, MediaError, OutOfMemory, UsageError
from evalkit.core.task import Task
from evalkit.core.types import Generation, Prepared, Sample
from evalkit.diagnose.attention.heads import HeadLayout
from evalkit.diagnose.attention.measure import AttentionMeasure, Queries
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.diagnose.attention.pictures import AttentionPicture, picture_of
from evalkit.diagnose.attention.summary import AttentionRow, TaskAttention
from evalkit.inference.base import MAX_PREFILL_TOKENS, PrefixGroup, generate_all
from evalkit.inference.decoder import HfDecoder
from evalkit.inference.observation import continued_batch_of
from evalkit.models import describe_model
from evalkit.models.base import ModelInfo, preprocessor_for
from evalkit.models.checkpoints.series import with_all_steps
from evalkit.models.hf_model import HfModel
from evalkit.runner.answering import Answering
from evalkit.runner.engine_options import load_config_of
from evalkit.runner.inputs import RunInputs, load_inputs, load_tasks, open_tasks
from evalkit.runner.planned import system_name
from evalkit.runner.reporter import Reporter
from evalkit.runner.requests import build_requests

BATCH = 16
"""Samples that are answered together, if they are short."""


@dataclass(frozen=True)
class SkippedSample:
    """A sample without figures: why it could not be asked or answered, or that it shows nothing."""

    system: str
    task: str
    sample: str
    reason: str


@dataclass(frozen=True)
class MeasuredSystem:
    """What a system is, and how many samples of each task were measured."""

    name: str
    model: str
    rope: str
    family: str
    fingerprint: str
    layers: int
    heads: int
    head_groups: dict[str, list[int]]
    notes: tuple[str, ...]
    samples: dict[str, int]


@dataclass
class AttentionFigures:
    """All that was measured; ``pictures`` are of the first samples of every task."""

    options: AttentionOptions
    systems: list[MeasuredSystem] = field(default_factory=list)
    rows: list[AttentionRow] = field(default_factory=list)
    skipped: list[SkippedSample] = field(default_factory=list)
    pictures: list[AttentionPicture] = field(default_factory=list)


@dataclass(frozen=True)
class _Asked:
    """A sample that was prepared, and its answer once there is one."""

    sample: Sample
    item: Prepared


def collect(spec: RunSpec, options: AttentionOptions, reporter: Reporter) -> AttentionFigures:
    """Measure every system of a spec on its tasks: where each question is answered several times, the first.

    Raises:
        EvalkitError: the spec, its data or a model can't be used, or memory ran out.
    """
    spec = with_all_steps(spec)
    tasks = open_tasks(load_tasks(spec), spec.data_root)
    reporter.phase(f"reading the samples of {len(tasks)} tasks")
    inputs = load_inputs(spec, tasks)
    figures, answering = AttentionFigures(options), Answering.of(spec)
    infos = [describe_model(system.model, system.rope, load_config_of(spec)) for system in spec.systems()]
    names = _names(infos)
    for info, name in zip(infos, names, strict=True):
        for note in info.notes:
            reporter.note(f"{name}: {note}")
        reporter.phase(f"loading {name}")
        model = info.load()
        if not isinstance(model, HfModel):
            raise UsageError(f"model `{name}`", "it has no attention to look at", "give a checkpoint")
        totals = {task.name: len(inputs.samples[task.name]) for task in tasks}
        reporter.system_started(name, totals, dict.fromkeys(totals, 0))
        _SystemMeasure(name, model, options, figures, reporter, answering).run(inputs)
        reporter.system_finished(name)
        del model  # before the next is loaded
    return figures


def _names(infos: Sequence[ModelInfo]) -> list[str]:
    """Names of systems; of two that would have the same, with some of their hashes."""
    names = [system_name(info) for info in infos]
    return [
        name if names.count(name) == 1 else f"{name}#{info.fingerprint[:6]}"
        for name, info in zip(names, infos, strict=True)
    ]


class _SystemMeasure:
    """Measures one system."""

    def __init__(
        self,
        name: str,
        model: HfModel,
        options: AttentionOptions,
        figures: AttentionFigures,
        reporter: Reporter,
        answering: Answering,
    ) -> None:
        self.name, self.model, self.options = name, model, options
        self.figures, self.reporter, self.answering = figures, reporter, answering
        self.head_layout = HeadLayout.of(model.module, model.installed)
        self.count = len(model.module.model.language_model.layers)
        self.layers = options.chosen_layers(self.count, name)

    def run(self, inputs: RunInputs) -> None:
        """Measure all tasks."""
        samples = {}
        for task in inputs.tasks:
            found = TaskAttention(self.name, task.name, self.layers, self.head_layout, self.options)
            asked = self._asked(task, [each.sample for each in inputs.samples[task.name]])
            for batch in _batches(asked):
                self._measure(task, batch, found)
            self.figures.rows += found.rows()
            samples[task.name] = len(found.shares)
        info, layout = self.model.info, self.head_layout
        groups = {
            name: [head + 1 for head, group in enumerate(layout.group_of_head) if group == number]
            for number, name in enumerate(layout.groups)
        }
        self.figures.systems.append(
            MeasuredSystem(
                name=self.name,
                model=scrub(info.name),
                rope=str(info.variant),
                family=info.family,
                fingerprint=info.fingerprint,
                layers=self.count,
                heads=layout.heads,
                head_groups=groups,
                notes=tuple(map(scrub, info.notes)),
                samples=samples,
            )
        )

    def _asked(self, task: Task, samples: Sequence[Sample]) -> Iterator[_Asked]:
        """Samples as a run prepares them; what can't be read or shows nothing is skipped."""
        for sample in samples:
            if sample.problem:
                self._skip(task, sample, sample.problem)
                continue
            request = build_requests(self.model.info, task, sample, self.answering)[0]
            try:
                item = preprocessor_for(self.model.info.preprocessor, request).prepare(request)
            except MediaError as error:
                self._skip(task, sample, str(error).partition("\n")[0])
                continue
            if item.token_types.any():
                yield _Asked(sample, item)
            else:
                self._skip(task, sample, "its prompt has no visual token")

    def _measure(self, task: Task, batch: Sequence[_Asked], found: TaskAttention) -> None:
        """Have samples answered, and look at each answer."""
        decoder = self.model.decoder(graphs=False)
        groups = [PrefixGroup((asked.item,), asked.item.prefix) for asked in batch]
        try:
            answers = {id(item): answer for item, answer in generate_all(decoder, groups)}
            for asked in batch:
                self._look(task, asked, answers[id(asked.item)], decoder, found)
        except OutOfMemory as error:
            raise EnvironmentProblem(
                f"memory ran out in `{task.name}`, with prompts of up to "
                f"{max(asked.item.length for asked in batch)} tokens",
                str(error),
                "give fewer visual tokens (`--visual-tokens`, `--max-frames`), or another device",
            ) from None

    def _look(
        self, task: Task, asked: _Asked, answer: Generation, decoder: HfDecoder, found: TaskAttention
    ) -> None:
        if answer.error is not None:
            self._skip(task, asked.sample, answer.error)
            return
        item, tokens = asked.item, answer.token_ids
        measure = AttentionMeasure(
            item=item,
            queries=Queries.of(item, tokens, self.options),
            positions=continued_batch_of(item, tokens, self.model.installed).positions[1:, 0],
            head_layout=self.head_layout,
            layers=self.layers,
            sink_percent=self.options.sink_percent,
        )
        decoder.observe(item, tokens, measure)
        if len(found.shares) < self.options.pictures:
            picture = partial(picture_of, whole_block=self.model.info.adapter.whole_block)
            self.figures.pictures.append(picture(self.name, task.name, asked.sample, measure, answer.text))
        found.add(measure, asked.sample.cluster_id)
        self.reporter.sample_answered(self.name, task.name, False)

    def _skip(self, task: Task, sample: Sample, reason: str) -> None:
        self.figures.skipped.append(SkippedSample(self.name, task.name, sample.id, scrub(reason)))
        self.reporter.sample_answered(self.name, task.name, True)


def _batches(asked: Iterator[_Asked]) -> Iterator[list[_Asked]]:
    """Up to ``BATCH`` samples that fit into one prefill; a longer one alone."""
    batch: list[_Asked] = []
    for each in asked:
        tokens = sum(other.item.length for other in batch) + each.item.length
        if batch and (len(batch) == BATCH or tokens > MAX_PREFILL_TOKENS):
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch
