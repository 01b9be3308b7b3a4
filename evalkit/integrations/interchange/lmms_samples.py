"""lmms-eval's ``*_samples_TASK.jsonl`` (``--log_samples``), as 0.7 writes them and earlier versions did.

A line has ``doc_id`` (the document's place in the split), ``target`` (as text), ``input``, the task's own
scores, and ``filtered_resps``: what the task's filter left of the answer. ``resps`` stands beside it where it
is another text, such as one with its reasoning. The results file beside it says which version wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.integrations.interchange.answers import ForeignAnswer, ResultsFile, listed, numbers, unreadable

_NAME = re.compile(r"(?P<date>.+)_samples_(?P<task>.+)")
_OWN = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "token_counts", "doc_hash", "input",
    "input_media", "prompt_hash", "target_hash", "filter", "metrics",
}  # fmt: skip
_FILTERED = (
    "answers are what the filter of lmms-eval's task left of the model's text; where it extracts, the text "
    "itself is not in the file"
)
_UNTOLD = "whether answers were cut off is not in the file: none counts as truncated"


def is_samples(first: Mapping[str, Any]) -> bool:
    """Whether a line of JSON is one of lmms-eval's."""
    return "doc_id" in first and ("filtered_resps" in first or "resps" in first)


def read(path: Path) -> ResultsFile:
    """Read a file of samples.

    Raises:
        UsageError: a line can't be read; says which.
    """
    named = _NAME.fullmatch(path.stem)
    answers = []
    others: dict[str, None] = {}
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            answer, unread = _answer(path, number, line)
            answers.append(answer)
            others |= dict.fromkeys(unread)
    results = _results(path, named["date"]) if named else {}
    notes = [_FILTERED, _UNTOLD]
    if others:
        notes.append(f"its {', '.join(f'`{name}`' for name in others)} is no number, and not compared")
    version = str(results.get("lmms_eval_version") or "")
    task = named["task"] if named else ""
    return ResultsFile(
        path, "lmms-eval", version, task, str(results.get("model_name") or ""), answers, tuple(notes)
    )


def _results(path: Path, date: str) -> Mapping[str, Any]:
    """What the results file of the same command says."""
    beside = path.with_name(f"{date}_results.json")
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _answer(path: Path, number: int, line: bytes) -> tuple[ForeignAnswer, list[str]]:
    try:
        fields = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise unreadable(
            path, f"line {number} can't be read as JSON: {error}", "copy the file again, or mend that line"
        ) from None
    if not isinstance(fields, dict) or not is_samples(fields):
        raise unreadable(path, f"line {number} has no `doc_id` with `resps` or `filtered_resps`")
    figures, others = numbers({name: value for name, value in fields.items() if name not in _OWN})
    text, problem = _text(fields.get("resps", fields.get("filtered_resps")))
    identity = fields["doc_id"]
    whole = isinstance(identity, int) and not isinstance(identity, bool)
    doc = fields.get("doc")
    question = doc.get("question") if isinstance(doc, Mapping) else None
    answer = ForeignAnswer(
        id=str(identity),
        where=f"line {number}",
        text=text,
        problem=problem,
        position=identity if whole else None,
        question=question if isinstance(question, str) else "",
        prompt=_prompt(fields),
        **({"reference": listed(fields["target"])} if "target" in fields else {}),
        figures=figures,
    )
    return answer, others


def _text(found: Any) -> tuple[str, str | None]:
    """The text of an answer, which may stand in nested lists and several times; or why there is none."""
    texts = list(_flat(found))
    if not texts or not all(isinstance(each, str) for each in texts):
        return "", "the file has no text as its answer"
    if len(set(texts)) == 1:
        return texts[0], None
    return "", f"the file has {len(texts)} answers or log-likelihoods to it, not one text"


def _flat(value: Any) -> list[Any]:
    return [each for inner in value for each in _flat(inner)] if isinstance(value, list) else [value]


def _prompt(fields: Mapping[str, Any]) -> str:
    """The words of the prompt: a text, or the first one of the request's arguments."""
    given = fields.get("input", fields.get("arguments"))
    return next((each for each in _flat(given) if isinstance(each, str) and each.strip()), "")
