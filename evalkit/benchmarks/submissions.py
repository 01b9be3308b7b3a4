"""Submission files for splits whose answers are not public, in the form that their servers take."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from evalkit.core.submission import Submission, SubmissionEntry
from evalkit.metrics import letters
from evalkit.metrics.choice import extract_letter


def _rrc(entries: Sequence[SubmissionEntry]) -> bytes:
    found = [{"questionId": int(entry.id), "answer": entry.text} for entry in entries]
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _evalai_vqa(entries: Sequence[SubmissionEntry]) -> bytes:
    found = [{"question_id": int(entry.id), "answer": entry.text} for entry in entries]
    return json.dumps(found, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _blink(entries: Sequence[SubmissionEntry]) -> bytes:
    # The authors write (Z) where no option can be read.
    found = {entry.id: f"({letters.blink(entry.text, entry.options) or 'Z'})" for entry in entries}
    return json.dumps(found, indent=4).encode()


def _egoschema(entries: Sequence[SubmissionEntry]) -> bytes:
    table = io.StringIO(newline="")
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("q_uid", "answer"))
    for entry in entries:
        letter = extract_letter(entry.text, entry.options)
        rows.writerow((entry.id, list(entry.options).index(letter) if letter else -1))
    return table.getvalue().encode("utf-8", "backslashreplace")


def _cell(text: Any) -> Any:
    """A text as a spreadsheet can hold it: without control characters, and no formula."""
    if not isinstance(text, str):
        return text
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    plain = ILLEGAL_CHARACTERS_RE.sub("", text).encode("utf-8", "replace").decode("utf-8")
    return f" {plain}" if plain.startswith("=") else plain


def _mmbench(entries: Sequence[SubmissionEntry]) -> bytes:
    import pandas as pd

    rows = [
        {
            "index": int(entry.id),
            "question": entry.question,
            **{letter: entry.options.get(letter) for letter in "ABCD"},
            "category": entry.labels.get("category"),
            "l2-category": entry.labels.get("l2_category"),
            "prediction": entry.text,
        }
        for entry in entries
    ]
    buffer = io.BytesIO()
    rows = [{name: _cell(value) for name, value in row.items()} for row in rows]
    pd.DataFrame(rows).to_excel(buffer, index=False)
    return buffer.getvalue()


RRC = Submission("json", _rrc, "the Robust Reading Competition's portal", numbered=True)
TEXTVQA = Submission("json", _evalai_vqa, "EvalAI's TextVQA challenge", numbered=True)
BLINK = Submission("json", _blink, "EvalAI's BLINK challenge")
EGOSCHEMA = Submission("csv", _egoschema, "EgoSchema's Kaggle competition; -1 where no option could be read")
MMBENCH = Submission("xlsx", _mmbench, "OpenCompass's MMBench server", numbered=True)
