"""Inspect's logs (``.eval``, or ``.json``), read by ``inspect_ai`` itself: the extra ``inspect``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from evalkit.core.errors import EnvironmentProblem
from evalkit.data.archives import zip_bomb_problem
from evalkit.integrations.interchange.answers import ForeignAnswer, ResultsFile, lettered, numbers, unreadable

# As inspect_ai's `value_to_float` reads them; it takes any other word for 0, and here that is no figure.
_WORDS = {"c": 1.0, "i": 0.0, "p": 0.5, "n": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
_UNREAD = {"events", "messages", "store", "timelines"}
_CUT = ("max_tokens", "model_length")


def inspect_logs() -> ModuleType:
    """``inspect_ai.log``.

    Raises:
        EnvironmentProblem: it is not installed.
    """
    try:
        import inspect_ai.log
    except ImportError as error:
        raise EnvironmentProblem(
            "Inspect's logs need the package `inspect_ai`",
            str(error),
            "install it in an environment with evalkit: pip install 'evalkit[inspect]'",
        ) from None
    logs: ModuleType = inspect_ai.log
    return logs


def read(path: Path) -> ResultsFile:
    """Read a log.

    Raises:
        EnvironmentProblem: inspect_ai is not installed.
        UsageError: it is no log, is damaged, or has no samples.
    """
    logs = inspect_logs()
    reason = zip_bomb_problem(path)
    if reason:
        raise unreadable(path, f"it {reason}", "copy the file again")
    try:
        log = logs.read_eval_log(str(path.absolute()), resolve_attachments="core", exclude_fields=_UNREAD)
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes it raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise unreadable(path, f"inspect_ai can't read it: {why}", "copy the file again") from None
    samples = log.samples or []
    if not samples:
        raise unreadable(path, f"it has no samples; its status is `{log.status}`")
    others: dict[str, None] = {}
    answers = []
    for sample in samples:
        answer, unread = _answer(sample)
        answers.append(answer)
        others |= dict.fromkeys(unread)
    notes = [] if log.status == "success" else [f"Inspect's own run ended as `{log.status}`"]
    notes += ["Inspect calls the log invalidated"] if log.invalidated else []
    if others:
        notes.append(f"its {', '.join(f'`{name}`' for name in others)} is no number, and not compared")
    # `evalkit export` wrote this log: evalkit asked.
    ours = "evalkit" in (log.eval.metadata or {})
    tool, package = ("evalkit in a log of Inspect", "evalkit") if ours else ("Inspect", "inspect_ai")
    version = str(log.eval.packages.get(package, ""))
    return ResultsFile(path, tool, version, str(log.eval.task), str(log.eval.model), answers, tuple(notes))


def _answer(sample: Any) -> tuple[ForeignAnswer, list[str]]:
    scores = {name: score.value for name, score in (sample.scores or {}).items()}
    figures, others = numbers(dict(_figures(scores)))
    target = sample.target
    output = sample.output
    several = len(output.choices) > 1
    answer = ForeignAnswer(
        id=str(sample.id),
        where=f"sample {sample.id!r}, epoch {sample.epoch}",
        text=output.completion or "",
        problem=_problem(sample),
        # A limit of Inspect (on tokens, time or messages) cuts an answer off as one of the model does.
        cut=sample.limit is not None or (bool(output.choices) and output.choices[0].stop_reason in _CUT),
        prompt=_prompt(sample.input),
        options=lettered(sample.choices or ()),
        reference=target[0] if isinstance(target, list) and len(target) == 1 else target,
        figures=figures,
        remarks=("of several completions the first is scored",) if several else (),
        epoch=int(sample.epoch),
    )
    return answer, others


def _problem(sample: Any) -> str | None:
    """Why a sample has no answer."""
    if sample.error is not None:
        return f"Inspect: {' '.join(str(sample.error.message).split())}"
    if sample.invalidation is not None:
        return "Inspect calls the sample invalidated"
    if sample.output.error:
        return f"Inspect: {' '.join(str(sample.output.error).split())}"
    if not sample.output.choices:
        return "Inspect has no output of the model"
    return None


def _figures(scores: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Scores by name, with words for right and wrong as numbers; each value of a mapping has its own."""
    for name, value in scores.items():
        if isinstance(value, Mapping):
            yield from _figures({f"{name}.{key}": each for key, each in value.items()})
        else:
            yield name, _WORDS.get(value.lower(), value) if isinstance(value, str) else value


def _prompt(given: Any) -> str:
    """The text of the prompt; of messages, that of the user."""
    if isinstance(given, str):
        return given
    return "\n".join(message.text for message in given if message.role == "user")
