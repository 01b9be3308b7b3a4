"""Muon for the decoder's matrices, AdamW for everything else, and one schedule for both.

Muon (https://kellerjordan.github.io/posts/muon) makes every update of a matrix nearly orthogonal; with
torch's ``match_rms_adamw`` an update is as large as AdamW's, so that both share a rate (arXiv 2502.16982).
``torch.optim.Muon`` takes one matrix at a time, which for matrices as small as ours costs a quarter of a
training step; here those of one shape are taken together (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

PEAK_RATE = 2e-3
WEIGHT_DECAY = 0.05
WARM_UP = 100

_MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Optimizer:
    """Both optimizers of one model, or of several whose weights are stacked, stepped together.

    Args:
        layers: parameters of the decoder's layers; their matrices go to Muon.
        others: every other parameter that is trained.
        stacked: the first axis of every parameter counts models.
    """

    def __init__(self, layers: Iterable[Tensor], others: Iterable[Tensor], *, stacked: bool = False) -> None:
        layers, self._stacked = list(layers), stacked
        matrices = [each for each in layers if each.ndim == 2 + stacked]
        rest = [each for each in layers if each.ndim != 2 + stacked] + list(others)
        self._muon = Muon(matrices)
        self._adamw = torch.optim.AdamW(rest, lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
        self._parameters = matrices + rest

    def step(self, loss: Tensor, rate: float) -> None:
        """Descend from ``loss`` by one step at ``rate``."""
        for parameter in self._parameters:
            parameter.grad = None
        torch.autograd.backward(loss)
        if self._stacked:
            clip_norms([each.grad for each in self._parameters if each.grad is not None])
        else:
            torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._muon.step(rate)
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to continue."""
        return {"muon": self._muon.momenta, "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` gave."""
        self._muon.momenta = state["muon"]
        self._adamw.load_state_dict(state["adamw"])

    def state_dict_of(self, number: int) -> dict[str, Any]:
        """Of stacked models: what the optimizer of one of them alone needs to continue."""
        state = self._adamw.state_dict()
        own = {
            place: {
                name: value if name == "step" else value[number].cpu().clone() for name, value in kept.items()
            }
            for place, kept in state["state"].items()
        }
        momenta = [each[:, number].cpu().clone() for each in self._muon.momenta]
        return {"muon": momenta, "adamw": {**state, "state": own}}

    def load_state_dicts(self, states: Sequence[dict[str, Any]]) -> None:
        """Of stacked models: continue from what :meth:`state_dict` of each gave, all at the same step."""
        device = self._parameters[0].device
        first = states[0]["adamw"]
        stacked = {
            place: {
                name: value
                if name == "step"
                else torch.stack([each["adamw"]["state"][place][name] for each in states]).to(device)
                for name, value in kept.items()
            }
            for place, kept in first["state"].items()
        }
        self._adamw.load_state_dict({**first, "state": stacked})
        momenta = zip(*(each["muon"] for each in states), strict=True)
        self._muon.momenta = [torch.stack(each, 1).to(device) for each in momenta]


@torch.no_grad()
def clip_norms(gradients: list[Tensor]) -> None:
    """``clip_grad_norm_(..., 1.0)`` for each of the models that the first axis counts."""
    norms = torch.stack([each.flatten(1).norm(dim=1) for each in gradients]).norm(dim=0)
    factors = (1.0 / (norms + 1e-6)).clamp(max=1.0)
    for each in gradients:
        each.mul_(factors.view(-1, *[1] * (each.ndim - 1)))


class Muon:
    """``torch.optim.Muon(..., adjust_lr_fn="match_rms_adamw")`` with all matrices of one shape at a time.

    Args:
        matrices: ``[rows, columns]`` each, or stacks ``[n, rows, columns]``.
    """

    def __init__(self, matrices: Iterable[Tensor]) -> None:
        self._groups: dict[tuple[int, ...], list[Tensor]] = {}
        for matrix in matrices:
            self._groups.setdefault(tuple(matrix.shape), []).append(matrix)
        self.momenta = [some[0].new_zeros((len(some), *shape)) for shape, some in self._groups.items()]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Take one step, from the matrices' gradients."""
        for (shape, matrices), momentum in zip(self._groups.items(), self.momenta, strict=True):
            gradients = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
            momentum.lerp_(gradients, 1 - _MOMENTUM)
            wanted = gradients.lerp(momentum, _MOMENTUM)
            update = orthogonalized(wanted.flatten(0, -3)).float().view_as(wanted)
            size = rate * 0.2 * max(shape[-2:]) ** 0.5
            torch._foreach_mul_(matrices, 1 - rate * WEIGHT_DECAY)
            torch._foreach_add_(matrices, list(update), alpha=-size)


def orthogonalized(matrices: Tensor) -> Tensor:
    """``[n, rows, columns]`` with singular values near 1, bfloat16: Newton and Schulz's iteration."""
    factor, linear, quadratic = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    found = (matrices.mT if tall else matrices).bfloat16()
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = found @ found.mT
        change = torch.baddbmm(gram, gram, gram, beta=linear, alpha=quadratic)
        found = torch.baddbmm(found, change, found, beta=factor)
    return found.mT if tall else found


def rate(step: int, steps: int) -> float:
    """Linear warm-up, constant, then linearly down over the last quarter.

    Until then a run can be continued towards another number of steps.
    """
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP, (steps - step) / (steps - fall_begins(steps)))


def fall_begins(steps: int) -> float:
    """The step from which on the rate falls."""
    return 0.75 * steps
