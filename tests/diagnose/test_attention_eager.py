"""What is measured of a model's attention equals transformers' eager weights, in every family and variant."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from evalkit.diagnose.attention.heads import HeadLayout
from evalkit.diagnose.attention.measure import BINS, AttentionMeasure, Queries, first_tokens
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.inference import observation
from evalkit.inference.observation import continued_batch_of
from evalkit.inference.sequence import segments_of
from evalkit.models.conformance.tested_family import MORE_VARIANTS, TestedFamily, TestPrompt
from evalkit.models.families.registry import FAMILIES
from evalkit.models.hf_model import HfModel
from evalkit.rope.layout import VisualBlock
from evalkit.rope.variants import VARIANTS

CLOSE = {"rtol": 0.0, "atol": 1e-5}
ANSWER = [9, 8, 7, 6, 5]
SINK = 30.0


@cache
def family_of(name: str, folder: Path) -> TestedFamily:
    return TestedFamily(name, folder / name)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attention")


@pytest.fixture(params=[name for name in FAMILIES if name != "mock"])
def family(request: pytest.FixtureRequest, folder: Path) -> TestedFamily:
    return family_of(str(request.param), folder)


def prompt_of(family: TestedFamily) -> TestPrompt:
    """One with several blocks."""
    by_name = {each.name: each for each in family.prompts}
    return by_name.get("an image and a video") or by_name["two images"]


def measured(model: HfModel, prompt: TestPrompt, options: AttentionOptions) -> AttentionMeasure:
    item = prompt.prepared
    measure = AttentionMeasure(
        item=item,
        queries=Queries.of(item, ANSWER, options),
        positions=continued_batch_of(item, ANSWER, model.installed).positions[1:, 0],
        head_layout=HeadLayout.of(model.module, model.installed),
        layers=range(len(model.module.model.language_model.layers)),
        sink_percent=SINK,
    )
    model.decoder().observe(item, ANSWER, measure)
    return measure


@torch.inference_mode()
def eager(model: HfModel, prompt: TestPrompt) -> tuple[list[np.ndarray], np.ndarray]:
    """transformers' own weights ``[H, T, T]`` of every layer, and the position ids ``[R, T]`` that its rotary
    module was given, from a plain call of prompt and answer.
    """
    given: list[torch.Tensor] = []
    rotary = model.module.model.language_model.rotary_emb
    hook = rotary.register_forward_pre_hook(lambda module, args: given.append(module.pending_position_ids))
    model.module.set_attn_implementation("eager")
    try:
        output = model.module(
            input_ids=torch.cat([prompt.input_ids, torch.tensor([ANSWER])], dim=1),
            **prompt.followed_by(len(ANSWER)),
            use_cache=False,
            output_attentions=True,
        )
    finally:
        model.module.set_attn_implementation("sdpa")
        hook.remove()
    return [layer[0].double().numpy() for layer in output.attentions], given[0][:, 0].double().numpy()


@pytest.mark.parametrize("variant", [*VARIANTS, *MORE_VARIANTS])
def test_every_figure_equals_that_of_eager_weights(
    family: TestedFamily, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, prompt = family.with_variant(variant), prompt_of(family)
    weights, positions = eager(model, prompt)
    monkeypatch.setattr(observation, "MAX_PROBABILITIES", 3000)  # blocks of a few rows
    # Queries of the prompt's text, too: those of the answer are the last of them.
    found = measured(model, prompt, AttentionOptions(queries="text"))
    rows, visual = list(found.queries.places), np.flatnonzero(prompt.prepared.token_types)
    assert visual.size
    assert len(rows) > len(ANSWER)
    for layer, whole in enumerate(weights):
        own, seen = whole[:, rows], whole[:, rows][:, :, visual]
        np.testing.assert_allclose(found.share[layer], seen.sum(2).mean(1), **CLOSE)
        np.testing.assert_allclose(found.by_query[layer], seen.sum(2).mean(0), **CLOSE)
        np.testing.assert_allclose(found.heat[layer], seen.mean((0, 1)), **CLOSE)
        expected = plain_sink(prompt, own)
        np.testing.assert_allclose(found.sink[:, layer] / len(rows), expected, **CLOSE)
        mass, even = plain_distances(found, layer, own, positions)
        np.testing.assert_allclose(found.distances[layer], mass, **CLOSE)
        np.testing.assert_allclose(found.even_distances[layer], even, **CLOSE)


def plain_sink(prompt: TestPrompt, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Attention on the first tokens of blocks, and that of blocks evenly spread, mean over rows, ``[H]``."""
    first, even, at = np.zeros(len(own)), np.zeros(len(own)), 0
    for segment in segments_of(prompt.prepared):
        end = at + segment.length
        if isinstance(segment, VisualBlock) and (count := first_tokens(segment.length, SINK)) < end - at:
            first += own[:, :, at : at + count].sum(2).mean(1)
            even += own[:, :, at:end].sum(2).mean(1) * count / segment.length
        at = end
    return first, even


def plain_distances(
    found: AttentionMeasure, layer: int, own: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same ranges by arithmetic, from the positions that the rotary module was given."""
    layout, rows = found.head_layout, np.array(found.queries.places)
    groups, kinds = np.array(layout.group_of_head), (found.item.token_types != 0).astype(int)
    kinds = np.pad(kinds, (0, own.shape[2] - len(kinds)))
    mass, even = np.zeros(found.distances.shape[1:]), np.zeros(found.even_distances.shape[1:])
    query, key = np.nonzero(np.arange(own.shape[2])[None] <= rows[:, None])
    for axis, row in enumerate(layout.axis_rows):
        line = positions[layout.layer_groups[layer] * layout.num_axes + row]
        distance = line[rows[query]] - line[key]
        size = np.abs(distance)
        octave = np.floor(np.log2(np.maximum(size, 8)))
        quarter = np.floor((size / 2**octave - 1) * 4)
        bins = np.where(size < 8, np.floor(size), 8 + (octave - 3) * 4 + quarter).astype(int)
        bins += (distance < 0) * (BINS // 2)
        np.add.at(even[axis], (kinds[key], bins), 1 / (rows[query] + 1) / len(rows))
        for group in range(len(layout.groups)):
            part = own[groups == group].mean(0)[query, key] / len(rows)
            np.add.at(mass[group, axis], (kinds[key], bins), part)
    return mass, even
