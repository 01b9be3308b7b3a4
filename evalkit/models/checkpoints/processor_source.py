"""Tokenizer and processor settings for checkpoints that have none: lent by a base model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.models.checkpoints.files import (
    CONFIG,
    TEMPLATES,
    CheckpointFiles,
    checkpoint_files,
    read_config,
    read_json,
)
from evalkit.models.checkpoints.folder_kind import describe_folder
from evalkit.models.checkpoints.missing_processor import processor_fix, processor_parts


@dataclass(frozen=True)
class ProcessorSource:
    """Where tokenizer and processor settings come from that a checkpoint lacks.

    Attributes:
        name: what the user called it.
        folder: where its files lie.
        if_needed: it was named for several models, some of which may have their own.
    """

    name: str
    folder: Path
    if_needed: bool = False

    def gives(self, files: CheckpointFiles) -> bool:
        """Whether any of its files are read."""
        return any(_lent_parts(files))


def files_with(
    folder: Path, adapter: Path | None, processor_source: ProcessorSource | None
) -> CheckpointFiles:
    """The files of a checkpoint, all of them.

    Raises:
        UsageError: a source was named for a checkpoint that has its own processor, or is of another family.
        EnvironmentProblem: files are missing, damaged or ambiguous.
    """
    _check_family(folder, processor_source)
    files = checkpoint_files(folder, adapter, processor_source.folder if processor_source else None)
    missing = processor_parts(files.text, files.pixels, template=files.text == files.pixels)
    if missing:
        raise _incomplete(files, processor_source, missing)
    return replace(
        files, notes=(*_lent(files, processor_source), *_template_note(files), *_inside(adapter or folder))
    )


def _lent(files: CheckpointFiles, processor_source: ProcessorSource | None) -> list[str]:
    """A sentence about what was lent.

    Raises:
        UsageError: the checkpoint needs nothing.
    """
    if processor_source is None:
        return []
    text, pixels = _lent_parts(files)
    if not (text or pixels) and not processor_source.if_needed:
        raise UsageError(
            f"`--processor {processor_source.name}` for `{files.adapter or files.folder}` is ambiguous",
            "it has a tokenizer and processor settings of its own, and nothing says which are meant",
            "leave `--processor` out, or move its own files elsewhere",
        )
    if not (text or pixels):
        lent = processor_source.name
        return [f"it has a tokenizer and processor of its own: `--processor {lent}` is for others"]
    what = "tokenizer and processor settings" if text and pixels else "the processor settings"
    kept = "" if text and pixels else ", the tokenizer is its own"
    if text and not pixels:
        what, kept = "the tokenizer", ", the processor settings are its own"
    verb = "is" if text and not pixels else "are"
    return [f"{what} {verb} taken from `{processor_source.name}`{kept}"]


def _lent_parts(files: CheckpointFiles) -> tuple[bool, bool]:
    """Whether the tokenizer is another model's, and whether the processor's settings are."""
    own = {each.resolve() for each in (files.folder, files.adapter) if each is not None}
    return files.text.resolve() not in own, files.pixels.resolve() not in own


def _inside(folder: Path) -> list[str]:
    inner = describe_folder(folder).inner
    if not inner:
        return []
    return [f"`{folder}` also holds {', '.join(inner)}: those are run by `--model '{folder}/checkpoint-*'`"]


def _check_family(folder: Path, processor_source: ProcessorSource | None) -> None:
    if processor_source is None or not (processor_source.folder / CONFIG).is_file():
        return
    own, other = (read_config(each).get("model_type") for each in (folder, processor_source.folder))
    if own != other:
        raise UsageError(
            f"`--processor {processor_source.name}`",
            f"it is of the family `{other}`, and `{folder}` of `{own}`",
            "give the model that the checkpoint was trained from",
        )


def _incomplete(
    files: CheckpointFiles, processor_source: ProcessorSource | None, missing: list[str]
) -> EnvironmentProblem:
    own = files.adapter or files.folder
    others = [f"its base `{files.folder}`"] if files.adapter else []
    others += [f"`--processor {processor_source.name}`"] if processor_source else []
    why = f"it has no {', no '.join(missing)}"
    if others:
        why = f"neither it nor {' nor '.join(others)} has a {', a '.join(missing)}"
    fix = (
        "name a model that has them"
        if processor_source
        else processor_fix(files.folder, read_config(files.folder))
    )
    return EnvironmentProblem(f"`{own}` is {describe_folder(own).sentence}", why, fix)


def _template_note(files: CheckpointFiles) -> list[str]:
    """A trainer that was given a tokenizer alone saves it with its own chat template, which in most families
    knows of no media; that of the processor is taken then.
    """
    if files.text == files.pixels or _knows_media(files.text) or not _knows_media(files.pixels):
        return []
    return [f"the chat template of its tokenizer knows of no media; that of `{files.pixels}` is taken"]


def _knows_media(folder: Path) -> bool:
    """Whether a chat template of a folder speaks of images and videos."""
    paths = [folder / "chat_template.jinja", folder / "chat_template.json", *folder.glob(TEMPLATES)]
    found = [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]
    settings: Mapping[str, Any] = {}
    if (folder / "tokenizer_config.json").is_file():
        settings = read_json(folder / "tokenizer_config.json")
    texts = (*found, str(settings.get("chat_template")))
    return any("image" in text and "video" in text for text in texts)
