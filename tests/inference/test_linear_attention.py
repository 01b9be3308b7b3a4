"""Gated delta nets in the engine: shared prefixes, fixed shapes, repeated steps, padding in transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.core.types import Prepared
from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.linear_attention import linear_layers
from evalkit.models.conformance.checkpoint import PAD
from evalkit.models.conformance.tested_family import NEW_TOKENS, TestedFamily
from evalkit.rope.hf.install import attention_layers


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> TestedFamily:
    return TestedFamily("qwen3_5", tmp_path_factory.mktemp("tiny") / "qwen3_5")


def followed_by(item: Prepared, key: str, text: bytes) -> Prepared:
    """A prompt with more text after it; a byte is a token."""
    more = torch.tensor(list(text))
    ids = torch.cat([torch.from_numpy(item.input_ids), more])
    types = torch.nn.functional.pad(torch.from_numpy(item.token_types), (0, len(more)))
    return replace(item, key=key, input_ids=ids.numpy(), token_types=types.numpy())


def tokens(decoder: Any, *groups: PrefixGroup) -> dict[str, list[int]]:
    return {item.key: list(each.token_ids) for item, each in generate_all(decoder, groups)}


@pytest.mark.parametrize("variant", ["mrope-i(spatial_reset=false)", "mhrope", "circlerope(age=odd)"])
def test_prompts_about_one_prefix_go_on_from_its_state(family: TestedFamily, variant: str) -> None:
    model = family.with_variant(variant)
    video = next(each.prepared for each in family.prompts if each.name == "a video")
    items = tuple(followed_by(video, key, key.encode()) for key in ("a", "and then?", "why" * 30))
    together = tokens(model.decoder(), PrefixGroup(items, video.prefix))
    assert together == tokens(model.decoder(), *(PrefixGroup((each,), each.prefix) for each in items))
    assert len(set(map(tuple, together.values()))) == 3


def test_fixed_shapes_give_the_same_tokens(family: TestedFamily) -> None:
    model = family.with_variant("mrope-i")
    groups = [PrefixGroup((each.prepared,), each.prepared.prefix) for each in family.prompts]
    assert tokens(model.decoder(deterministic=True), *groups) == tokens(model.decoder(), *groups)


def test_a_step_that_fails_can_be_repeated(family: TestedFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    """States move on only when the step's tokens were accepted."""
    model = family.with_variant("mrope-i")
    groups = [PrefixGroup((each.prepared,), each.prepared.prefix) for each in family.prompts]
    expected = tokens(model.decoder(), *groups)
    decoder = model.decoder()
    own, failures = decoder._select_tokens, iter([False, True, False, True])
    found = decoder.add(groups) + decoder.step()

    def select(*args: Any) -> Any:
        if next(failures, False):
            raise ValueError("out of something")
        return own(*args)

    monkeypatch.setattr(decoder, "_select_tokens", select)
    failed = 0
    while decoder.running:
        try:
            found += decoder.step()
        except ValueError:
            failed += 1
    assert failed == 2
    assert {item.key: list(each.token_ids) for item, each in found} == expected


@pytest.mark.parametrize("variant", ["mrope-i(spatial_reset=false)", "mhrope"])
def test_left_padding_changes_no_state(family: TestedFamily, variant: str) -> None:
    """Transformers' ``generate`` on a padded batch, on each prompt alone, and our engine."""
    model = family.with_variant(variant)
    prompts = [each for each in family.prompts if each.name in ("an image", "text only", "two images")]
    width = max(each.prepared.length for each in prompts)
    padding = [width - each.prepared.length for each in prompts]
    assert len(set(padding)) == 3

    def padded(row: torch.Tensor, count: int, value: int = 0) -> torch.Tensor:
        return torch.nn.functional.pad(row, (count, 0), value=value)

    pairs = list(zip(prompts, padding, strict=True))
    images = [each.arguments for each in prompts if "pixel_values" in each.arguments]
    settings = model.info.generation_tokens
    output = model.module.generate(
        input_ids=torch.cat([padded(each.input_ids, count, PAD) for each, count in pairs]),
        attention_mask=torch.cat([padded(torch.ones_like(each.input_ids), count) for each, count in pairs]),
        mm_token_type_ids=torch.cat(
            [
                padded(torch.from_numpy(each.prepared.token_types.astype("int32"))[None], n)
                for each, n in pairs
            ]
        ),
        pixel_values=torch.cat([each["pixel_values"] for each in images]),
        image_grid_thw=torch.cat([each["image_grid_thw"] for each in images]),
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=sorted(settings.stop_token_ids),
        pad_token_id=PAD,
        suppress_tokens=list(settings.banned_token_ids),
    )
    alone = family.answers(model, prompts)
    for row, answer, prompt in zip(output[:, width:].tolist(), alone, prompts, strict=True):
        assert row[: len(answer)] == answer == family.generated(prompt)


def test_layers_of_both_kinds_are_told_apart(family: TestedFamily) -> None:
    """AGE counts layers that attend: the two of three are different, and the one between them is neither."""
    model = family.with_variant("circlerope(age=odd)").module.model.language_model
    groups = [each._evalkit_layer_group for each in attention_layers(model)]
    assert groups == [0, 1]
    assert [each.layer_idx for each in attention_layers(model)] == [0, 2]
    assert [each.layer_idx for each in linear_layers(model)] == [1]
    assert all("forward" not in each.__dict__ for each in linear_layers(model))


def test_a_tower_with_experts_and_without_has_a_budget(tmp_path: Path) -> None:
    """Configurations of experts name the size of their MLPs in another way."""
    family = TestedFamily("qwen3_5_moe", tmp_path / "moe")
    assert not hasattr(family.model.module.config.get_text_config(), "intermediate_size")
    assert family.model.token_budget(1) > 0
