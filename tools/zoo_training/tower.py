"""Stage 0 of the training: one vision tower for all variants, trained without a language model.

The merged features of a 28-pixel cell learn to equal the embedding of the token that names what the
cell shows: what a connector's pre-training on captions gives a big model. The tower is frozen
afterwards (the merger is not). Because it attends inside a cell only, its output for a whole picture
is a look-up by cell kind; the language model's training reads that table instead of running the tower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from evalkit.zoo.token_grids import CELL_KINDS, cell_images
from tools.zoo_training import prompts

STEPS = 400
BATCH = 128
NOISY_COPIES = 8
"""Noisy copies of every cell in the table: what a lossy video codec may leave of it."""

NOISE = 6.0
"""Standard deviation of the noise in pixel values: per colour channel, and per pixel."""


def patches(pixels: Tensor) -> Tensor:
    """Normalise and cut cells as Qwen2-VL's image processor does.

    Args:
        pixels: float ``[n, 28, 28, 3]``, 0 to 255.

    Returns:
        ``[4 n, 3 * 2 * 14 * 14]``: four patches a cell, two equal frames each.
    """
    settings = prompts.image_processor_config()
    mean, std = (255 * torch.tensor(settings[key]) for key in ("image_mean", "image_std"))
    cells = ((pixels - mean) / std).permute(0, 3, 1, 2).reshape(-1, 3, 2, 14, 2, 14)
    cells = cells.permute(0, 2, 4, 1, 3, 5)[:, :, :, :, None]
    return cells.expand(-1, 2, 2, 3, 2, 14, 14).reshape(4 * len(pixels), -1)


def _noisy(kinds: Tensor, generator: torch.Generator) -> Tensor:
    clean = torch.from_numpy(cell_images().copy()).float()[kinds]
    tint = torch.randn((len(kinds), 1, 1, 3), generator=generator)
    grain = torch.randn(clean.shape, generator=generator)
    return (clean + NOISE * (tint + grain)).clamp(0, 255)


def features(visual: Any, pixels: Tensor) -> Tensor:
    """Merged features of cells: ``[n, hidden]``, as the language model receives them."""
    grid = torch.tensor([[1, 2, 2 * len(pixels)]])
    merged: Tensor = visual(patches(pixels), grid_thw=grid).pooler_output
    return merged


def train(visual: Any, names: Tensor, seed: int, log: Callable[[str], None]) -> None:
    """Train the tower towards ``names [CELL_KINDS, hidden]``, the embeddings of the cells' names."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(visual.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for step in range(STEPS):
        kinds = torch.randint(0, CELL_KINDS, (BATCH,), generator=generator)
        missed = features(visual, _noisy(kinds, generator)) - names[kinds]
        loss = missed.pow(2).mean() / names.pow(2).mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            log(f"tower: step {step + 1}, unexplained variance {loss.item():.4f}")


def freeze(visual: Any) -> None:
    """Freeze the tower except its merger."""
    for name, parameter in visual.named_parameters():
        parameter.requires_grad_(name.startswith("merger."))


def feature_table(visual: Any, seed: int) -> Tensor:
    """What the frozen part of the tower hands to the merger: ``[CELL_KINDS * NOISY_COPIES * 4, hidden]``.

    Row ``4 * (kind * NOISY_COPIES + copy)`` and the three after it are the patches of one cell.
    """
    generator = torch.Generator().manual_seed(seed)
    caught: list[Tensor] = []
    hook = visual.merger.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].detach()))
    with torch.no_grad():
        features(visual, _noisy(torch.arange(CELL_KINDS).repeat_interleave(NOISY_COPIES), generator))
    hook.remove()
    return caught[0]
