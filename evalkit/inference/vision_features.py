"""What a vision tower makes of media, for one model or for several with the same tower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from evalkit.core.types import VisionInput
from evalkit.inference.normalisation import Normalisations

CONNECTORS = ("visual.merger", "visual.deepstack_merger_list", "multi_modal_projector", "image_newline")
"""What lies between a tower and a language model, in transformers' names: it is trained with the latter."""

TOWERS = ("visual", "vision_tower")


@dataclass(frozen=True)
class Features:
    """What the language model gets of one medium: ``tokens [n, hidden]`` in the places of its pad tokens,
    in their order, and what is added there after the first layers (deepstack), each ``[n, hidden]``.
    """

    tokens: Tensor
    deepstack: tuple[Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return sum(each.numel() * each.element_size() for each in (self.tokens, *self.deepstack))


class Encode(Protocol):
    """A family's way from pixels to features: media of any sizes in one call, results in their order."""

    def __call__(
        self, model: Any, media: Sequence[VisionInput], normalise: Normalisations
    ) -> list[Features]: ...


def encode_for_models(
    models: Sequence[Any], encode: Encode, media: Sequence[VisionInput], normalise: Normalisations
) -> list[list[Features]]:
    """Features of media for each of several models of one tower: it sees them once.

    Connectors differ between variants that were trained from one base with a frozen tower; each model's
    own makes its features, in the same arithmetic as alone.
    """
    kinds: dict[object, list[int]] = {}
    for number, model in enumerate(models):
        kinds.setdefault(tuple(part.data_ptr() for part in _weights(_connectors(model))), []).append(number)
    distinct = [models[numbers[0]] for numbers in kinds.values()]
    if len(distinct) == 1:
        return [encode(models[0], media, normalise)] * len(models)
    found: list[list[Features]] = [[] for _ in models]
    with _concatenated_connectors(distinct):
        together = encode(distinct[0], media, normalise)
    for each in together:
        layers = [layer.chunk(len(distinct), dim=-1) for layer in (each.tokens, *each.deepstack)]
        for numbers, parts in zip(kinds.values(), zip(*layers, strict=True), strict=True):
            own = Features(parts[0].contiguous(), tuple(part.contiguous() for part in parts[1:]))
            for number in numbers:
                found[number].append(own)
    return found


def has_same_tower(one: Any, other: Any) -> bool:
    """Whether two models' towers are the same weights (see :func:`share_weights`), their connectors aside."""
    if type(one) is not type(other):
        return False
    settings = [model.config.to_dict() for model in (one, other)]
    for config in settings:
        for own in ("text_config", "rope_variant", "_name_or_path"):
            config.pop(own, None)
    widths = {model.config.get_text_config().hidden_size for model in (one, other)}
    if settings[0] != settings[1] or len(widths) > 1:
        return False
    return _tower(one) == _tower(other)


def share_weights(model: Any, base: Any) -> None:
    """Let the weights of ``model`` that are equal to those of ``base`` be the same memory."""
    theirs = dict(base.named_parameters())
    for name, own in model.named_parameters():
        other = theirs.get(name)
        if other is None or (own.shape, own.dtype, own.device) != (other.shape, other.dtype, other.device):
            continue
        if torch.equal(own, other):
            own.data = other.data


def _tower(model: Any) -> dict[str, int]:
    """Where every weight of a tower is."""
    aside = {id(part) for part in _weights(_connectors(model))}
    towers = [getattr(model.model, name) for name in TOWERS if hasattr(model.model, name)]
    return {
        name: part.data_ptr()
        for tower in towers
        for name, part in tower.named_parameters()
        if id(part) not in aside
    }


def _connectors(model: Any) -> dict[tuple[str, str], Any]:
    """The connectors of a model by the path of what holds them and their name in it."""
    found: dict[tuple[str, str], Any] = {}
    for path in CONNECTORS:
        holder, _, name = path.rpartition(".")
        part = getattr(_at(model, holder), name, None)
        if isinstance(part, nn.ModuleList):
            found |= {(path, str(number)): each for number, each in enumerate(part)}
        elif part is not None:
            found[holder, name] = part
    return found


def _at(model: Any, path: str) -> Any:
    """A module of the base model; None where the family has none of that name."""
    try:
        return model.model.get_submodule(path)
    except AttributeError:
        return None


def _weights(connectors: dict[tuple[str, str], Any]) -> Iterator[Tensor]:
    for part in connectors.values():
        yield from part.parameters() if isinstance(part, nn.Module) else (part,)


class _ConcatenatedConnectors(nn.Module):
    """Connectors side by side: the outputs of all, in the last dimension."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return torch.cat([part(*args, **kwargs) for part in self.parts], dim=-1)


@contextmanager
def _concatenated_connectors(models: Sequence[Any]) -> Iterator[None]:
    """Within, the first model's connectors are those of all the models."""
    own = _connectors(models[0])
    all_parts = zip(*(_connectors(model).values() for model in models), strict=True)
    try:
        for (holder, name), parts in zip(own, all_parts, strict=True):
            if isinstance(parts[0], nn.Module):
                joined: Any = _ConcatenatedConnectors(parts)
            else:
                joined = nn.Parameter(torch.cat(parts), requires_grad=False)
            setattr(_at(models[0], holder), name, joined)
        yield
    finally:
        for (holder, name), part in own.items():
            setattr(_at(models[0], holder), name, part)
