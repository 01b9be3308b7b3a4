"""Scores records: a pure function, without model, data set or GPU."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from evalkit.metrics.base import Answer, Metric, Score, finite_score
from evalkit.metrics.flags import is_empty, is_repeating
from evalkit.metrics.reasoning import TAGS, UNFINISHED, ReasoningSplit, opens_reasoning, split_reasoning
from evalkit.store.records import Record

# In the order in which tables and footnotes list them.
FLAGS = ("error", "truncated", "truncated_reasoning", "empty", "unparsed", "repeating")


def score_records(
    records: Iterable[Record], metrics: Mapping[str, Metric], reasoning: str = TAGS
) -> list[Record]:
    """Give every record its final answer, score and flags. ``metrics`` maps task names to metrics,
    ``reasoning`` is the rule that separates reasoning from answers (:mod:`evalkit.metrics.reasoning`).
    """
    return [_score(record, metrics[record.task], reasoning) for record in records]


def score_answer(metric: Metric, answer: Answer, reading: ReasoningSplit) -> Score:
    """Score an answer whose ``prediction`` is the final part of a text. Reasoning that never ended has none:
    it scores as a missing answer.
    """
    score = metric.score(answer)
    if not reading.truncated:
        return score
    return replace(score, parsed=score.parsed or None, parse_error=UNFINISHED)


def _score(record: Record, metric: Metric, rule: str) -> Record:
    if record.failed:
        return replace(record, score=Score(None), flags=("error",), reasoning="", final=None)
    reading = split_reasoning(record.raw, rule, opened=_opened(record))
    record = replace(record, reasoning=reading.reasoning, final=reading.final)
    try:
        score = finite_score(score_answer(metric, record.answer(), reading))
    except Exception as error:  # noqa: BLE001 - a journal may hold any reference, and a metric be a user's own
        why = f"it can't be scored: {' '.join(str(error).split()) or type(error).__name__}"
        return replace(record, finish_reason="error", error=why, score=Score(None), flags=("error",))
    found = {
        "truncated": reading.truncated or record.finish_reason == "length",
        "truncated_reasoning": reading.truncated,
        "empty": is_empty(reading.final) and not reading.truncated,
        "unparsed": score.parse_error is not None,
        "repeating": record.finish_reason == "loop" or any(map(is_repeating, (record.raw, reading.final))),
    }
    return replace(record, score=score, flags=tuple(flag for flag in FLAGS if found.get(flag)))


def _opened(record: Record) -> bool:
    """Whether the prompt opened the reasoning; not if the answer is an option's letter chosen by logits."""
    chosen = len(record.token_ids) == 1 and record.raw in (record.meta.get("options") or {})
    return opens_reasoning(record.prompt) and not chosen
