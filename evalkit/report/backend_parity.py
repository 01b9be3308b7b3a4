"""Two engines on the same samples: which answers and scores differ, where first, and how close it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evalkit.core.errors import UsageError
from evalkit.report.comparability import engine_name
from evalkit.report.comparison import Arm
from evalkit.report.gather import run_names
from evalkit.report.results import RecordsByTask, open_run
from evalkit.store import Record, RunDir


@dataclass(frozen=True)
class Divergence:
    """An answer that two engines gave differently.

    Attributes:
        token: index of the first token that differs, or that only one answer has.
        margin: by how much, in logits, an engine that stores this preferred its token there to the next
            likeliest; None if neither does.
        scored_alike: whether both answers have the same score.
        asked_alike: whether prompt, media and references are the same.
    """

    task: str
    sample_id: str
    token: int
    margin: float | None
    scored_alike: bool
    asked_alike: bool
    texts: tuple[str, str]


@dataclass(frozen=True)
class BackendParity:
    """One model with one variant on two engines.

    Attributes:
        arms: their names.
        engines: what answered.
        samples: how many both answered.
        failed: samples that at least one of them has no answer for, beside these.
        divergences: the answers that differ.
        changed_scores: how many scores differ.
    """

    arms: tuple[str, str]
    engines: tuple[str, str]
    samples: int
    failed: int
    divergences: tuple[Divergence, ...]
    changed_scores: int

    @property
    def asked_alike(self) -> bool:
        """Whether every sample was asked in the same way."""
        return all(each.asked_alike for each in self.divergences)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping, with the shares."""
        changed = len(self.divergences)
        shares = {
            "changed_answers": changed / self.samples if self.samples else None,
            "changed_score_share": self.changed_scores / self.samples if self.samples else None,
        }
        return {**asdict(self), **shares}


def backend_parity(*paths: str | Path) -> list[BackendParity]:
    """Pair the arms of finished runs that are the same model with the same variant on different engines.

    Raises:
        UsageError: a run is missing or unscored, or there is no such pair.
    """
    runs = list({Path(path).resolve(): Path(path) for path in paths}.values())
    found: list[tuple[Arm, RecordsByTask]] = []
    for name, path in zip(run_names(runs), runs, strict=True):
        results = open_run(RunDir.open(path))
        records = results.by_arm()
        found += [(arm, records[arm.name]) for arm in results.arms(name)]
    pairs = list(_pairs(found))
    if not pairs:
        listed = ", ".join(f"{arm.name} ({arm.run}, {arm.engine or 'unknown engine'})" for arm, _ in found)
        raise UsageError(
            "there is nothing to compare by `--backend-parity`",
            f"no checkpoint and variant was answered by two engines: {listed}",
            "run the same with and without `--engine vllm`, and give both runs",
        )
    return pairs


def _pairs(found: Sequence[tuple[Arm, RecordsByTask]]) -> Iterator[BackendParity]:
    for place, (first, own) in enumerate(found):
        for second, other in found[place + 1 :]:
            same = (first.rope, _short(first.model)) == (second.rope, _short(second.model))
            if same and engine_name(first) != engine_name(second):
                yield _parity(first, second, own, other)


def _short(model: str) -> str:
    """A folder may have been given by another path."""
    return Path(model).name


def _parity(first: Arm, second: Arm, own: RecordsByTask, other: RecordsByTask) -> BackendParity:
    samples, failed, changed_scores = 0, 0, 0
    divergences: list[Divergence] = []
    for task in own:
        theirs = {record.sample_id: record for record in other.get(task, ())}
        for one in own[task]:
            two = theirs.get(one.sample_id)
            if two is None:
                continue
            if one.failed or two.failed:
                failed += 1
                continue
            samples += 1
            changed_scores += _value(one) != _value(two)
            divergence = _divergence(one, two)
            if divergence is not None:
                divergences.append(divergence)
    names = (f"{first.name} ({first.run})", f"{second.name} ({second.run})")
    return BackendParity(
        names, (first.engine, second.engine), samples, failed, tuple(divergences), changed_scores
    )


def _divergence(one: Record, two: Record) -> Divergence | None:
    """Where two answers part; None where they are the same, and ended for the same reason."""
    asked = (one.prompt, one.media, one.reference) == (two.prompt, two.media, two.reference)
    if one.token_ids == two.token_ids and one.finish_reason == two.finish_reason and asked:
        return None
    shortest = min(len(one.token_ids), len(two.token_ids))
    token = next(
        (place for place in range(shortest) if one.token_ids[place] != two.token_ids[place]), shortest
    )
    margins = [
        each.margins[token] for each in (one, two) if len(each.margins) > token and each.margins[token] >= 0
    ]
    return Divergence(
        one.task,
        one.sample_id,
        token,
        min(margins, default=None),
        _value(one) == _value(two),
        asked,
        (one.raw, two.raw),
    )


def _value(record: Record) -> float | None:
    return None if record.score is None else record.score.value
