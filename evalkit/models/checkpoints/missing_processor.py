"""What a checkpoint lacks of tokenizer and processor, and which model has it: the one it was trained from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.models.checkpoints.files import has_settings, has_template, has_tokenizer
from evalkit.models.families.registry import FAMILIES

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class NamedBase:
    """A folder or hub id, the file that names it, and whether it can be used on this machine."""

    name: str
    source: str
    here: bool


def processor_parts(text: Path, pixels: Path, *, template: bool = True) -> list[str]:
    """What is missing of a tokenizer, its chat template, and a processor, which may lie in two folders."""
    found = [
        (has_tokenizer(text), "tokenizer (tokenizer.json, or vocab.json and merges.txt)"),
        (not template or has_template(text), "chat template (chat_template.jinja)"),
        (has_settings(pixels), "processor settings (processor_config.json or preprocessor_config.json)"),
    ]
    return [name for there, name in found if not there]


def processor_fix(folder: Path, config: Mapping[str, Any]) -> str:
    """Where a checkpoint's tokenizer and processor could come from."""
    known = base_named_in(folder, config)
    if known is not None and known.here:
        return (
            f"give `--processor {known.name}`, the model that it was trained from ({known.source} names it)"
        )
    examples = [each for each in FAMILIES[config["model_type"]].examples if "/" in each]
    absent = f"; {known.source} names `{known.name}`, which is not here" if known else ""
    return (
        f"give `--processor BASE` with the model that it was trained from (a folder, or a hub id such as "
        f"{examples[0]}){absent}"
    )


def base_named_in(folder: Path, config: Mapping[str, Any]) -> NamedBase | None:
    """The model that a folder was trained from: one that has tokenizer and processor, if any is named."""
    parent = folder.resolve().parent
    if folder.name.startswith("checkpoint-") and _whole(parent):
        return NamedBase(str(parent), "the folder of its training", True)
    own = folder.resolve()
    named = [each for each in _named(folder, config) if each[0] and Path(each[0]).resolve() != own]
    for name, source in named:
        path = _path(folder, name)
        if path is not None and _whole(path):
            return NamedBase(str(path), source, True)
        if path is None and _HUB_ID.fullmatch(name) and not name.startswith("."):
            return NamedBase(name, source, True)
    return NamedBase(*named[0], False) if named else None


def _whole(folder: Path) -> bool:
    return not processor_parts(folder, folder)


def _path(folder: Path, name: str) -> Path | None:
    """The folder of a name as a trainer wrote it, but not the checkpoint's own."""
    for path in (Path(name).expanduser(), folder / name):
        if path.is_dir() and path.resolve() != folder.resolve():
            return path
    return None


def _named(folder: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names, in the order in which they are to be believed."""
    steps = (folder.parent,) if folder.name.startswith("checkpoint-") else ()
    for place in (folder, *steps):
        for name in _front_matter(place / "README.md").get("base_model") or ():
            yield str(name), "README.md"
        for key in ("model", "model_id_or_path", "model_dir"):  # of ms-swift
            yield str(_json(place / "args.json").get(key) or ""), "args.json"
        for file in ("training_args.yaml", "llamaboard_config.yaml"):  # of LLaMA-Factory
            yield _yaml_line(place / file, "model_name_or_path"), file
    yield str(config.get("_name_or_path") or ""), "its config.json"


def _front_matter(path: Path) -> Mapping[str, Any]:
    """What the head of a model card says, with ``base_model`` as a list."""
    import yaml

    found = re.match(r"---\n(.*?)\n---", _text(path), re.DOTALL)
    try:
        content = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return {}
    if not isinstance(content, dict):
        return {}
    base = content.get("base_model")
    return {"base_model": base if isinstance(base, list) else [base] if base else []}


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(_text(path))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _yaml_line(path: Path, key: str) -> str:
    found = re.search(rf"^[\w.]*{key}: *['\"]?([^'\"\n]+)", _text(path), re.MULTILINE)
    return found[1].strip() if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
