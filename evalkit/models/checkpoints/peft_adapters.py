"""Adapters as peft saves them (LoRA and its kin), merged into the weights of their base."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evalkit.core.errors import EnvironmentProblem, EvalkitError, UsageError
from evalkit.models.checkpoints.files import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    CONFIG,
    NO_PICKLES,
    read_json,
    tensors_of,
)

# What trainers leave beside an adapter that is no part of the model.
_TRAINING_STATE = ("training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.safetensors")

# Of a configuration, what says nothing about how the model computes.
_VOLATILE = ("transformers_version", "_name_or_path", "dtype", "use_cache", "architectures", "rope_variant")

_OLD_NAMES = {
    r"^visual\b": "model.visual",
    r"^language_model\.lm_head\b": "lm_head",
    r"^language_model(\.model)?\b": "model.language_model",
    r"^vision_tower\b": "model.vision_tower",
    r"^multi_modal_projector\b": "model.multi_modal_projector",
    r"^model\b(?!\.(language_model|visual|vision_tower|multi_modal_projector|image_newline)\b)": (
        "model.language_model"
    ),
}
"""Names of parts before transformers 4.52, which brought today's (`_checkpoint_conversion_mapping` there)."""


def base_of(adapter: Path) -> str:
    """The model that an adapter was trained on, as its configuration names it; checks on the way that the
    adapter is whole and can be merged.

    Raises:
        EnvironmentProblem: a file of it is missing or damaged, it is no kind that can be merged, or the
            package peft is missing.
    """
    settings = read_adapter(adapter)
    base, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if not isinstance(base, str) or not base:
        raise UsageError(
            f"adapter `{adapter}` doesn't name its base model",
            f"its {ADAPTER_CONFIG} has no `base_model_name_or_path`",
            f"give both: `BASE+{adapter}`",
        )
    # Trainers write paths as they were given; a relative one may be meant from the adapter's folder as well.
    places = [Path(base).expanduser(), (adapter / base)]
    found = list({path.resolve(): path for path in places if path.is_dir()}.values())
    if len(found) > 1:
        raise UsageError(
            f"the base model `{base}` of adapter `{adapter}` is ambiguous",
            f"there are `{found[0].resolve()}` and `{found[1].resolve()}`",
            f"give both: `BASE+{adapter}`",
        )
    if found:
        return str(found[0])
    return f"{base}@{revision}" if revision else base


def read_adapter(adapter: Path) -> dict[str, Any]:
    """The settings of an adapter that is whole and can be merged.

    Raises:
        EnvironmentProblem: it can't be, or the package peft is missing.
    """
    settings = read_json(adapter / ADAPTER_CONFIG)
    if not (adapter / ADAPTER_WEIGHTS).is_file():
        raise EnvironmentProblem(
            f"the weights of adapter `{adapter}` are missing",
            f"there is no {ADAPTER_WEIGHTS}; {NO_PICKLES}",
            "fetch the adapter again, or save it anew with `save_pretrained`",
        )
    tensors_of(adapter / ADAPTER_WEIGHTS)
    weights = [*adapter.glob("*.safetensors"), *adapter.glob("*.bin")]
    others = sorted({path.name for path in weights}.difference((ADAPTER_WEIGHTS, *_TRAINING_STATE)))
    if others:
        raise EnvironmentProblem(
            f"adapter `{adapter}` is ambiguous",
            f"there is {others[0]} as well: weights that were trained beside the adapter would be left out",
            "merge all of it with the program that trained it and save whole weights, or delete that file",
        )
    _check_kind(adapter, settings)
    return settings


def _check_kind(adapter: Path, settings: Mapping[str, Any]) -> None:
    """It is of a kind that becomes part of the weights, and peft knows all that is asked of it."""
    if find_spec("peft") is None:
        raise EnvironmentProblem(
            f"`{adapter}` is an adapter, which the package peft merges into its base model",
            "it is not installed",
            "pip install 'evalkit[peft]'",
        )
    import peft

    kind = str(settings.get("peft_type"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it ignores is refused below
            config = peft.PeftConfig.from_pretrained(str(adapter))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(
            adapter, f"peft {peft.__version__} can't read its {ADAPTER_CONFIG}: {error}"
        ) from None
    if config.is_prompt_learning or config.is_adaption_prompt:
        why = "adds to what the model reads or attends to, and can't be merged into its weights"
        raise _unusable(adapter, f"its kind, {kind}, {why}", "evaluate a LoRA, or save whole weights")
    known = {each.name for each in dataclasses.fields(config)}
    unknown = sorted(name for name, value in settings.items() if value and name not in known)
    if unknown:
        raise _unusable(adapter, f"peft {peft.__version__} doesn't know its setting `{unknown[0]}`")


def check_base(adapter: Path, base: Path) -> None:
    """A configuration beside an adapter, which some trainers write, is that of its base.

    Raises:
        EnvironmentProblem: it isn't.
    """
    if not (adapter / CONFIG).is_file():
        return
    from transformers import AutoConfig

    try:
        own, other = (
            AutoConfig.from_pretrained(each, local_files_only=True, trust_remote_code=False).to_dict()
            for each in (adapter, base)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(adapter, f"its {CONFIG} can't be compared with its base's: {error}") from None
    different = _differences(own, other)
    if different:
        raise EnvironmentProblem(
            f"adapter `{adapter}` was not trained on `{base}`",
            f"its {CONFIG} has another `{different[0]}`",
            "give the right base model (`BASE+ADAPTER`), or delete that file if it is of no account",
        )


def _differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name in sorted({*one, *other}.difference(_VOLATILE)):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}")
    return found


def merge_adapter(model: Any, adapter: Path) -> Any:
    """A transformers model with an adapter merged into its weights, which it computes with from now on.

    In 16 bits, the sum of a weight and what is added to it is rounded once.

    Raises:
        EnvironmentProblem: the adapter doesn't fit the model, not all of it was taken, or it can't be merged.
    """
    try:
        return _merged(model, adapter)
    except EvalkitError:
        raise
    except KeyError as error:
        raise _unusable(adapter, f"it lacks {error}") from None
    except (
        AttributeError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
    ) as error:
        raise _unusable(adapter, str(error).splitlines()[0]) from None


def _merged(model: Any, adapter: Path) -> Any:
    import peft
    from peft.tuners.tuners_utils import BaseTunerLayer

    stored = tensors_of(adapter / ADAPTER_WEIGHTS)
    _resize(model, stored)
    names = set(model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is checked below
        config = peft.PeftConfig.from_pretrained(str(adapter), inference_mode=True)
        wrapped = peft.PeftModel(model, config)
        result = wrapped.load_adapter(str(adapter), "default", torch_device="cpu", key_mapping=_OLD_NAMES)
        expected = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
        _check_taken(adapter, set(stored), expected, result)
        _untie(wrapped, BaseTunerLayer)
        merged = wrapped.merge_and_unload(safe_merge=True)
    if set(merged.state_dict()) != names or any(
        isinstance(each, BaseTunerLayer) for each in merged.modules()
    ):
        raise _unusable(adapter, f"its kind, {config.peft_type}, leaves parts of its own in the model")
    return merged.eval()


def _check_taken(adapter: Path, stored: set[str], expected: set[str], result: Any) -> None:
    """Every tensor of the adapter found its place, and no place stayed as it was initialised. Where names
    changed between versions of transformers, peft translates them, so that only numbers can be compared.
    """
    missing, left = sorted(expected - stored), sorted(stored - expected)
    if result.unexpected_keys:
        name, count = result.unexpected_keys[0], len(result.unexpected_keys)
        raise _unusable(adapter, f"the model has no place for {count} of its tensors, `{name}` among them")
    if result.missing_keys or len(missing) > len(left):
        name = result.missing_keys[0] if result.missing_keys else missing[0]
        raise _unusable(adapter, f"it lacks {len(missing)} tensors, `{name}` among them")


def _resize(model: Any, stored: Mapping[str, tuple[int, ...]]) -> None:
    """Give the embeddings as many rows as were trained, where the adapter brings them whole."""
    whole = ("embed_tokens.weight", "embed_tokens.base_layer.weight")
    rows = [shape[0] for name, shape in stored.items() if name.endswith(whole) and len(shape) == 2]
    inputs, outputs = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    if not rows or rows[0] == len(inputs):
        return
    head = any(name.endswith(("lm_head.weight", "lm_head.base_layer.weight")) for name in stored)
    if not head and outputs is not inputs:
        raise ValueError(f"it has {rows[0]} embeddings, and no output weights for as many")
    model.resize_token_embeddings(rows[0], mean_resizing=False)


def _untie(wrapped: Any, layer_class: type) -> None:
    """Give a layer whose weight is another's as well (tied embeddings) its own: merging would change both,
    while the adapter works on one.
    """
    import torch

    shared: dict[int, int] = {}
    for _, parameter in wrapped.named_parameters(remove_duplicate=False):
        shared[id(parameter)] = shared.get(id(parameter), 0) + 1
    for module in wrapped.modules():
        if not isinstance(module, layer_class):
            continue
        base: Any = module.get_base_layer()  # type: ignore[attr-defined]
        weight = getattr(base, "weight", None)
        if isinstance(weight, torch.nn.Parameter) and shared.get(id(weight), 0) > 1:
            base.weight = torch.nn.Parameter(weight.detach().clone(), requires_grad=False)


def _unusable(adapter: Path, why: str, fix: str = "") -> EnvironmentProblem:
    return EnvironmentProblem(
        f"adapter `{adapter}` can't be used",
        why,
        fix or "update peft, or merge the adapter with the program that trained it and save whole weights",
    )
