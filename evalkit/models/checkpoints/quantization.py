"""Quantised checkpoints: what to say where one can't be loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from evalkit.core.errors import EnvironmentProblem, did_you_mean


def quantisation(folder: Path) -> str | None:
    """How a checkpoint's ``config.json`` says that it was quantised (``gptq``, ``awq``, ...), or None."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    settings = config.get("quantization_config") if isinstance(config, Mapping) else None
    if not isinstance(settings, Mapping):
        return None
    by_bits = "bitsandbytes" if settings.get("load_in_4bit") or settings.get("load_in_8bit") else "unknown"
    return str(settings.get("quant_method") or by_bits)


def check_known(folder: Path) -> None:
    """Raise if a checkpoint was quantised in a way that transformers doesn't know, and would pass over.

    Raises:
        EnvironmentProblem: says which way.
    """
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as KNOWN

    method = quantisation(folder)
    if method is not None and method not in KNOWN and f"{method}_4bit" not in KNOWN:
        raise EnvironmentProblem(
            f"checkpoint `{folder}` (quantised by `{method}`) can't be loaded",
            f"transformers knows no such method{did_you_mean(method, KNOWN)}",
            "use the checkpoint before it was quantised",
        )


def advice(method: str | None) -> str:
    """What to do about a checkpoint that can't be loaded."""
    if method is None:
        return "fetch the checkpoint again, or check its config.json"
    return "install the package that is named above, or use the checkpoint before it was quantised"
