"""What tells those who load weights without evalkit that they were trained with a RoPE variant.

transformers' ``from_pretrained`` reads a checkpoint of any variant as the family's native one, without a
word: ``rope_variant`` in its ``config.json`` means nothing to it. Two things speak: a text file beside the
weights, and a tensor of one number among them, whose name is the warning. transformers lists it in its load
report as UNEXPECTED, others refuse it; nothing is executed. evalkit knows it and leaves it out.
"""

from __future__ import annotations

import re
from pathlib import Path

from evalkit.core.atomic_files import write_atomic

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
