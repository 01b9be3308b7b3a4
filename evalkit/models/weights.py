"""The weights of a checkpoint, loaded by transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from evalkit.errors import EnvironmentProblem, UsageError
from evalkit.models.aligned import align_tower
from evalkit.models.checkpoint import weight_files
from evalkit.models.quantised import advice, check_known, quantisation


def load_weights(
    model_class: str, folder: Path, dtype: torch.dtype, device: torch.device, device_map: str | None
) -> Any:
    """A transformers model in evaluation mode, whose every weight comes from a checkpoint folder.

    Raises:
        UsageError: there is no such device map.
        EnvironmentProblem: the weights are damaged or missing, or don't fit into memory.
    """
    import transformers
    from safetensors import SafetensorError

    weight_files(folder)
    check_known(folder)
    if device_map:
        _check_device_map(device_map)
    try:
        with no_progress_bars():
            model, report = getattr(transformers, model_class).from_pretrained(
                folder,
                dtype=dtype,
                device_map=device_map,
                attn_implementation="sdpa",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        missing = sorted(report["missing_keys"])
        if missing:
            raise ValueError(f"it lacks {len(missing)} weights, {missing[0]} among them")
        if any(each.is_meta for each in model.parameters()):
            raise torch.OutOfMemoryError(f"device map `{device_map}` leaves weights outside the devices")
        if device_map:
            return model.eval()
        placed = model.to(device).eval()
        if device.type == "cuda" and dtype != torch.float32:
            align_tower(placed)
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
