"""``RUN/checkpoint-*``: all checkpoints of a training, in the order of its steps."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from evalkit.config.model_option import split_model_option
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import EvalkitError, UsageError
from evalkit.models.checkpoints.folder_kind import describe_folder, natural

_NAMED = 12


def is_pattern(model: str) -> bool:
    """Whether a name is a pattern of several folders; a folder of this very name comes first.

    >>> is_pattern("mrope=/no/run/checkpoint-*"), is_pattern("mock:fixed=why?"), is_pattern("org/name")
    (True, False, False)
    """
    name = split_model_option(model)[1]
    return glob.has_magic(name) and not name.startswith("mock") and not Path(name).expanduser().exists()


def with_all_steps(spec: RunSpec) -> RunSpec:
    """The same with the folders that are there in the place of patterns.

    Raises:
        UsageError: a pattern matches nothing, or something that is no checkpoint.
    """
    if not any(map(is_pattern, spec.models)):
        return spec
    found = {model: _steps(model) if is_pattern(model) else [model] for model in spec.models}
    labels = dict(spec.labels)
    for model in labels.keys() & found.keys():
        if len(found[model]) > 1:
            raise UsageError(
                f"label `{labels[model]}` of `{model}`",
                f"it would be that of {len(found[model])} checkpoints",
                "give each its own, or none: their names tell the steps",
            )
        labels[found[model][0]] = labels.pop(model)
    # No validation again: it would take a comma in a folder's name for two names.
    models = tuple(each for model in spec.models for each in found[model])
    return spec.model_copy(update={"models": models, "labels": labels})


def with_shell_expanded(models: Sequence[str], more: Iterable[str]) -> tuple[str, ...]:
    """Names of models with those that a shell has put after ``--model RUN/checkpoint-*``: all of a folder go
    together, in the order of their steps.

    Raises:
        UsageError: one of them belongs to no model.
    """
    found: dict[Path, list[str]] = {Path(model).parent: [model] for model in models if Path(model).is_dir()}
    for name in more:
        if not Path(name).is_dir() or Path(name).parent not in found:
            raise UsageError(
                f"unexpected argument `{name}`",
                "it belongs to no option, and is no folder beside one that `--model` names",
                "give names of models with `--model`, and patterns in quotes: `--model 'RUN/checkpoint-*'`",
            )
        found[Path(name).parent].append(name)
    names: list[str] = []
    for model in models:
        group = found.get(Path(model).parent, [model])
        several = len(group) > 1 and model == group[0]
        names += sorted(group, key=lambda name: natural(Path(name))) if several else [model]
    return tuple(names)


def _steps(model: str) -> list[str]:
    variant, pattern = split_model_option(model)
    prefix = "" if variant is None else f"{variant}="
    base, names = _matches(pattern)
    if not names:
        raise UsageError(
            f"model `{pattern}` not found",
            "no folder matches this pattern",
            "check the path; a pattern in quotes is looked up by evalkit, one without by the shell",
        )
    wrong = [f"`{name}` ({why})" for name in names if (why := _no_checkpoint(Path(name)))]
    if wrong:
        shown = ", ".join(wrong[:_NAMED]) + (
            f", and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        )
        raise UsageError(
            f"`{pattern}` matches {len(wrong)} of {len(names)} that are no checkpoint",
            shown,
            "give a narrower pattern, such as `RUN/checkpoint-*`, or move these elsewhere",
        )
    return [f"{prefix}{base}{name}" for name in names]


def _matches(pattern: str) -> tuple[str, list[str]]:
    """What a pattern matches, in the order of steps; a base may come first (``BASE+RUN/checkpoint-*``)."""
    places = [place for place, letter in enumerate(pattern) if letter == "+"]
    for begin in (0, *(place + 1 for place in places)):
        path = Path(pattern[begin:]).expanduser()
        found = {str(Path(name)) for name in glob.glob(str(path))}
        names = sorted(found, key=lambda name: natural(Path(name)))
        if names:
            return pattern[:begin], names
    return "", []


def _no_checkpoint(path: Path) -> str:
    """Why something can't be run, as far as it shows without a tokenizer and processor, which may be lent."""
    if not path.is_dir():
        return "a file"
    try:
        kind = describe_folder(path)
    except EvalkitError as error:
        return error.why
    return kind.name if kind.problem in ("folder", "family") else ""
