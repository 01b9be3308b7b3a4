"""From a name to a model: ``mock``, a zoo model, a checkpoint folder or a hub id."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

from evalkit.errors import EnvironmentProblem, UsageError, did_you_mean
from evalkit.models.base import Card, Model, Placing
from evalkit.models.families import FAMILIES
from evalkit.rope.variants import RopeVariant, parse_variant

ZOO = ("tiny",)

# What a checkpoint may consist of. No pickled weights and no Python: nothing untrusted is executed.
HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")


def load_model(name: str, *, rope: str = "auto", dtype: str = "auto", device: str = "auto") -> Model:
    """Load a model with one RoPE variant installed.

    Args:
        name: ``mock[:behaviour]``, ``tiny``, a checkpoint folder, or a hub id.
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
    """What :func:`load_model` would load, without the weights; ``where`` is its dtype and device.

    Raises:
        UsageError: no such checkpoint, family, variant, dtype or device name.
        EnvironmentProblem: the checkpoint or the device can't be used.
    """
    where = where or Placing()
    if name.partition(":")[0] == "mock":
        return _describe("mock", Path(), name, _variant(rope, None, "mock"), where)
    folder = _folder(name, rope)
    config = read_config(folder)
    family = str(config.get("model_type"))
    if family not in FAMILIES or family == "mock":
        known = [each for each in FAMILIES if each != "mock"]
        raise UsageError(
            f"model `{name}` is of the family `{family}`",
            f"evalkit can run: {', '.join(known)}.{did_you_mean(family, known)}",
            "choose a checkpoint of one of these families (`evalkit models`)",
        )
    return _describe(family, folder, name, _variant(rope, config.get("rope_variant"), family), where)


def read_config(folder: Path) -> dict[str, Any]:
    """The checkpoint's ``config.json``.

    Raises:
        EnvironmentProblem: it is missing or unreadable.
    """
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EnvironmentProblem(
            f"`{folder}` is not a model folder",
            "it holds no config.json",
            "give the folder that `save_pretrained` wrote",
        ) from None
    except (OSError, ValueError) as error:
        raise EnvironmentProblem(
            f"`{folder / 'config.json'}` can't be read", str(error), "fetch the checkpoint again"
        ) from None
    return content if isinstance(content, dict) else {}


def _describe(family: str, folder: Path, name: str, variant: RopeVariant, where: Placing) -> Card:
    module = importlib.import_module(FAMILIES[family].module)
    card: Card = module.describe(folder, name, variant, where)
    return card


def _variant(rope: str, trained_with: Any, family: str) -> RopeVariant:
    wanted = rope if rope != "auto" else str(trained_with or FAMILIES[family].native_rope)
    try:
        return parse_variant(wanted)
    except ValueError as error:
        hint = did_you_mean(getattr(error, "name", wanted), getattr(error, "known", ()))
        source = "RoPE variant" if rope != "auto" else "the checkpoint's `rope_variant`"
        raise UsageError(f"{source} `{wanted}`", f"{error}.{hint}", "see `evalkit ropes`") from None


def _folder(name: str, rope: str) -> Path:
    """The folder that holds a checkpoint, downloaded if need be."""
    if name in ZOO:
        from evalkit.zoo import resolve

        return resolve(name, str(_variant(rope, None, "qwen2_5_vl")))
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise UsageError(
            f"model `{name}` is a file", "a checkpoint is a folder", "give the folder that holds it"
        )
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return _download(name)
    siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = did_you_mean(path.name, [*siblings, *ZOO, "mock"])
    raise UsageError(
        f"model `{name}` not found",
        f"there is no such folder, and it is no hub id (`organisation/name`).{near}",
        "check the path, or see `evalkit models` for names",
    )


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(HUB_FILES)))
    except GatedRepoError:
        why, fix = "the repository is gated", "accept its licence on the hub and log in with `hf auth login`"
    except RepositoryNotFoundError:
        raise UsageError(
            f"model `{hub_id}` not found",
            "there is neither a folder nor a hub repository of that name (or it is private)",
            "check the spelling; for a private repository log in with `hf auth login`",
        ) from None
    except Exception as error:  # noqa: BLE001 - offline or no network; the hub's HTTP client changes
        why = f"there is no folder of that name, and the hub can't be reached ({type(error).__name__})"
        fix = "check the spelling and the network, or give the folder of a downloaded checkpoint"
    raise EnvironmentProblem(f"model `{hub_id}` can't be downloaded", why, fix)
