"""From a name to a model: ``mock``, a zoo model, a checkpoint folder or a hub id."""

from __future__ import annotations

import importlib
from typing import Any

from evalkit.errors import UsageError, did_you_mean
from evalkit.models.base import Card, Model, Placing
from evalkit.models.checkpoint import read_config
from evalkit.models.families import FAMILIES
from evalkit.models.source import Source, find
from evalkit.provenance import refuse_untried
from evalkit.rope.variants import RopeVariant, parse_variant


def load_model(name: str, *, rope: str = "auto", dtype: str = "auto", device: str = "auto") -> Model:
    """Load a model with one RoPE variant installed.

    Args:
        name: ``mock[:behaviour]``, ``tiny``, a checkpoint folder, or a hub id (``@revision`` may follow); an
            adapter's folder or hub id, or ``BASE+ADAPTER``.
        rope: a variant (see :func:`~evalkit.rope.variants.parse_variant`); ``auto`` is what the
            checkpoint's ``config.rope_variant`` says, else the family's native one.
        dtype: ``auto`` (bfloat16 on a GPU, float32 on a CPU), ``float32``, ``bfloat16``, ``float16``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: no such checkpoint, family, variant, dtype or device name.
        EnvironmentProblem: the checkpoint or the device can't be used.
    """
    return describe_model(name, rope, Placing(dtype, device)).load()


def describe_model(name: str, rope: str = "auto", where: Placing | None = None) -> Card:
    """What :func:`load_model` would load, without the weights; ``where`` is its dtype and device. Files that
    were not hashed before are read.

    Raises:
        UsageError: no such checkpoint, family, variant, dtype or device name.
        EnvironmentProblem: the checkpoint or the device can't be used, torch or transformers is too old.
    """
    where = where or Placing()
    if name.partition(":")[0] == "mock":
        return _describe("mock", None, name, _variant(rope, None, "mock"), where)
    refuse_untried()
    source = find(name, str(_variant(rope, None, "qwen2_5_vl")))
    family = str(read_config(source.folder).get("model_type"))
    if family not in FAMILIES or family == "mock":
        known = [each for each in FAMILIES if each != "mock"]
        raise UsageError(
            f"model `{name}` is of the family `{family}`",
            f"evalkit can run: {', '.join(known)}.{did_you_mean(family, known)}",
            "choose a checkpoint of one of these families (`evalkit models`)",
        )
    return _describe(family, source, name, _variant(rope, source.rope, family), where)


def _describe(family: str, source: Source | None, name: str, variant: RopeVariant, where: Placing) -> Card:
    module = importlib.import_module(FAMILIES[family].module)
    card: Card = module.describe(source, name, variant, where)
    return card


def _variant(rope: str, trained_with: Any, family: str) -> RopeVariant:
    wanted = rope if rope != "auto" else str(trained_with or FAMILIES[family].native_rope)
    try:
        return parse_variant(wanted)
    except ValueError as error:
        hint = did_you_mean(getattr(error, "name", wanted), getattr(error, "known", ()))
        source = "RoPE variant" if rope != "auto" else "the checkpoint's `rope_variant`"
        raise UsageError(f"{source} `{wanted}`", f"{error}.{hint}", "see `evalkit ropes`") from None
