"""Built-in tiny checkpoints, one for each variant of the paper's table 2, and the mini-suite's data sets."""

from __future__ import annotations

from pathlib import Path

from evalkit.core.errors import EnvironmentProblem, UsageError, did_you_mean

MODELS = ("tiny",)
VARIANTS = ("vanilla", "mrope", "videorope", "hope", "circlerope", "mhrope", "mrope-i")
"""Variants with a trained checkpoint."""

CHECKPOINTS = Path(__file__).parent / "checkpoints"


def resolve(name: str, variant: str) -> Path:
    """The checkpoint folder of a zoo model that was trained with ``variant``.

    Raises:
        UsageError: no such model, or none trained with this variant.
        EnvironmentProblem: the checkpoint's files are missing.
    """
    if name not in MODELS:
        known = ", ".join(MODELS)
        raise UsageError(
            f"unknown zoo model `{name}`",
            f"the zoo holds: {known}.{did_you_mean(name, MODELS)}",
            "use one of these names, a checkpoint folder, or a hub id",
        )
    folder = CHECKPOINTS / f"{name}-{variant}"
    if (folder / "config.json").exists():
        return folder
    if variant in VARIANTS:
        raise EnvironmentProblem(
            f"the checkpoint of `{name}` for `{variant}` is missing",
            f"{folder} holds no config.json",
            "reinstall evalkit, or train one in a source checkout (python -m tools.zoo_training.train "
            f"--variant {variant}) and give its folder: --model {variant}=FOLDER",
        )
    raise UsageError(
        f"no `{name}` checkpoint was trained with `{variant}`",
        f"there is one each for: {', '.join(VARIANTS)}.{did_you_mean(variant, VARIANTS)}",
        "use one of these, or train one in a source checkout (python -m tools.zoo_training.train "
        f"--variant '{variant}') and give its folder: --model '{variant}=FOLDER'",
    )
