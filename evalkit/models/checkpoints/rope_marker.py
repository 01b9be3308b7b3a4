"""What tells those who load weights without evalkit that they were trained with a RoPE variant.

transformers' ``from_pretrained`` reads a checkpoint of any variant as the family's native one, without a
word: ``rope_variant`` in its ``config.json`` means nothing to it. Two things speak: a text file beside the
weights, and a marker among them, a tensor of a few bytes whose name is the warning. transformers lists it in
its load report as UNEXPECTED, others refuse it; nothing is executed. evalkit leaves it out, and reads the
variant from it where ``config.json`` was replaced.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalkit.core.atomic_files import write_atomic
from evalkit.core.errors import EnvironmentProblem
from evalkit.models.checkpoints.files import INDEX, SINGLE_WEIGHTS, header_of, read_json, shards

if TYPE_CHECKING:
    import numpy.typing as npt

NOTE = "ROPE_VARIANT.txt"
_PREFIX = "rope_variant_is_"
_ENDING = "__load_with_evalkit_load_model"


def marker_name(variant: str) -> str:
    """Name of the tensor.

    >>> marker_name("mrope-i(temporal_stride=2)")
    'rope_variant_is_mrope_i_temporal_stride_2__load_with_evalkit_load_model'
    """
    return _PREFIX + re.sub(r"\W+", "_", variant).strip("_") + _ENDING


def is_marker(name: str) -> bool:
    """Whether a tensor is nothing but the marker."""
    return name.startswith(_PREFIX) and name.endswith(_ENDING)


def marker_bytes(variant: str) -> npt.NDArray[np.uint8]:
    """What the tensor holds: the variant's text."""
    return np.frombuffer(variant.encode(), dtype=np.uint8).copy()


def marked_variant(folder: Path) -> str | None:
    """The variant that a marker among a folder's weights says they were trained with, if there is one.

    Raises:
        EnvironmentProblem: the weights or their index are damaged.
    """
    from safetensors import SafetensorError, safe_open

    if (folder / INDEX).is_file():
        shards(folder)  # refuses an index that is none
        files = {str(name): str(file) for name, file in read_json(folder / INDEX)["weight_map"].items()}
    elif (folder / SINGLE_WEIGHTS).is_file():
        files = dict.fromkeys(header_of(folder / SINGLE_WEIGHTS), SINGLE_WEIGHTS)
    else:
        return None
    name = next(filter(is_marker, files), None)
    if name is None:
        return None
    try:
        with safe_open(folder / files[name], framework="numpy") as tensors:
            return bytes(tensors.get_tensor(name)).decode()
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise EnvironmentProblem(
            f"`{folder / files[name]}` can't be read",
            f"its tensor `{name}` should say the RoPE variant: {error}",
            "copy or download the checkpoint again",
        ) from None


def write_note(folder: Path, variant: str) -> Path:
    """Write the text file beside the weights."""
    text = f"""These weights were trained with the RoPE variant `{variant}`.

transformers' from_pretrained doesn't know it: it would compute with the model's native positions, and answer
worse without an error. Load them with

    import evalkit
    model = evalkit.load_model("{folder}")

and evaluate them with `evalkit run --model {folder}`, which reads `rope_variant` in config.json. No remote
code is needed. `evalkit docs train` says more.
"""
    return write_atomic(folder / NOTE, text)
