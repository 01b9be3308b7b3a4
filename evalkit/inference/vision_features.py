"""Vision features: what the language model gets of media, for one model or for several that share a tower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from evalkit.core.types import VisionInput
from evalkit.inference.normalisation import Normalisations


@dataclass(frozen=True)
class Features:
    """Features of one medium.

    Attributes:
        tokens: embeddings for its placeholder tokens, in their order, ``[n, hidden]``.
        deepstack: what is added to the hidden states of these tokens after each of the first layers,
            ``[n, hidden]`` each; empty for families without it.
    """

    tokens: Tensor
    deepstack: tuple[Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return sum(each.numel() * each.element_size() for each in (self.tokens, *self.deepstack))


class Encode(Protocol):
    """A family's vision encoder: media of any sizes in one call, their features in the same order."""

    def __call__(
        self, model: Any, media: Sequence[VisionInput], normalise: Normalisations
    ) -> list[Features]: ...


def encode_for_models(
    models: Sequence[Any],
    encode: Encode,
    media: Sequence[VisionInput],
    normalise: Normalisations,
    *,
    connector: Sequence[str],
) -> list[list[Features]]:
    """Features of media for each of several models that share a vision tower, from one pass through it.

    Variants that were trained from one base with a frozen tower differ in their connectors: each model's
    own computes its features, by the same operations as if it were alone. ``connector``: see
    :class:`~evalkit.models.families.adapter.FamilyAdapter`.
    """
    by_weights: dict[object, list[int]] = {}
    for number, model in enumerate(models):
        weights = _weights(_connectors(model, connector))
        by_weights.setdefault(tuple(each.data_ptr() for each in weights), []).append(number)
    distinct = [models[numbers[0]] for numbers in by_weights.values()]
    if len(distinct) == 1:
        return [encode(models[0], media, normalise)] * len(models)
    found: list[list[Features]] = [[] for _ in models]
    with _concatenated_connectors(distinct, connector):
        together = encode(distinct[0], media, normalise)
    for each in together:
        layers = [layer.chunk(len(distinct), dim=-1) for layer in (each.tokens, *each.deepstack)]
        for numbers, parts in zip(by_weights.values(), zip(*layers, strict=True), strict=True):
            own = Features(parts[0].contiguous(), tuple(part.contiguous() for part in parts[1:]))
            for number in numbers:
                found[number].append(own)
    return found


def has_same_tower(one: Any, other: Any, *, vision_tower: str, connector: Sequence[str]) -> bool:
    """Whether the vision towers of two models are the same memory (see :func:`share_weights`), their
    connectors aside.
    """
    if type(one) is not type(other):
        return False
    settings = [model.config.to_dict() for model in (one, other)]
    for config in settings:
        for own in ("text_config", "rope_variant", "_name_or_path"):
            config.pop(own, None)
    widths = {model.config.get_text_config().hidden_size for model in (one, other)}
    if settings[0] != settings[1] or len(widths) > 1:
        return False
    first, second = (_tower_addresses(model, vision_tower, connector) for model in (one, other))
    return first == second


def share_weights(model: Any, base: Any) -> None:
    """Let the weights of ``model`` that are equal to those of ``base`` be the same memory."""
    theirs = dict(base.named_parameters())
    for name, own in model.named_parameters():
        other = theirs.get(name)
        if other is None or (own.shape, own.dtype, own.device) != (other.shape, other.dtype, other.device):
            continue
        if torch.equal(own, other):
            own.data = other.data


def _tower_addresses(model: Any, vision_tower: str, connector: Sequence[str]) -> dict[str, int]:
    """Address in memory of every weight of a tower, without those of its connectors."""
    aside = {id(part) for part in _weights(_connectors(model, connector))}
    tower = model.get_submodule(vision_tower)
    return {name: part.data_ptr() for name, part in tower.named_parameters() if id(part) not in aside}


def _connectors(model: Any, paths: Sequence[str]) -> dict[tuple[str, str], Any]:
    """Modules and parameters at ``paths``, by the path of their parent and their name in it; of a list of
    modules each one.
    """
    found: dict[tuple[str, str], Any] = {}
    for path in paths:
        parent, _, name = path.rpartition(".")
        part = getattr(model.get_submodule(parent), name)
        if isinstance(part, nn.ModuleList):
            found |= {(path, str(number)): each for number, each in enumerate(part)}
        else:
            found[parent, name] = part
    return found


def _weights(connectors: dict[tuple[str, str], Any]) -> Iterator[Tensor]:
    for part in connectors.values():
        yield from part.parameters() if isinstance(part, nn.Module) else (part,)


class _ConcatenatedConnectors(nn.Module):
    """Connectors of several models: their outputs, concatenated in the last dimension."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return torch.cat([part(*args, **kwargs) for part in self.parts], dim=-1)


@contextmanager
def _concatenated_connectors(models: Sequence[Any], paths: Sequence[str]) -> Iterator[None]:
    """Within, each connector of the first model computes those of all models."""
    own = _connectors(models[0], paths)
    all_parts = zip(*(_connectors(model, paths).values() for model in models), strict=True)
    try:
        for (parent, name), parts in zip(own, all_parts, strict=True):
            if isinstance(parts[0], nn.Module):
                joined: Any = _ConcatenatedConnectors(parts)
            else:
                joined = nn.Parameter(torch.cat(parts), requires_grad=False)
            setattr(models[0].get_submodule(parent), name, joined)
        yield
    finally:
        for (parent, name), part in own.items():
            setattr(models[0].get_submodule(parent), name, part)
