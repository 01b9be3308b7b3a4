"""The weights of a checkpoint, loaded by transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.inference.padded_linear import pad_gated_mlps
from evalkit.models.checkpoints.files import CheckpointFiles
from evalkit.models.checkpoints.peft_adapters import merge_adapter
from evalkit.models.checkpoints.quantization import advice, check_known, quantisation
from evalkit.models.checkpoints.rope_marker import is_marker
from evalkit.models.preprocess import tokenizer_of


def load_weights(
    model_class: str,
    files: CheckpointFiles,
    tokenizer_file: str,
    dtype: torch.dtype,
    device: torch.device,
    device_map: str | None,
    *,
    pad_modules: Callable[[Any], Iterable[Any]] | None,
) -> Any:
    """A transformers model in evaluation mode. All its weights come from the checkpoint, and all of those are
    used; an adapter is merged; there is an embedding for every token of the tokenizer. ``model_class``: see
    :func:`class_of`; ``pad_modules``: see :class:`~evalkit.models.families.adapter.FamilyAdapter`.

    Raises:
        UsageError: there is no such device map.
        EnvironmentProblem: the weights are damaged or missing, there are more than the model takes, or they
            don't fit into memory.
    """
    from safetensors import SafetensorError

    folder = files.folder
    check_known(folder)
    if device_map:
        _check_device_map(device_map)
    try:
        model = every_weight(model_class, folder, dtype, device_map)
        if files.adapter is not None:
            model = merge_adapter(model, files.adapter)
        _check_tokens(model, tokenizer_file)
        if any(each.is_meta for each in model.parameters()):
            raise torch.OutOfMemoryError(f"device map `{device_map}` leaves weights outside the devices")
        if device_map:
            return model.eval()
        placed = model.to(device).eval()
        if pad_modules is not None and device.type == "cuda" and dtype != torch.float32:
            pad_gated_mlps(pad_modules(placed))
        return placed
    except torch.OutOfMemoryError as error:
        why, fix = str(error).splitlines()[0], "use a smaller checkpoint, or `--dtype bfloat16`"
    except (
        OSError,
        ValueError,
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        ImportError,
        SafetensorError,
    ) as error:
        why, fix = f"{error}", advice(quantisation(folder))
    method = quantisation(folder)
    how = f" (quantised by `{method}`)" if method else ""
    raise EnvironmentProblem(f"checkpoint `{folder}`{how} can't be loaded", why, fix)


def class_of(model_class: str) -> Any:
    """A class of transformers by its name, or another package's by ``module:Class``."""
    module, _, name = model_class.rpartition(":")
    return getattr(import_module(module or "transformers"), name)


def every_weight(model_class: str, folder: Path, dtype: torch.dtype | str, device_map: str | None) -> Any:
    """The model of a folder, if each of its weights found a place and no place stayed empty.

    Raises:
        ValueError: the weights are more, fewer or others than the model takes.
    """
    with no_progress_bars():
        model, report = class_of(model_class).from_pretrained(
            folder,
            dtype=dtype,
            device_map=device_map,
            attn_implementation="sdpa",
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below
            local_files_only=True,
            output_loading_info=True,
        )
    _check_keys(report)
    return model


def _check_keys(report: Mapping[str, Any]) -> None:
    """Every weight found its place, and no place stayed empty. What transformers leaves out knowingly (tied
    weights, buffers of older versions) is not in its report.
    """
    missing = sorted(report["missing_keys"])
    unexpected = sorted(name for name in report["unexpected_keys"] if not is_marker(name))
    if missing:
        raise ValueError(f"it lacks {len(missing)} weights, {missing[0]} among them")
    if unexpected:
        raise ValueError(
            f"the model does not take {len(unexpected)} of its weights, {unexpected[0]} among them"
        )
    mismatched = sorted(report["mismatched_keys"])
    if mismatched:
        name, *shapes = mismatched[0]
        found, wanted = map(list, shapes)
        raise ValueError(f"{len(mismatched)} of its weights don't fit: {name} is {found} instead of {wanted}")
    if report["error_msgs"]:
        raise ValueError(str(report["error_msgs"][0]))


def _check_tokens(model: Any, tokenizer_file: str) -> None:
    """The model has an embedding for every token of the tokenizer."""
    most = max(tokenizer_of(tokenizer_file).get_vocab(with_added_tokens=True).values(), default=-1)
    rows = model.get_input_embeddings().weight.shape[0]
    if most >= rows:
        raise ValueError(f"its tokenizer counts to {most}, and there are {rows} embeddings")


DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")


def _check_device_map(name: str) -> None:
    if name not in DEVICE_MAPS:
        raise UsageError(
            f"device map `{name}`", "there is none of this name", f"use one of {', '.join(DEVICE_MAPS)}"
        )
    if find_spec("accelerate") is None:
        raise EnvironmentProblem(
            "spreading a model over several devices needs the package accelerate",
            "it is not installed",
            "pip install 'evalkit[sharded]'",
        )


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing over evalkit's own display."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
