"""One record per sample and system: everything that scoring, comparison and a reader need.

A record holds the question, the reference and the answer together, so that a stored run can be
scored again without the model, the data set or a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from evalkit.core.types import FinishReason, MediaInfo
from evalkit.metrics.base import Answer, Score

LARGEST = 2**63 - 1
"""The largest whole number that a column holds."""

DERIVED = ("score", "flags", "reasoning", "final")
"""Fields of a record that scoring fills in."""


@dataclass(frozen=True)
class Record:
    """One sample answered by one system (``model@variant``).

    ``key`` is the request's hash; ``index`` the sample's place in its task; ``raw`` the model's
    text, verbatim. ``margin``: by how much, in logits, the likeliest token was ahead of the next at its
    closest; None if that is not known; ``margins`` the same for every token, the stop token included, where
    an engine gives them (-1: not known). Between two runs of the same command these may differ in their last
    digits, and ``seconds`` (stage -> wall-clock seconds) differ; nothing else does. ``score``, ``flags``,
    ``reasoning`` and ``final`` (``raw`` in two parts, see :mod:`evalkit.metrics.reasoning`) are derived,
    never journalled; ``final`` is None until the record is scored. ``repetition`` counts the answers to one
    question.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")  # a line of another version is not misread

    arm: str
    model: str
    rope: str
    task: str
    sample_id: str
    index: int
    key: str
    cluster_id: str
    prompt: str
    reference: Any
    raw: str
    finish_reason: FinishReason
    error: str | None = None
    token_ids: tuple[int, ...] = ()
    prompt_tokens: int = 0
    visual_tokens: int = 0
    groups: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    box_space: str | None = None
    media: tuple[MediaInfo, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    margin: float | None = None
    margins: tuple[float, ...] = ()
    score: Score | None = None
    flags: tuple[str, ...] = ()
    reasoning: str = ""
    final: str | None = None
    repetition: int = 0

    @property
    def failed(self) -> bool:
        """Whether the sample has no answer at all (it could not be loaded or run)."""
        return self.finish_reason == "error"

    @property
    def labels(self) -> Mapping[str, Any]:
        """The breakdowns and whatever else a metric wants to know of the sample (its links)."""
        return {**self.meta.get("links", {}), **self.groups}

    def answer(self) -> Answer:
        """What a metric may look at: of the text, the final answer."""
        sizes = [medium for medium in self.media if medium.kind == "image"][:1]
        image_size = self.meta.get("image_size") or (sizes[0].size if sizes else None)
        return Answer(
            prediction=self.raw if self.final is None else self.final,
            reference=self.reference,
            question=str(self.meta.get("question", "")),
            options=self.meta.get("options") or {},
            groups=self.labels,
            image_size=(image_size[0], image_size[1]) if image_size else None,
            input_size=sizes[0].input_size if sizes else None,
            box_space=self.box_space,
        )

    def without_timings(self) -> Record:
        """The part that must be equal between two runs of the same command."""
        return replace(self, seconds={}, margin=None, margins=())

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping; :meth:`from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> Record:
        """Build a record from :meth:`to_json`'s mapping.

        Raises:
            TypeError, ValueError: a field is missing, unknown or of another kind.
        """
        fields = dict(line)
        fields["groups"] = {
            name: tuple(label) if isinstance(label, list) else label
            for name, label in dict(fields.get("groups", {})).items()
        }
        found: Record = _adapter().validate_python(fields)
        _check(found)
        return found


def _check(record: Record) -> None:
    """Raise what else would come up where a record is scored or counted."""
    for name in ("links", "options"):
        if not isinstance(record.meta.get(name) or {}, Mapping):
            raise TypeError(f"`meta.{name}` is no mapping")
    size = record.meta.get("image_size")
    if size and not (isinstance(size, list | tuple) and len(size) == 2):
        raise TypeError("`meta.image_size` is no width and height")
    numbers = [record.index, record.prompt_tokens, record.visual_tokens, *record.token_ids]
    numbers += [number for each in record.media for number in (each.tokens, *each.size, *each.frames)]
    if min(numbers) < -LARGEST - 1 or max(numbers) > LARGEST:
        raise ValueError("a whole number in it has more than 64 bits")
    hash(tuple(record.groups.values()))  # breakdowns are counted by them


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def schema() -> dict[str, Any]:
    """The JSON schema of a line of ``records.jsonl``; the journal's lines lack ``score`` and ``flags``."""
    return _adapter().json_schema()
