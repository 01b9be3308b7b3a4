"""A baseline: what every sample of a set of runs answered and scored, as small text files.

``FOLDER/order.yaml`` says what is run, ``FOLDER/policy.yaml`` what may change, and
``FOLDER/<arm>/<task>.tsv`` has a line for each sample: its id, score, and answer as JSON text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.shown import scrub, scrubbed
from evalkit.spec import RunSpec, load_config
from evalkit.store import Record, exclusive

ORDER = "order.yaml"
_SCORE = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII)
_HEAD = "sample\tscore\tanswer"
# What of an order is kept: where things lie differs from machine to machine.
_KEPT = (
    "models",
    "ropes",
    "processor",
    "tasks",
    "subset",
    "limit",
    "dtype",
    "max_frames",
    "visual_tokens",
    "mc_logits",
)


@dataclass(frozen=True)
class Answered:
    """One sample: its score (None where it failed) and the model's text."""

    score: float | None
    text: str


Baseline = Mapping[tuple[str, str], Mapping[str, Answered]]


def outcomes(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, Answered]]:
    """Samples by arm and task."""
    found: dict[tuple[str, str], dict[str, Answered]] = {}
    for record in records:
        value = record.score.value if record.score else None
        samples = found.setdefault((record.arm, record.task), {})
        samples[record.sample_id] = Answered(value, record.raw)
    return found


def write(folder: Path, spec: RunSpec, found: Baseline) -> None:
    """Replace a baseline by what was found, when no other process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / ".lock"):
        _write(folder, spec, found)


def _write(folder: Path, spec: RunSpec, found: Baseline) -> None:
    import yaml

    chosen: dict[str, Any] = {name: getattr(spec, name) for name in _KEPT}
    order = {
        name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items() if value
    }
    (folder / ORDER).write_text(yaml.safe_dump(order, sort_keys=True), encoding="utf-8")
    for old in folder.glob("*/*.tsv"):
        old.unlink()
    for (arm, task), samples in sorted(found.items()):
        lines = [_HEAD]
        for name, answered in sorted(samples.items()):
            score = "failed" if answered.score is None else repr(answered.score)
            lines.append("\t".join((_quoted(name), score, json.dumps(answered.text, ensure_ascii=False))))
        path = folder / _file_name(arm) / f"{_file_name(task)}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def refuse_secrets(folder: Path, spec: RunSpec) -> None:
    """Stop before a secret is written into what is to be committed.

    Raises:
        UsageError: a model's, task's or other name that an order keeps holds one.
    """
    for name in _KEPT:
        value = getattr(spec, name)
        if scrubbed(value) != value:
            raise UsageError(
                f"baseline `{folder}`: option `{name}`",
                f"it seems to hold a secret ({scrub(str(value))}), and a baseline is there to be committed",
                "give the secret by its environment variable (HF_TOKEN), or give the folder another name",
            )


def read_order(folder: Path, **options: Any) -> RunSpec:
    """The order of a baseline, with options of this machine.

    Raises:
        UsageError: the folder holds no baseline, or an unknown option.
    """
    if not (folder / ORDER).is_file():
        raise UsageError(
            f"baseline `{folder}`",
            f"it has no {ORDER}",
            f"make one: evalkit ci update {folder} --model ... --tasks ...",
        )
    known = RunSpec.model_fields
    given = {name: value for name, value in options.items() if value is not None and name in known}
    return RunSpec(**{**load_config(folder / ORDER), **given})


def read(folder: Path, found: Baseline) -> dict[tuple[str, str], dict[str, Answered]]:
    """All stored samples, by arm and task; what was not ``found`` goes by the names of its files.

    Raises:
        UsageError: a file is damaged.
    """
    names = {(_file_name(arm), _file_name(task)): (arm, task) for arm, task in found}
    return {
        names.get((path.parent.name, path.stem), (path.parent.name, path.stem)): _read_file(path)
        for path in sorted(folder.glob("*/*.tsv"))
    }


def _read_file(path: Path) -> dict[str, Answered]:
    try:
        head, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except ValueError as error:
        raise UsageError(f"baseline `{path}`", str(error), "restore it, or update the baseline") from None
    if head != _HEAD:
        raise UsageError(
            f"baseline `{path}`", "its first line is another", "restore it, or update the baseline"
        )
    samples = {}
    for number, line in enumerate(lines, start=2):
        try:
            name, answered = _parsed(line)
            if name in samples:
                raise ValueError(f"sample {name!r} stands there twice")
            samples[name] = answered
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"baseline `{path}` line {number}", str(error), "restore it, or update the baseline"
            ) from None
    return samples


def _parsed(line: str) -> tuple[str, Answered]:
    parts = line.split("\t")
    if len(parts) != 3:
        raise ValueError(f"it has {len(parts)} columns instead of 3")
    name, text = json.loads(parts[0]), json.loads(parts[2])
    if not isinstance(name, str) or not isinstance(text, str):
        raise ValueError("a sample or an answer is no text")
    if parts[1] == "failed":
        return name, Answered(None, text)
    if not _SCORE.fullmatch(parts[1]) or not math.isfinite(float(parts[1])):
        raise ValueError(f"the score {parts[1][:40]!r} is no finite number")
    return name, Answered(float(parts[1]), text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w@.()=,+-]", "-", text)
