"""``evalkit score FILE.jsonl``: scores predictions that were made elsewhere.

One JSON object a line, with ``task``, ``prediction`` and ``reference``, and where they matter
``question``, ``options`` (letter to text), ``group`` (breakdown to label), ``image_size``,
``input_size`` (``[width, height]``) and ``box_space``. ``full_response`` says that ``prediction`` is
an extraction from it, and ``answered`` false that there is no answer. Other fields are ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.core.errors import UsageError, did_you_mean, of_file
from evalkit.core.strict_json import unique_keys
from evalkit.metrics.base import Answer, FileMetric, Metric, Score, Scored, finite_score
from evalkit.metrics.flags import is_empty, is_repeating
from evalkit.metrics.reasoning import TAGS, ReasoningSplit, split_reasoning
from evalkit.scoring.score import score_answer

FindMetric = Callable[[str], Metric | None]
_FORM = 'every line needs {"task": ..., "prediction": ..., "reference": ...}; see `evalkit score --help`'
_LISTED = 5


@dataclass(frozen=True)
class _Prediction:
    number: int
    task: str
    answer: Answer
    text: str
    reading: ReasoningSplit


class _MalformedLine(ValueError):
    """A line that isn't a prediction; the message says why."""


def score_file(
    path: Path,
    task: str | None = None,
    *,
    tasks_dirs: Sequence[str] = (),
    official_random: int | None = None,
    reasoning: str = TAGS,
    find_metric: FindMetric | None = None,
) -> dict[str, dict[str, Any]]:
    """Score a file of predictions; the result maps each task to its block.

    A block has ``n``, ``reasoning`` (the rule), ``scores`` (every figure that is defined, at full precision)
    and ``rates`` (``error``, ``truncated_or_empty``, ``truncated_in_reasoning``, ``unparsed``, ``repeating``,
    as shares of ``n``).

    Args:
        path: the file.
        task: only this task's lines.
        tasks_dirs: further folders with task files.
        official_random: seed of an official random fallback (MMMU's ``official_acc``); None is
            the official script's own.
        reasoning: the rule that separates reasoning from answers (:mod:`evalkit.metrics.reasoning`).
        find_metric: finds a task's metric, or None for an unknown one; the registry by default.

    Raises:
        UsageError: the file can't be read, is empty, has a malformed line or an unknown task.
    """
    lines = list(_read(Path(path), reasoning))
    if not lines:
        raise UsageError(f"predictions `{path}`", "there is nothing in it", _FORM)
    by_task: dict[str, list[_Prediction]] = {}
    for line in lines:
        by_task.setdefault(line.task, []).append(line)
    if task is not None:
        if task not in by_task:
            raise UsageError(
                f"predictions `{path}` have no task `{task}`",
                f"the file has {', '.join(by_task)}.{did_you_mean(task, by_task)}",
                "give one of these to `--task`, or leave it out",
            )
        by_task = {task: by_task[task]}
    metrics = _metrics(path, by_task, find_metric or _registry_metric(tasks_dirs))
    return {
        name: {"n": len(found), "reasoning": reasoning, **_block(path, found, metrics[name], official_random)}
        for name, found in by_task.items()
    }


def _registry_metric(tasks_dirs: Sequence[str]) -> FindMetric:
    from evalkit.core.registry import declared, load_task

    known = {info.name for info in declared(tasks_dirs)}
    return lambda name: load_task(name, tasks_dirs).metric if name in known else None


def _metrics(path: Path, by_task: Mapping[str, list[_Prediction]], find: FindMetric) -> dict[str, Metric]:
    metrics = {}
    unknown = {}
    for name, lines in by_task.items():
        metric = find(name)
        if metric is None:
            unknown[name] = lines
        else:
            metrics[name] = metric
    if unknown:
        listed = "; ".join(f"`{name}` ({_places(lines)})" for name, lines in unknown.items())
        raise UsageError(
            f"predictions `{path}` name unknown tasks",
            f"there is no task {listed}",
            "see `evalkit tasks` for names, add your own with `--tasks-dir`, or pick lines with `--task`",
        )
    return metrics


def _places(lines: Sequence[_Prediction]) -> str:
    shown = ", ".join(str(line.number) for line in lines[:_LISTED])
    more = f" and {len(lines) - _LISTED} more" if len(lines) > _LISTED else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"


def _block(path: Path, lines: Sequence[_Prediction], metric: Metric, seed: int | None) -> dict[str, Any]:
    answers = [line.answer for line in lines]
    scores = [_score(path, line, metric) for line in lines]
    items = [Scored(score, answer.groups) for score, answer in zip(scores, answers, strict=True)]
    figures = metric.summarise(items)
    if isinstance(metric, FileMetric):
        figures |= metric.file_figures(answers, scores, seed)
    counts = {
        "error": 0,  # a line is an answer; a sample without one has no line
        "truncated_or_empty": sum(is_empty(answer.prediction) for answer in answers),
        "truncated_in_reasoning": sum(line.reading.truncated for line in lines),
        "unparsed": sum(score.parse_error is not None for score in scores),
        "repeating": sum(any(map(is_repeating, (line.text, line.reading.final))) for line in lines),
    }
    return {
        "scores": {name: value for name, value in figures.items() if not math.isnan(value)},
        "rates": {name: count / len(lines) for name, count in counts.items()},
    }


def _score(path: Path, line: _Prediction, metric: Metric) -> Score:
    try:
        return finite_score(score_answer(metric, line.answer, line.reading))
    except Exception as problem:  # noqa: BLE001 - a line may hold anything, and a metric be a user's own
        raise UsageError(
            f"`{path}` line {line.number} can't be scored as {line.task}",
            str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}",
            "mend the line; `evalkit tasks show " + line.task + "` says what the task expects",
        ) from None


def _read(path: Path, reasoning: str) -> Iterator[_Prediction]:
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise of_file(f"predictions `{path}`", problem, "give a readable JSONL file") from None
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _parse(number, line, reasoning)
        except _MalformedLine as problem:
            raise UsageError(f"`{path}` line {number} is no prediction", str(problem), _FORM) from None


def _parse(number: int, line: bytes, reasoning: str) -> _Prediction:
    try:
        fields = json.loads(line, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as problem:
        raise _MalformedLine(f"it is not valid JSON: {problem}") from None
    if not isinstance(fields, dict):
        raise _MalformedLine(f"it is a {type(fields).__name__}, not an object")
    for name in ("task", "prediction", "reference"):
        if name not in fields:
            raise _MalformedLine(f"`{name}` is missing")
    space = fields.get("box_space")
    if space is not None and not isinstance(space, str):
        raise _MalformedLine(f"`box_space` is {space!r}, not a text")
    text = _text(fields, "prediction") if fields.get("answered", True) else ""
    reading = split_reasoning(text, reasoning)
    answer = Answer(
        prediction=reading.final,
        reference=fields["reference"],
        question=_text(fields, "question"),
        options=_options(fields.get("options")),
        groups=_groups(fields.get("group")),
        image_size=_size(fields, "image_size"),
        input_size=_size(fields, "input_size"),
        box_space=space,
        extracted="full_response" in fields,
    )
    return _Prediction(number, _text(fields, "task"), answer, text, reading)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        hint = '; an empty answer is ""' if value is None else ""
        raise _MalformedLine(f"`{name}` is {value!r}, not a text{hint}")
    return value


def _options(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not _texts(value.values()):
        raise _MalformedLine('`options` is not a mapping of letters to texts ({"A": "...", "B": "..."})')
    return value


def _groups(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _MalformedLine('`group` is not a mapping of breakdowns to labels ({"split": "human"})')
    groups: dict[str, Any] = {}
    for name, label in value.items():
        if isinstance(label, list) and _texts(label):
            groups[name] = tuple(label)
        elif label is None or isinstance(label, str | int | float):
            groups[name] = label
        else:
            raise _MalformedLine(
                f"`group` has {name!r}: {label!r}; a label is a text, a number, null or a list of texts"
            )
    return groups


def _size(fields: Mapping[str, Any], name: str) -> tuple[int, int] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(_positive(side) for side in value):
        raise _MalformedLine(f"`{name}` is {value!r}, not [width, height] in pixels")
    return (value[0], value[1])


def _positive(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and side > 0


def _texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
