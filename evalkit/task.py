"""What a benchmark file is written with: ``from evalkit.task import Task, HubDataset, ...``.

A benchmark is a declaration, not a program: where the data is, how a row becomes a prompt, which
metric judges the answer, which categories it reports. It knows nothing of models, batches or GPUs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evalkit.data.hub import HubDataset
from evalkit.metrics.base import Metric
from evalkit.submissions import Submission
from evalkit.types import Category, Locate, MediaRef, Part, Sample, Text

__all__ = ["Dataset", "HubDataset", "Row", "Task", "Text", "image", "locate", "text", "video"]

Row = Mapping[str, Any]


class Dataset(Protocol):
    """Where rows come from. ``describe`` is what the manifest and ``tasks show`` print."""

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
    ``links`` what else the metric must know of a sample, such as the question that several samples
    are forms of, ``unit`` what a subset must not split. ``expand`` turns a stored row into several
    questions (RefCOCO: one per expression) before anything else is called.

    ``size`` is the number of samples; ``ci`` that of the fixed subset for CI runs. ``peers`` says where
    lmms-eval scores the same outputs otherwise, and which of both follows the official protocol.
    ``submission`` writes the answers of a split without public answers. ``example`` is one row as the
    data set stores it, made up, for ``evalkit tasks show``.
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
    peers: str = ""
    ci: int = 100
    submission: Submission | None = None
    example: Row = field(default_factory=dict)

    def samples(self, data_root: str | None) -> Iterator[Sample]:
        """Yield the samples of this benchmark in the data set's order."""
        for stored in self.dataset.rows(data_root):
            yield from self.samples_of(stored)

    def samples_of(self, stored: Row) -> Iterator[Sample]:
        """Yield the samples of one stored row."""
        for row in self.expand(stored) if self.expand else (stored,):
            yield Sample(
                id=self.id(row),
                parts=self.prompt(row),
                reference=self.reference(row),
                cluster_id=self.cluster(row),
                groups={name: label(row) for name, label in self.groups.items()},
                meta=self._meta(row),
                unit=self.unit(row) if self.unit else self.id(row),
            )

    def _meta(self, row: Row) -> dict[str, Any]:
        links = {name: value(row) for name, value in self.links.items()}
        return {**self.meta(row), **({"links": links} if links else {})}


def text(value: str | Text) -> Text:
    """A piece of prompt text; :mod:`evalkit.data.wording` has the usual requests for an answer."""
    return value if isinstance(value, Text) else Text(value)


def locate(phrase: str) -> Locate:
    """A referring expression to be found in the image."""
    return Locate(phrase)


def image(value: Any) -> MediaRef:
    """An image cell of a data set: ``{"bytes": ..., "path": ...}`` as ``datasets`` gives it
    undecoded, or a path.
    """
    if isinstance(value, Mapping):
        if value.get("bytes") is not None:
            return MediaRef("image", data=value["bytes"])
        return MediaRef("image", path=str(value["path"]))
    return MediaRef("image", path=str(value))


def video(
    path: str, start: float | None = None, end: float | None = None, frame_rate: float | None = None
) -> MediaRef:
    """A video file, or the clip of it between ``start`` and ``end`` seconds; with ``frame_rate``
    (a second), a folder of its frames.
    """
    return MediaRef("video", path=str(path), start=start, end=end, frame_rate=frame_rate)
