"""A baseline: the answer and score of every sample of a run, as small text files.

``FOLDER/order.yaml`` is the run spec, ``FOLDER/policy.yaml`` says what may change, and
``FOLDER/<arm>/<task>.tsv`` has a line for each sample: id, score, and answer as JSON text.

An update is atomic: the new files are written into ``FOLDER/.update``, which appears with all of them at
once, and are then moved into FOLDER. As long as ``.update`` is there, the baseline is read from it.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.config.run_spec import RunSpec, load_config
from evalkit.core.atomic_files import atomic_folder, list_files, make_folder, staging_folder, write_atomic
from evalkit.core.console import scrub, scrubbed
from evalkit.core.errors import UsageError
from evalkit.store import Record, exclusive

RUN_SPEC_FILE = "order.yaml"
_UPDATE = ".update"
_SCORE = re.compile(r"-?\d+(\.\d*)?(e[+-]?\d+)?", re.ASCII)
_HEAD = "sample\tscore\tanswer"
# Options that a baseline keeps; folders and devices differ from machine to machine.
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
    "video_backend",
    "mc_logits",
)


@dataclass(frozen=True)
class BaselineAnswer:
    """A sample's score (None where it failed) and the model's answer."""

    score: float | None
    text: str


Baseline = Mapping[tuple[str, str], Mapping[str, BaselineAnswer]]


def baseline_answers(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, BaselineAnswer]]:
    """The answers in records, by arm, task and sample id."""
    found: dict[tuple[str, str], dict[str, BaselineAnswer]] = {}
    for record in records:
        value = record.score.value if record.score else None
        samples = found.setdefault((record.arm, record.task), {})
        which = f" (answer {record.repetition + 1})" if record.repetition else ""
        samples[f"{record.sample_id}{which}"] = BaselineAnswer(value, record.raw)
    return found


def write(folder: Path, spec: RunSpec, found: Baseline) -> None:
    """Replace a baseline, under a lock."""
    make_folder(folder)
    with exclusive(folder / ".lock"):
        _finish_update(folder)  # one that was interrupted
        with atomic_folder(folder / _UPDATE) as work:
            _fill(work, spec, found)
        _finish_update(folder)


def _finish_update(folder: Path) -> None:
    """Move the files of ``.update``, if there is one, into the baseline; it may be of a killed update."""
    update = folder / _UPDATE
    if not update.is_dir():
        return
    names = [path.relative_to(update) for path in _files(update)]
    for old in _files(folder):
        if old.relative_to(folder) not in names:
            old.unlink()
    for name in [*names, Path(RUN_SPEC_FILE)]:
        write_atomic(folder / name, (update / name).read_bytes())
    with staging_folder(folder) as gone:
        os.replace(update, gone / _UPDATE)


def _current(folder: Path) -> Path:
    """The folder to read a baseline from."""
    update = folder / _UPDATE
    return update if update.is_dir() else folder


def _files(folder: Path) -> list[Path]:
    """The files of answers of a folder, without those in ``.update``."""
    arms = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != _UPDATE)
    return [path for arm in arms for path in list_files(arm, "*.tsv")]


def _fill(folder: Path, spec: RunSpec, found: Baseline) -> None:
    import yaml

    chosen: dict[str, Any] = {name: getattr(spec, name) for name in _KEPT}
    options = {
        name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items() if value
    }
    (folder / RUN_SPEC_FILE).write_text(yaml.safe_dump(options, sort_keys=True), encoding="utf-8")
    for (arm, task), samples in sorted(found.items()):
        lines = [_HEAD]
        for name, answered in sorted(samples.items()):
            score = "failed" if answered.score is None else repr(answered.score)
            lines.append("\t".join((_quoted(name), score, _quoted(answered.text))))
        path = answers_file(folder, arm, task)
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def refuse_secrets(folder: Path, spec: RunSpec) -> None:
    """Refuse a run spec whose options hold a secret, since baselines are committed.

    Raises:
        UsageError: names the option.
    """
    for name in _KEPT:
        value = getattr(spec, name)
        if scrubbed(value) != value:
            raise UsageError(
                f"baseline `{folder}`: option `{name}`",
                f"it seems to hold a secret ({scrub(str(value))}), and a baseline is there to be committed",
                "give the secret by its environment variable (HF_TOKEN), or give the folder another name",
            )


def read_run_spec(folder: Path, **options: Any) -> RunSpec:
    """The run spec of a baseline, with options of this machine.

    Raises:
        UsageError: the folder holds no baseline, or an unknown option.
    """
    path = _current(folder) / RUN_SPEC_FILE
    if not path.is_file():
        raise UsageError(
            f"baseline `{folder}`",
            f"it has no {RUN_SPEC_FILE}",
            f"make one: evalkit ci update {folder} --model ... --tasks ...",
        )
    known = RunSpec.model_fields
    given = {name: value for name, value in options.items() if value is not None and name in known}
    return RunSpec(**{**load_config(path), **given})


def read(folder: Path, found: Baseline) -> dict[tuple[str, str], dict[str, BaselineAnswer]]:
    """The stored answers by arm and task; names that are not among those ``found`` are taken from file names.

    Raises:
        UsageError: a file is damaged.
    """
    names = {(_file_name(arm), _file_name(task)): (arm, task) for arm, task in found}
    return {
        names.get((path.parent.name, path.stem), (path.parent.name, path.stem)): _read_file(path)
        for path in _files(_current(folder))
    }


def answers_file(folder: Path, arm: str, task: str) -> Path:
    """The file of a baseline with the answers of an arm on a task."""
    return folder / _file_name(arm) / f"{_file_name(task)}.tsv"


def line_of(path: Path, sample: str) -> int | None:
    """The number of a sample's line, from 1 on; None if it has none."""
    start = f"{_quoted(sample)}\t"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError:
        return None
    return next((number for number, line in enumerate(lines, 1) if line.startswith(start)), None)


def baselines_in(place: Path) -> list[Path]:
    """The baselines in a folder of baselines."""
    return sorted(path for path in place.glob("*/") if (_current(path) / RUN_SPEC_FILE).is_file())


def _read_file(path: Path) -> dict[str, BaselineAnswer]:
    samples: dict[str, BaselineAnswer] = {}
    where = f"baseline `{path}`"
    try:
        head, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        if head != _HEAD:
            raise ValueError("its first line is another")
        for number, line in enumerate(lines, start=2):
            where = f"baseline `{path}` line {number}"
            name, answered = _parsed(line)
            if name in samples:
                raise ValueError(f"sample {name!r} stands there twice")
            samples[name] = answered
    except (ValueError, RecursionError) as error:
        raise UsageError(where, str(error), "restore it, or update the baseline") from None
    return samples


def _parsed(line: str) -> tuple[str, BaselineAnswer]:
    parts = line.split("\t")
    if len(parts) != 3:
        raise ValueError(f"it has {len(parts)} columns instead of 3")
    name, text = json.loads(parts[0]), json.loads(parts[2])
    if not isinstance(name, str) or not isinstance(text, str):
        raise ValueError("a sample or an answer is no text")
    if parts[1] == "failed":
        return name, BaselineAnswer(None, text)
    if not _SCORE.fullmatch(parts[1]) or not math.isfinite(float(parts[1])):
        raise ValueError(f"the score {parts[1][:40]!r} is no finite number")
    return name, BaselineAnswer(float(parts[1]), text)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _file_name(text: str) -> str:
    return re.sub(r"[^\w@.()=,+-]", "-", text)
