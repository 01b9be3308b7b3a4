"""Checkpoints in the form of their authors' own programs; transformers' form is another repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evalkit.models.families.family import AuthorFormat
from evalkit.models.families.registry import FAMILIES


def author_format(folder: Path, config: Mapping[str, Any]) -> tuple[str, str] | None:
    """What such a checkpoint is, and what to use instead; None for all others."""
    # A snapshot in the hub's cache is named by its commit, its repository two folders above.
    names = " ".join((str(config.get("_name_or_path")), str(folder.resolve())))
    for family in FAMILIES.values():
        known = family.author_format
        if known is not None and known.model_type == config.get("model_type"):
            return known.summary, f"use the {known.converted} repository{_repository(known, names)}"
    return None


def _repository(known: AuthorFormat, names: str) -> str:
    convert = f"convert it with transformers' {known.converter}"
    for pattern, repository in known.repositories:
        found = re.search(pattern, names)
        if found is not None:
            return f" `{repository.format(found[1])}`; if this was trained further, {convert}"
    return f" (`{known.example}` and its sisters), or {convert}"
