"""Stage 0 of the training: one vision tower for all variants, trained without a language model.

A linear probe on the merged features learns to say what a 28-pixel cell shows. The tower is frozen
afterwards. Because it attends inside a cell only, its output for a whole picture is a look-up by cell
kind; the language model's training reads that table instead of running the tower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everybody uses)

from evalkit.zoo import wording
from evalkit.zoo.boards import KINDS, tiles

STEPS = 200
BATCH = 128
COPIES = 8
"""Noisy copies of every cell in the table: what a lossy video codec may leave of it."""

NOISE = 6.0
"""Standard deviation of the noise in pixel values: per colour channel, and per pixel."""

SCALE = 0.03
"""Root mean square of the visual features at the start, near that of the token embeddings."""


def patches(pixels: Tensor) -> Tensor:
    """Normalise and cut cells as Qwen2-VL's image processor does.

    Args:
        pixels: float ``[n, 28, 28, 3]``, 0 to 255.

    Returns:
        ``[4 n, 3 * 2 * 14 * 14]``: four patches a cell, two equal frames each.
    """
    settings = wording.image_processor_config()
    mean, std = (255 * torch.tensor(settings[key]) for key in ("image_mean", "image_std"))
    cells = ((pixels - mean) / std).permute(0, 3, 1, 2).reshape(-1, 3, 2, 14, 2, 14)
    cells = cells.permute(0, 2, 4, 1, 3, 5)[:, :, :, :, None]
    return cells.expand(-1, 2, 2, 3, 2, 14, 14).reshape(4 * len(pixels), -1)


def _noisy(kinds: Tensor, generator: torch.Generator) -> Tensor:
    clean = torch.from_numpy(tiles().copy()).float()[kinds]
    tint = torch.randn((len(kinds), 1, 1, 3), generator=generator)
    grain = torch.randn(clean.shape, generator=generator)
    return (clean + NOISE * (tint + grain)).clamp(0, 255)


def features(visual: Any, pixels: Tensor) -> Tensor:
    """Merged features of cells: ``[n, hidden]``, as the language model receives them."""
    grid = torch.tensor([[1, 2, 2 * len(pixels)]])
    merged: Tensor = visual(patches(pixels), grid_thw=grid).pooler_output
    return merged


def train(visual: Any, seed: int, log: Callable[[str], None]) -> None:
    """Train the tower with the probe, set the features' scale, and freeze all but the merger."""
    generator = torch.Generator().manual_seed(seed)
    hidden = visual.config.out_hidden_size
    probe = torch.nn.Linear(hidden, KINDS)
    with torch.no_grad():
        probe.weight.normal_(0, hidden**-0.5, generator=generator)
    optimiser = torch.optim.AdamW([*visual.parameters(), *probe.parameters()], lr=2e-3)
    for step in range(STEPS):
        kinds = torch.randint(0, KINDS, (BATCH,), generator=generator)
        loss = F.cross_entropy(probe(features(visual, _noisy(kinds, generator))), kinds)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 49:
            log(f"tower: step {step + 1}, loss {loss.item():.4f}")
    with torch.no_grad():
        level = features(visual, _noisy(torch.arange(KINDS), generator)).pow(2).mean().sqrt()
        last = visual.merger.mlp[-1]
        last.weight.mul_(SCALE / level)
        last.bias.mul_(SCALE / level)
    for name, parameter in visual.named_parameters():
        parameter.requires_grad_(name.startswith("merger."))


def table(visual: Any, seed: int) -> Tensor:
    """What the frozen part of the tower hands to the merger: ``[KINDS * COPIES * 4, hidden]``.

    Row ``4 * (kind * COPIES + copy)`` and the three after it are the patches of one cell.
    """
    generator = torch.Generator().manual_seed(seed)
    caught: list[Tensor] = []
    hook = visual.merger.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].detach()))
    with torch.no_grad():
        features(visual, _noisy(torch.arange(KINDS).repeat_interleave(COPIES), generator))
    hook.remove()
    return caught[0]
