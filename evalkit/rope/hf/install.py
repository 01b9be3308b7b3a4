"""Install a variant into one transformers model, and uninstall it again; nothing global is touched.

What changes on the instance: ``language_model.rotary_emb`` (cos and sin), the ``forward`` of the
language model and of the model around it (positions of a plain call, also for families whose
language models have one axis only), ``get_rope_index`` and the three hooks that ``generate`` gets
positions from, each attention layer's ``forward`` where heads or layers differ (MHRoPE, CircleRoPE's
AGE), and ``config.rope_variant`` (so that ``save_pretrained`` keeps the variant's name).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from evalkit.rope.batch import BatchPositions
from evalkit.rope.hf import patches
from evalkit.rope.hf.layouts import TOKEN_LAYOUTS, TokenLayout
from evalkit.rope.hf.position_ids import PositionIdBuilder
from evalkit.rope.hf.signature import CallSignature
from evalkit.rope.layout import Segment
from evalkit.rope.pairs import Pairs
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import PositionDesign
from evalkit.rope.rotary import APPLY_PER_HEAD, VariantRotary
from evalkit.rope.scaling import model_spectrum
from evalkit.rope.variants import RopeVariant

_HANDLE = "_evalkit_rope"


class _Missing:
    """Marks an attribute that an instance did not have."""


class CannotInstall(ValueError):
    """The model is not one that a variant can be installed into, or the variant broke its promise."""


@dataclass(frozen=True)
class Installed:
    """A variant in a model: ``variant`` as it was given, ``resolved`` with the model's own values."""

    variant: RopeVariant
    resolved: RopeVariant
    position_id_builder: PositionIdBuilder = field(repr=False, compare=False)
    _before: list[tuple[Any, str, Any]] = field(default_factory=list, repr=False, compare=False)

    def change(self, owner: Any, name: str, value: Any) -> None:
        """Set an attribute of a part of the model; :func:`uninstall` sets it back."""
        self._before.append((owner, name, owner.__dict__.get(name, _Missing)))
        setattr(owner, name, value)

    def position_batch(self, sequences: Sequence[Sequence[Segment]], width: int) -> BatchPositions:
        """Positions of a batch of sequences that are padded on the left to ``width`` tokens.

        ``model(..., position_ids=batch.prompt)`` takes them, in every family.
        """
        return self.position_id_builder.for_left_padded(sequences, width)


def install(model: nn.Module, variant: RopeVariant) -> Installed:
    """Install ``variant`` into a model, a ``...ForConditionalGeneration`` of a family in ``TOKEN_LAYOUTS``.

    A variant that is installed already is uninstalled first. Load the model with ``dtype=``; casting
    it afterwards would round the rotary spectrum.

    Raises:
        CannotInstall: not such a model, a cast spectrum, or the variant's promise does not hold.
        BadParameter: the allocation can't be laid out on the model's heads, or the spectrum not scaled.
    """
    installed = install_rotation(model, variant)
    base, text_model, _ = _model_parts(model)
    position_id_builder = installed.position_id_builder
    prepare = MethodType(patches.prepare_position_ids, model)
    changes = [
        *_new_forward(text_model, patches.text_forward),
        *_new_forward(base, patches.base_forward),
        (base, "_evalkit_position_ids", position_id_builder),
        (
            base,
            "_evalkit_index",
            CallSignature.of(getattr(type(base), "get_rope_index", patches.get_rope_index)),
        ),
        (base, "get_rope_index", MethodType(patches.get_rope_index, base)),
        (base, "rope_deltas", None),
        (model, "_prepare_position_ids_for_generation", prepare),
        (model, "_expand_inputs_for_generation", MethodType(patches.expand_inputs, model)),
        (model, "_update_model_kwargs_for_generation", MethodType(patches.update_model_kwargs, model)),
        (model.config, "rope_variant", str(variant)),
    ]
    for change in changes:
        installed.change(*change)
    return installed


def install_rotation(model: nn.Module, variant: RopeVariant) -> Installed:
    """Install the rotation of ``variant`` alone, for a caller that gives the language model position ids
    ``[R, B, S]`` in every call; see :func:`install`, which installs what works them out, too.
    """
    uninstall(model)
    base, text_model, layout = _model_parts(model)
    resolved = variant.with_defaults(**model_defaults(base.config))
    attention = attention_layers(text_model)
    designs, uses = resolved.position.layer_groups(len(attention))
    rotary = _rotary(variant, text_model, designs, layout.pairs)
    _check_text_prior(variant, text_model.rotary_emb, rotary, layout)
    installed = Installed(variant, resolved, PositionIdBuilder(layout, base.config, designs))
    installed._before.append((text_model, "rotary_emb", text_model.rotary_emb))
    text_model.rotary_emb = rotary
    for change in _attention_patches(attention, rotary, uses if len(designs) > 1 else ()):
        installed.change(*change)
    setattr(model, _HANDLE, installed)
    return installed


def uninstall(model: nn.Module) -> None:
    """Uninstall the variant: the model is again what it was, bit for bit. Without one, do nothing."""
    installed = installed_in(model)
    if installed is None:
        return
    for owner, name, before in installed._before:
        if before is _Missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
    delattr(model, _HANDLE)
    base = _model_parts(model)[0]
    if hasattr(base, "rope_deltas"):
        base.rope_deltas = None


def installed_in(model: nn.Module) -> Installed | None:
    """The variant that is installed in the model, if any."""
    found: Installed | None = getattr(model, _HANDLE, None)
    return found


def _model_parts(model: Any) -> tuple[Any, Any, TokenLayout]:
    """The model without its head, its language model, and the token layout of its family."""
    base: Any = getattr(model, "model", None)
    text_model: Any = getattr(base, "language_model", None)
    family = str(getattr(getattr(base, "config", None), "model_type", None))
    if family not in TOKEN_LAYOUTS or not hasattr(text_model, "rotary_emb"):
        raise CannotInstall(
            f"`{type(model).__name__}` is no model that variants can be put into; "
            f"families: {', '.join(TOKEN_LAYOUTS)}"
        )
    if text_model.rotary_emb.inv_freq.dtype != torch.float32:
        raise CannotInstall(
            f"the rotary spectrum is {text_model.rotary_emb.inv_freq.dtype}, cast after loading the model; "
            "load with `dtype=` instead"
        )
    return base, text_model, TOKEN_LAYOUTS[family]


def model_defaults(config: Any) -> dict[str, Any]:
    """What a model decides about time."""
    return dict(TOKEN_LAYOUTS[config.model_type].time_rule(config))


def attention_layers(text_model: Any) -> list[Any]:
    """The attention modules of a language model, from its first layer to its last. Layers of hybrid models
    that have none (gated delta nets, say) read no positions.
    """
    return [layer.self_attn for layer in text_model.layers if hasattr(layer, "self_attn")]


def _rotary(
    variant: RopeVariant, text_model: Any, designs: Sequence[PositionDesign], pairs: Pairs
) -> VariantRotary:
    """The rotary module for a model, from its own spectrum; ``designs`` are those of the layer groups."""
    names = variant.position.axes
    if any(design.axes != names for design in designs):
        raise BadParameter(f"the layer groups of `{variant}` have different axes", "position")
    own, config = text_model.rotary_emb, text_model.config
    rope: Mapping[str, Any] = getattr(config, "rope_parameters", None) or {}
    section = rope.get("mrope_section")
    axes = torch.from_numpy(
        variant.axis_map(len(own.inv_freq), config.num_key_value_heads, tuple(section) if section else None)
    )
    steps = [design.text_step for design in designs]
    if not variant.scaling:
        return VariantRotary(own.inv_freq, own.attention_scaling, axes, steps, pairs)
    if rope.get("rope_type", "default") != "default":
        raise BadParameter(
            f"the checkpoint's own spectrum is scaled already (`rope_type: {rope['rope_type']}`)", "scaling"
        )
    length = rope.get("original_max_position_embeddings") or config.max_position_embeddings
    spectrum = model_spectrum(own.inv_freq, axes, float(rope["rope_theta"]), int(length), names)
    for scaling in variant.scaling:
        spectrum = scaling.apply(spectrum)
    return VariantRotary(spectrum.inv_freq, spectrum.attention_scaling, axes, steps, pairs)


def _check_text_prior(
    variant: RopeVariant, own: nn.Module, rotary: VariantRotary, layout: TokenLayout
) -> None:
    """Text positions through both rotary modules: equal to the last bit, or the promise is broken.

    Heads that an allocation leaves out are not rotated; then there is no promise.
    """
    if not variant.keeps_text_prior or bool((rotary.inv_freq == 0).any()):
        return
    device = rotary.inv_freq.device
    text = torch.tensor([*range(4096), 8191, 32767], device=device)[None]
    probe = torch.zeros(1, device=device)
    theirs = own(probe, text if layout.axes == 1 else text.expand(layout.axes, 1, -1))
    for mine, other in zip(rotary(probe, text), theirs, strict=True):
        if not torch.equal(mine, (other if mine.ndim == 3 else other[:, None]).expand_as(mine)):
            raise CannotInstall(
                f"`{variant}` does not rotate text as the model does, although it promises to"
            )


def _new_forward(module: nn.Module, forward: Any) -> list[tuple[Any, str, Any]]:
    return [
        (module, "_evalkit_signature", CallSignature.of(type(module).forward)),
        (module, "_evalkit_forward", module.__dict__.get("forward")),
        (module, "forward", MethodType(forward, module)),
    ]


def _attention_patches(
    layers: Sequence[Any], rotary: VariantRotary, uses: Sequence[int]
) -> Iterator[tuple[Any, str, Any]]:
    """New forwards of the attention layers, where heads or layers differ; ``uses``: each layer's group."""
    for number, attention in enumerate(layers):
        per_head = _per_head(attention, rotary.pairs) if rotary.axes.ndim == 2 else None
        if uses:
            yield attention, "_evalkit_layer_group", uses[number]
            yield attention, "_evalkit_forward", per_head or attention.__dict__.get("forward")
            yield attention, "forward", MethodType(patches.attention_forward, attention)
        elif per_head:
            yield attention, "forward", per_head


def _per_head(attention: nn.Module, pairs: Pairs) -> MethodType:
    """The layer's own forward, with cos and sin applied per key-value head; an engine that fuses projections
    has given the instance one.
    """
    own = attention.__dict__.get("forward")
    if isinstance(own, MethodType) and _rotates(own.__func__):
        return MethodType(_forward_per_head(own.__func__, pairs), attention)
    return MethodType(_forward_per_head(type(attention).forward, pairs), attention)


def _rotates(forward: Any) -> bool:
    """Whether a forward applies cos and sin itself."""
    code = getattr(inspect.unwrap(forward), "__code__", None)
    return code is not None and "apply_rotary_pos_emb" in code.co_names


@cache
def _forward_per_head(own: Any, pairs: Pairs) -> FunctionType:
    """The forward of an attention layer, with cos and sin applied per key-value head.

    A copy of the function whose globals have another ``apply_rotary_pos_emb``: the module that defines it
    and every other instance stay as they are. One copy serves all layers, and has a code object of its own:
    torch.compile caches by code object, and looks the function up among the globals.
    """
    forward: Any = inspect.unwrap(own)
    if not _rotates(forward):
        raise CannotInstall(
            f"`{own.__qualname__}` does not call `apply_rotary_pos_emb` in this transformers version"
        )
    scope = {**forward.__globals__, "apply_rotary_pos_emb": APPLY_PER_HEAD[pairs]}
    code = forward.__code__.replace()
    copy = FunctionType(code, scope, forward.__name__, forward.__defaults__, forward.__closure__)
    copy.__kwdefaults__ = forward.__kwdefaults__
    return copy
