"""Benchmarks as declarations: :class:`Task`, and the parts of its prompts.

A benchmark is a declaration, not a program: where the data is, how a row becomes a prompt, which
metric judges the answer, which categories it reports. It knows nothing of models, batches or GPUs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Protocol

from evalkit.core.columns import shortened, value_type
from evalkit.core.dataset import MediaLocator, OpenableDataset
from evalkit.core.errors import EnvironmentProblem, EvalkitError, UsageError
from evalkit.core.row_checks import (
    BadRow,
    RowReader,
    check_reference,
    checked_id,
    checked_label,
    checked_meta,
    checked_parts,
    checked_plain,
    describe_exception,
)
from evalkit.core.submission import Submission
from evalkit.core.task_source import TaskSource
from evalkit.core.types import Category, Locate, MediaRef, Part, Sample, Text
from evalkit.metrics.base import Answer, Metric

__all__ = ["Dataset", "Row", "Task", "Text", "image", "locate", "text", "video"]

Row = Mapping[str, Any]


class Dataset(Protocol):
    """Where rows come from; the manifest and ``tasks show`` print ``describe()``."""

    def rows(self, data_root: str | None) -> Iterator[Row]:
        """Yield rows, from ``data_root`` (a local mirror) or from the hub."""
        ...

    def describe(self) -> dict[str, str]:
        """Repository, configuration, split and revision."""
        ...


@dataclass(frozen=True)
class Task:
    """One benchmark row of a comparison table.

    Every callable gets one row of the data set. ``groups`` are the breakdowns that are reported;
    ``links`` other facts of a sample that the metric needs, such as the question that several samples are
    forms of; ``unit`` names samples that a subset must not split. ``expand`` turns a stored row into several
    questions (RefCOCO: one per expression) before anything else is called.

    ``size`` is the number of samples; ``ci`` that of the fixed subset for CI runs. ``lmms_eval_notes`` says
    where lmms-eval scores the same outputs differently, and which of both follows the official protocol.
    ``submission`` writes the answers of a split without public references. ``example`` is a made-up row in
    the data set's schema, for ``evalkit tasks show``. ``source`` is set when the task's file is loaded.
    """

    name: str
    category: Category
    title: str
    dataset: Dataset
    prompt: Callable[[Row], tuple[Part, ...]]
    reference: Callable[[Row], Any]
    metric: Metric
    max_new_tokens: int
    id: Callable[[Row], str]
    cluster: Callable[[Row], str]
    groups: Mapping[str, Callable[[Row], str | tuple[str, ...]]] = field(default_factory=dict)
    meta: Callable[[Row], Mapping[str, Any]] = lambda row: {}
    links: Mapping[str, Callable[[Row], Any]] = field(default_factory=dict)
    unit: Callable[[Row], str] | None = None
    expand: Callable[[Row], Iterator[Row]] | None = None
    size: int | None = None
    paper_row: str | None = None
    tags: tuple[str, ...] = ()
    licence: str = "unknown"
    citation: str = ""
    notes: str = ""
    lmms_eval_notes: str = ""
    ci: int = 100
    submission: Submission | None = None
    example: Row = field(default_factory=dict)
    source: TaskSource | None = field(default=None, repr=False, compare=False)

    def check_declaration(self) -> None:
        """Check the types of a task's fields before any of them is used.

        Raises:
            UsageError: a field is of another type.
        """
        several = (*self.groups.values(), *self.links.values())
        calls = (self.prompt, self.reference, self.id, self.cluster, self.meta, *several)
        for name, right in (
            ("dataset", hasattr(self.dataset, "rows") and hasattr(self.dataset, "describe")),
            ("metric", hasattr(self.metric, "score") and hasattr(self.metric, "summarise")),
            ("max_new_tokens", isinstance(self.max_new_tokens, int) and self.max_new_tokens > 0),
            ("ci", isinstance(self.ci, int) and self.ci > 0),
            ("size", self.size is None or isinstance(self.size, int)),
            ("prompt, reference, id, cluster, meta, groups or links", all(map(callable, calls))),
        ):
            if not right:
                raise UsageError(
                    f"task `{self.name}`",
                    f"its `{name}` is not what it should be",
                    "correct its file; `evalkit tasks show chartqa` and the files in tasks/ show the form",
                )

    def open(self, data_root: str | None) -> Task:
        """The same with its data set found: ``dataset.describe()`` says which version of it will be read."""
        if not isinstance(self.dataset, OpenableDataset):
            return self
        return replace(self, dataset=self.dataset.open(data_root))

    def samples(self, data_root: str | None) -> Iterator[Sample]:
        """Yield the samples of this benchmark in the data set's order, those that can't be asked too.

        Raises:
            EnvironmentProblem: the data are not there or not as declared, or the same is wrong with
                every row of several.
        """
        reasons: set[str] = set()
        good = rows = 0
        for _, found in self.read(data_root):
            rows += 1
            good += sum(each.problem is None for each in found)
            reasons |= {_problem_kind(each.problem) for each in found if each.problem}
            yield from found
        if rows > 1 and not good and len(reasons) == 1:
            raise EnvironmentProblem(
                f"task `{self.name}`: none of its {rows} rows can be asked",
                f"of each, {reasons.pop()}",
                "use the data set that the task declares (`evalkit tasks show NAME`), or correct the task",
            )

    def read(self, data_root: str | None) -> Iterator[tuple[Row, list[Sample]]]:
        """Yield the stored rows, each with its samples."""
        self.check_declaration()
        taken: dict[str, str] = {}
        for number, stored in enumerate(self._stored(data_root)):
            where = self._place(stored, number)
            yield stored, [_with_unique_id(each, where, taken) for each in self.samples_of(stored, number)]

    def samples_of(self, stored: Row, number: int = 0) -> Iterator[Sample]:
        """Yield the samples of one stored row; ``number`` is its place in the data set."""
        where = self._place(stored, number)
        if not isinstance(stored, Mapping):
            yield _problem_sample(f"{where}: a row is a mapping of columns, not {shortened(stored)}", number)
            return
        try:
            rows = list(self.expand(stored)) if self.expand else [stored]
        except EvalkitError as error:
            yield _problem_sample(
                f"{where}: {self._wrong_cell(stored) or f'{error.what}: {error.why}'}", number
            )
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a task's callable may raise anything
            yield _problem_sample(f"{where}: {self._wrong_cell(stored) or describe_exception(error)}", number)
        else:
            for row in rows:
                yield self._sample(row, number, where)

    def _stored(self, data_root: str | None) -> Iterator[Row]:
        """The data set's rows; an exception of a user's own data set becomes an error that says so."""
        try:
            yield from self.dataset.rows(data_root)
        except (EvalkitError, OSError):
            raise
        except Exception as error:
            raise UsageError(
                f"the data set of task `{self.name}`",
                f"its `rows` fails: {describe_exception(error)}",
                "correct it",
            ) from error

    def _sample(self, row: Row, number: int, where: str) -> Sample:
        """A row as a sample; with a problem, if something is wrong with it."""
        reader = RowReader(row, frozenset(getattr(self.dataset, "kinds", ())), self._wrong_cell(row))
        sample_id = reader.read("id", self.id, self._checked_id, _fallback_id(number))
        none: str | tuple[str, ...] = ()
        groups = {
            name: reader.read(f"groups: {name}", label, checked_label, none)
            for name, label in self.groups.items()
        }
        unread = Sample(
            id=sample_id,
            parts=reader.read("prompt", self.prompt, self._checked_parts, ()),
            reference=reader.read("reference", self.reference, checked_plain, None),
            cluster_id=reader.read("cluster", self.cluster, checked_id, sample_id),
            groups={name: label for name, label in groups.items() if label != ()},
            meta=reader.read("meta", self._meta, checked_meta, {}),
            unit=reader.read("unit", self.unit, checked_id, sample_id) if self.unit else sample_id,
        )
        if reader.problem is None:
            reader.read("reference", lambda row: unread, self._check_judgeable, unread)
        if reader.problem:
            return _with_problem(unread, f"{where}: {reader.problem}")
        parts = tuple(
            _with_source(each, where) if isinstance(each, MediaRef) else each for each in unread.parts
        )
        return replace(unread, parts=parts, groups=groups)

    def _check_judgeable(self, sample: Sample) -> Sample:
        """The sample, if its metric can score answers against its reference."""
        size = sample.meta.get("image_size") or (1000, 1000)
        answer = Answer(
            prediction="",
            reference=sample.reference,
            question=sample.meta.get("question", ""),
            options=sample.meta.get("options") or {},
            groups={**sample.meta.get("links", {}), **sample.groups},
            image_size=(size[0], size[1]),
            input_size=(1000, 1000),
            box_space="abs",
        )
        check_reference(self.metric, answer)
        return sample

    def _checked_parts(self, value: Any) -> tuple[Part, ...]:
        """Parts of a prompt, with the media that a row names located by the data set."""
        found, dataset = checked_parts(value), self.dataset
        if not isinstance(dataset, MediaLocator):
            return found
        return tuple(dataset.locate(part) if isinstance(part, MediaRef) else part for part in found)

    def _checked_id(self, value: Any) -> str:
        found = checked_id(value)
        if self.submission is not None and self.submission.numbered and not found.isdecimal():
            raise BadRow(f"its server takes whole numbers, not {shortened(found)}")
        return found

    def _wrong_cell(self, row: Row) -> str | None:
        check = getattr(self.dataset, "check", None)
        found: str | None = check(row) if check else None
        return found

    def _place(self, row: Row, number: int) -> str:
        """A description of a row for messages: number, data set, configuration, split."""
        about = dict(self.dataset.describe())
        known = row if isinstance(row, Mapping) else {}
        if isinstance(known.get("row_number"), int):
            number = known["row_number"]
        if "config" in about:
            about["config"] = str(known.get("config", about["config"]))
        parts = [f"row {number} of data set `{about.get('repo') or about.get('file', self.name)}`"]
        parts += [f"{name} `{about[name]}`" for name in ("config", "split") if about.get(name)]
        return ", ".join(parts)

    def _meta(self, row: Row) -> dict[str, Any]:
        links = {name: value(row) for name, value in self.links.items()}
        return {**self.meta(row), **({"links": links} if links else {})}


def text(value: str | Text) -> Text:
    """A piece of prompt text; :mod:`evalkit.benchmarks.wording` has the usual requests for an answer."""
    return value if isinstance(value, Text) else Text(value)


def locate(phrase: str) -> Locate:
    """A referring expression to be found in the image."""
    return Locate(phrase)


def image(value: Any) -> MediaRef:
    """An image cell of a data set: ``{"bytes": ..., "path": ...}`` as ``datasets`` gives it
    undecoded, or a path.

    Raises:
        BadRow: it is something else, such as null, a list, base64 text or a decoded image.
    """
    if isinstance(value, Mapping):
        data, path = value.get("bytes"), value.get("path")
        if data is not None:
            if not isinstance(data, bytes):
                raise BadRow(f"the `bytes` of an image are {shortened(data)}, not bytes")
            return MediaRef("image", data=data)
        return MediaRef("image", path=_path("an image", path))
    return MediaRef("image", path=_path("an image", value))


def video(
    path: str, start: float | None = None, end: float | None = None, frame_rate: float | None = None
) -> MediaRef:
    """A video file, or the clip of it between ``start`` and ``end`` seconds; with ``frame_rate``
    (a second), a folder of its frames.

    Raises:
        BadRow: ``path`` is none.
    """
    return MediaRef("video", path=_path("a video", path), start=start, end=end, frame_rate=frame_rate)


def _path(what: str, value: Any) -> str:
    """The path of a file; a value that can't be one is refused with a reason."""
    if isinstance(value, os.PathLike):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        hint = "; take its first" if isinstance(value, list | tuple) and len(value) == 1 else ""
        found = f"{value_type(value)} ({shortened(value)})"
        raise BadRow(f"{what} is a path, or a mapping with `bytes`, not {found}{hint}")
    if value.startswith("data:") or (_BASE64.fullmatch(value) and not os.path.exists(value)):
        raise BadRow(f"{what} is a path, or a mapping with `bytes`, not encoded text ({shortened(value)})")
    if "\0" in value or re.match(r"https?://", value):
        raise BadRow(f"{what} is a path of a local file, not {shortened(value)}")
    return value


_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{120,}={0,2}\s*")


def _fallback_id(number: int) -> str:
    """The id of a sample without one."""
    return f"row {number} (without an id)"


def _problem_sample(problem: str, number: int) -> Sample:
    name = _fallback_id(number)
    return Sample(name, (), None, name, unit=name, problem=problem)


def _with_problem(sample: Sample, problem: str) -> Sample:
    return replace(sample, parts=(), reference=None, meta={}, problem=problem)


def _with_unique_id(sample: Sample, where: str, taken: dict[str, str]) -> Sample:
    """The sample; if an earlier one has its id, with a problem and another id. ``taken``: the ids so far, and
    the row of each.
    """
    row = where.partition(" of ")[0]
    if sample.id not in taken:
        taken[sample.id] = row
        return sample
    problem = f"{where}: its id {shortened(sample.id)} is that of {taken[sample.id]} too"
    names = (f"{sample.id} ({row}{f', {each}' if each else ''})" for each in count())
    name = next(each for each in names if each not in taken)
    taken[name] = row
    return _with_problem(replace(sample, id=name), sample.problem or problem)


def _with_source(ref: MediaRef, where: str) -> MediaRef:
    """A medium with its row, and its file if that is the user's own, as its source in messages."""
    return replace(ref, source=f"{where} (`{ref.path}`)" if ref.path else where)


def _problem_kind(problem: str) -> str:
    """A problem without the row's number and value."""
    return problem.partition(": ")[2].partition(" (")[0]
