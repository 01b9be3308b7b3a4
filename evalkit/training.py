"""Training with a RoPE variant: installed before the first step, saved with the weights, and loaded again.

docs/train.md has it for the HF Trainer, LLaMA-Factory and ms-swift.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from transformers import TrainerCallback

from evalkit.config.run_spec import parse_rope_option, rope_files
from evalkit.core.errors import UsageError
from evalkit.models.checkpoints.files import read_config
from evalkit.models.checkpoints.peft_adapters import merge_adapter
from evalkit.models.checkpoints.rope_marker import is_marker, marker_bytes, marker_name, write_note
from evalkit.models.checkpoints.source import find
from evalkit.models.families.registry import FAMILIES
from evalkit.models.weights import every_weight
from evalkit.rope.hf.install import CannotInstall, Installed, install, installed_in
from evalkit.rope.hf.patches import get_rope_index
from evalkit.rope.variants import RopeVariant


def install_rope(model: Any, rope: str, *, ropes_dirs: Sequence[str] = ()) -> Installed:
    """Install a RoPE variant into a model that is going to be trained; what it saves says so from then on.

    Do it before a data collator, a Trainer or ``torch.compile`` sees the model: some take ``get_rope_index``
    from it at once. ``save_pretrained`` stores ``rope_variant`` in config.json, and a warning for those who
    load the folder without evalkit: a text file, and a marker among the weights, whose name they are shown.

    Args:
        model: a transformers model of a family that evalkit knows, or a ``PeftModel`` around one.
        rope: the variant, as ``evalkit run --rope`` takes it.
        ropes_dirs: folders with variants of one's own (docs/add-a-rope.md).

    Raises:
        UsageError: there is no such variant, or the model takes none.
    """
    variant = parse_rope_option(rope, rope_files(ropes_dirs))
    base = _without_peft(model)
    try:
        installed = install(base, variant)
    except CannotInstall as error:
        raise UsageError(f"`{rope}` can't be installed", str(error), "see `evalkit models`") from None
    for name in [name for name, _ in base.named_buffers(recurse=False) if is_marker(name)]:
        delattr(base, name)
    marker = torch.from_numpy(marker_bytes(str(variant))).to(base.device)
    base.register_buffer(marker_name(str(variant)), marker)
    for each in {id(model): model, id(base): base}.values():
        each.save_pretrained = MethodType(_save_pretrained, each)
    return installed


def load_model(
    folder: str | Path,
    *,
    rope: str | None = None,
    dtype: torch.dtype | str = "auto",
    device_map: str | None = None,
    ropes_dirs: Sequence[str] = (),
) -> Any:
    """Load a transformers model with the RoPE variant that it was trained with.

    ``from_pretrained`` alone computes with the family's native one. The model can be trained on, and what it
    saves says its variant again (:func:`install_rope`).

    Args:
        folder: a checkpoint, an adapter, or ``BASE+ADAPTER``, as ``evalkit run --model`` takes them; an
            adapter is merged.
        rope: the variant, where the folder doesn't say it.
        dtype: of the weights; ``auto`` leaves them as they are stored.
        device_map: as ``from_pretrained`` takes it; None loads on the CPU.
        ropes_dirs: folders with variants of one's own.

    Raises:
        UsageError: the folder names no variant and none is given, or another one than is given.
        EnvironmentProblem: it is no whole checkpoint.
    """
    source = find(str(folder), rope or "auto")
    family = str(read_config(source.folder)["model_type"])
    variant = _stored_variant(str(folder), source.rope, rope, ropes_dirs)
    adapter = import_module(FAMILIES[family].module).FAMILY_ADAPTER
    model = every_weight(adapter.model_class, source.folder, dtype, device_map)
    if source.adapter is not None:
        model = merge_adapter(model, source.adapter)
    install_rope(model, variant, ropes_dirs=ropes_dirs)
    return model.eval()


def _stored_variant(folder: str, stored: Any, given: str | None, ropes_dirs: Sequence[str]) -> str:
    if stored is None and given is None:
        raise UsageError(
            f"checkpoint `{folder}` names no RoPE variant",
            "there is no `rope_variant` in its config.json, and a guess would give wrong answers silently",
            'say it: `load_model(folder, rope="mrope")`; what `evalkit.install_rope` saves names it',
        )
    if stored is None or given is None:
        return str(given or stored)
    files = rope_files(ropes_dirs)
    found: list[RopeVariant] = [parse_rope_option(str(each), files) for each in (stored, given)]
    if found[0] != found[1]:
        raise UsageError(
            f"checkpoint `{folder}` was trained with `{stored}`",
            f"`rope_variant` in its config.json says so, and `{given}` was asked for",
            f"leave `rope` out; to try another variant on these weights: `install_rope(model, {given!r})`",
        )
    return given


def _save_pretrained(self: Any, save_directory: str | Path, *args: Any, **kwargs: Any) -> Any:
    """``save_pretrained`` of a model with a variant: also the note, and what an adapter's folder lacks."""
    saved = type(self).save_pretrained(self, save_directory, *args, **kwargs)
    base = _without_peft(self)
    if kwargs.get("is_main_process", True) and installed_in(base) is not None:
        if base is not self:  # peft leaves the configuration, and with it the variant, to the base
            base.config.save_pretrained(save_directory)
        write_note(Path(save_directory), base.config.rope_variant)
    return saved


def _without_peft(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


class RopeCallback(TrainerCallback):  # type: ignore[misc]
    """Installs a RoPE variant into the model of a Trainer when that is made, and sees to it that it stays.

    For programs that make model and Trainer themselves. Arguments are those of :func:`install_rope`.
    """

    def __init__(self, rope: str, *, ropes_dirs: Sequence[str] = ()) -> None:
        self.rope, self.ropes_dirs = rope, ropes_dirs

    def on_init_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Install it, before the Trainer wraps the model."""
        install_rope(kwargs["model"], self.rope, ropes_dirs=self.ropes_dirs)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Have the collator number positions by it, if it does so itself (LLaMA-Factory's took the model's
        function before there was a Trainer).

        Raises:
            UsageError: something has uninstalled the variant.
        """
        base = _without_peft(kwargs["model"])
        installed = installed_in(base)
        if installed is None or str(installed.variant) != base.config.rope_variant:
            raise UsageError(
                f"the RoPE variant `{self.rope}` is no longer in the model",
                "something replaced the model, or uninstalled it, after the Trainer was made",
                "use `evalkit.install_rope(model, ...)` where the model is loaded",
            )
        collator: Any = getattr(kwargs.get("train_dataloader"), "collate_fn", None)
        collator = getattr(collator, "data_collator", collator)
        own = getattr(collator, "get_rope_func", None)
        if own is not None and getattr(own, "__func__", None) is not get_rope_index:
            collator.get_rope_func = base.model.get_rope_index
