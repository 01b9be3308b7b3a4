"""From a name to a model: ``mock``, a zoo model, a checkpoint folder or a hub id."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from evalkit.config.run_spec import rope_files
from evalkit.core.errors import UsageError, did_you_mean
from evalkit.core.provenance import refuse_untried
from evalkit.models.base import LoadConfig, Model, ModelInfo
from evalkit.models.checkpoints.files import read_config
from evalkit.models.checkpoints.published_ropes import published_note, published_rope
from evalkit.models.checkpoints.source import ZOO, Source, find
from evalkit.models.families.registry import FAMILIES
from evalkit.rope.outside import RopeFile, rope_catalog
from evalkit.rope.validation import BadRope
from evalkit.rope.variant import RopeVariant


def load_model(
    name: str,
    *,
    rope: str = "auto",
    dtype: str = "auto",
    device: str = "auto",
    processor: str | None = None,
    ropes_dirs: Sequence[str] = (),
) -> Model:
    """Load a model with one RoPE variant installed.

    Args:
        name: ``mock[:behaviour]``, ``tiny``, a checkpoint folder, or a hub id (``@revision`` may follow); an
            adapter's folder or hub id, or ``BASE+ADAPTER``.
        rope: a variant (see :func:`~evalkit.rope.variants.parse_variant`); ``auto`` is what the
            checkpoint's ``config.rope_variant`` says, else what its published name stands for, else the
            family's native one.
        dtype: ``auto`` (bfloat16 on a GPU, float32 on a CPU), ``float32``, ``bfloat16``, ``float16``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        processor: a folder or hub id that lends tokenizer and processor settings to a checkpoint without.
        ropes_dirs: folders with RoPE variants of one's own (docs/add-a-rope.md).

    Raises:
        UsageError: no such checkpoint, family, variant, dtype or device name.
        EnvironmentProblem: the checkpoint or the device can't be used.
    """
    files = rope_files(ropes_dirs)
    load_config = LoadConfig(dtype=dtype, device=device, processor=processor, rope_files=files)
    return describe_model(name, rope, load_config).load()


def describe_model(name: str, rope: str = "auto", load_config: LoadConfig | None = None) -> ModelInfo:
    """What :func:`load_model` would load, without the weights. Files that were not hashed before are read.

    Raises:
        UsageError: no such checkpoint, family, variant, dtype or device name.
        EnvironmentProblem: the checkpoint or the device can't be used, torch or transformers is too old.
    """
    load_config = load_config or LoadConfig()
    family, source, variant = find_model(name, rope, load_config)
    model_info: Any = importlib.import_module(FAMILIES[family].module).describe(
        source, name, variant, load_config
    )
    # Other contents of a file are another variant, whatever it is called.
    outside = rope_catalog(load_config.rope_files).sources(variant)
    if source is not None and rope == "auto" and _by_name(name, source):
        model_info = replace(model_info, notes=(*model_info.notes, published_note(str(variant))))
    if outside:
        identity = {f"RoPE file {file}": digest for file, digest in outside.items()}
        model_info = replace(model_info, identity={**model_info.identity, **identity})
    found: ModelInfo = model_info
    trained = _trained_with_another(source, variant, load_config.rope_files)
    if trained is not None:
        note = f"its config says that it was trained with {trained}, and it runs with {variant}: mispaired?"
        found = replace(model_info, trained_with=trained, notes=(*model_info.notes, note))
    return found


def _trained_with_another(
    source: Source | None, variant: RopeVariant, files: tuple[RopeFile, ...]
) -> str | None:
    """The variant that a checkpoint's config names, if it is another than that which it runs with."""
    trained = source.rope if source else None
    if not trained:
        return None
    try:
        known = str(rope_catalog(files).parse(str(trained)))
    except ValueError:  # evalkit has no such variant: it is another
        known = str(trained)
    return None if known == str(variant) else known


def _by_name(name: str, source: Source) -> str | None:
    """The variant that a checkpoint's name alone stands for: not where its config names one."""
    return None if source.rope else published_rope(name, source.folder)


def find_model(
    name: str, rope: str = "auto", load_config: LoadConfig | None = None
) -> tuple[str, Source | None, RopeVariant]:
    """The family, the folders and the variant that a model's name stands for; a mock has no folders.

    Raises:
        UsageError: no such checkpoint, family or variant.
        EnvironmentProblem: it can't be downloaded or read, or torch or transformers is too old.
    """
    load_config = load_config or LoadConfig()
    processor, if_needed = load_config.processor, load_config.processor_if_needed
    if name.partition(":")[0] == "mock":
        if processor is not None and not if_needed:
            raise UsageError(f"`--processor {processor}`", f"`{name}` reads no files at all", "leave it out")
        return "mock", None, _variant(rope, None, "mock", load_config.rope_files)
    refuse_untried()
    zoo = next(each.name for each in FAMILIES.values() if ZOO[0] in each.examples)
    trained = str(_variant(rope, None, zoo, load_config.rope_files))
    source = find(name, trained, processor, processor_if_needed=if_needed)
    family = str(read_config(source.folder)["model_type"])
    trained_with = source.rope or _by_name(name, source)
    return family, source, _variant(rope, trained_with, family, load_config.rope_files)


def _variant(rope: str, trained_with: Any, family: str, files: tuple[RopeFile, ...]) -> RopeVariant:
    wanted = rope if rope != "auto" else str(trained_with or FAMILIES[family].native_rope)
    try:
        return rope_catalog(files).parse(wanted)
    except BadRope as error:
        raise UsageError(error.what, error.why, error.fix) from None
    except ValueError as error:
        hint = did_you_mean(getattr(error, "name", wanted), getattr(error, "known", ()))
        source = "RoPE variant" if rope != "auto" else "the checkpoint's `rope_variant`"
        raise UsageError(
            f"{source} `{wanted}`",
            f"{error}.{hint}",
            "see `evalkit ropes`, and add `--ropes-dir` for your own",
        ) from None
