"""What a choice of variant needs beside runs: the heads of the checkpoint, and stored diagnoses."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evalkit.core.errors import EvalkitError, UsageError
from evalkit.diagnose.spectrum import Head
from evalkit.models.checkpoints.files import read_config
from evalkit.models.checkpoints.source import ZOO, find
from evalkit.report.comparison import Arm


def head_of_arms(arms: Iterable[Arm], kv_heads: int | None = None) -> Head | None:
    """The heads of the first arm whose checkpoint is on this machine, as it is now; None if none is.
    ``kv_heads`` are taken instead of its own.
    """
    for arm in arms:
        if Path(arm.model).expanduser().is_dir() or arm.model in ZOO:
            try:
                config = read_config(find(arm.model, arm.rope).folder)
            except EvalkitError:
                continue
            if head := head_of_config(config):
                return replace(head, kv_heads=kv_heads or head.kv_heads)
    return None


def head_of_config(config: Mapping[str, Any]) -> Head | None:
    """Of a checkpoint's ``config.json``, that of its language model; None if it doesn't say."""
    for own in (config.get("text_config"), config.get("llm_config"), config):
        if isinstance(own, Mapping) and (heads := _number(own, "num_attention_heads")):
            rope = own.get("rope_parameters") or own.get("rope_scaling")
            rope = rope if isinstance(rope, Mapping) else {}
            size = _number(own, "head_dim") or (_number(own, "hidden_size") or 0) // heads
            base = _number(own, "rope_theta") or _number(rope, "rope_theta")
            length = _number(rope, "original_max_position_embeddings") or _number(
                own, "max_position_embeddings"
            )
            share = _number(rope, "partial_rotary_factor") or _number(own, "partial_rotary_factor") or 1
            width = int(size * share) // 2 * 2
            if width and base and base > 1 and length:
                return Head(width, int(_number(own, "num_key_value_heads") or heads), base, int(length))
    return None


def _number(values: Mapping[str, Any], name: str) -> float | None:
    found = values.get(name)
    usable = isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < math.inf
    return float(found) if usable and found is not None else None


class _Stored(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Cell(_Stored):
    arm: str
    answers: Annotated[int, Field(ge=0)]
    loop: Annotated[int, Field(ge=0)]
    truncated: Annotated[int, Field(ge=0)]
    empty: Annotated[int, Field(ge=0)]
    language: Annotated[int, Field(ge=0)]
    format: Annotated[int, Field(ge=0)]


class _Verdict(_Stored):
    criterion: str
    met: bool | None
    why: str


class _Variant(_Stored):
    variant: str
    verdicts: list[_Verdict]


class _System(_Stored):
    name: str
    rope: str


class _Figure(_Stored):
    system: str
    task: str
    measure: str
    layer: int | str
    heads: int | str
    axis: str | None = None
    begin: float | None = None
    value: float | None = None


class StoredGeneration(_Stored):
    """What is read of the result of ``evalkit diagnose generation``."""

    cells: list[_Cell]


class StoredRopes(_Stored):
    """What is read of the result of ``evalkit diagnose ropes``."""

    variants: list[_Variant]


class StoredAttention(_Stored):
    """What is read of the result of ``evalkit diagnose attention``."""

    systems: list[_System]
    figures: list[_Figure]


Stored = StoredGeneration | StoredRopes | StoredAttention
_KINDS: Mapping[str, type[StoredGeneration] | type[StoredRopes]] = {
    "generation": StoredGeneration,
    "ropes": StoredRopes,
}


def read_diagnosis(path: Path) -> Stored:
    """A file that ``evalkit diagnose ... --json`` or ``-o`` wrote.

    Raises:
        UsageError: it is none.
    """
    fix = "make one by `evalkit diagnose ropes|generation|attention ... -o FILE.json`"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kind = found.get("kind", "attention") if isinstance(found, dict) else ""
        return _KINDS.get(str(kind), StoredAttention).model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        why = f"it is no result of `evalkit diagnose`: {where}: {first['msg']}"
        raise UsageError(f"diagnosis `{path}`", why, fix) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"diagnosis `{path}`", f"it can't be read: {error}", fix) from None
