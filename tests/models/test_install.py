"""Installing a variant into one model: what it changes, what it leaves alone, what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from test_decoder import TOKENS
from tiny_qwen import PROMPTS, make_model
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
from transformers_reference import prefill, qwen_inputs

from evalkit.core.types import Prepared
from evalkit.inference.sequence import segments_of
from evalkit.rope.hf.install import CannotInstall, install, installed_in, uninstall
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import position_ids
from evalkit.rope.variants import VARIANTS, parse_variant

PROMISING = tuple(name for name, variant in VARIANTS.items() if variant.keeps_text_prior)
TEXT = torch.arange(3, 140).view(1, -1)


def logits(model: Any, item: Prepared | None = None) -> torch.Tensor:
    with torch.inference_mode():
        if item is None:
            return model(input_ids=TEXT).logits
        return model(**prefill(model, installed_in(model), [item], TOKENS, qwen_inputs)[1]).logits


@pytest.mark.parametrize("heads", [4, 8])
@pytest.mark.parametrize("text", [*PROMISING, "mrope-i(spatial_reset=false)", "mrope-i(temporal_stride=0.5)"])
def test_text_alone_is_answered_bit_for_bit_as_before(text: str, heads: int) -> None:
    model = make_model(heads=heads)
    untouched = logits(model)
    install(model, parse_variant(text))
    assert torch.equal(logits(model), untouched)


@pytest.mark.parametrize("text", VARIANTS)
def test_uninstalling_restores_the_model(text: str) -> None:
    model = make_model()
    text_model = model.model.language_model
    before = (logits(model), text_model.rotary_emb, dict(model.model.__dict__), model.config.to_dict())
    attention = dict(text_model.layers[0].self_attn.__dict__)
    install(model, parse_variant(text))
    logits(model, PROMPTS[3])
    uninstall(model)
    assert torch.equal(logits(model), before[0])
    assert text_model.rotary_emb is before[1]
    assert model.model.__dict__ == before[2]
    assert model.config.to_dict() == before[3]
    assert text_model.layers[0].self_attn.__dict__ == attention
    assert installed_in(model) is None


def test_installing_replaces_what_is_installed() -> None:
    model = make_model()
    own = model.model.language_model.rotary_emb
    for text in ("mhrope", "mrope-i", "vanilla"):
        install(model, VARIANTS[text])
        assert model.config.rope_variant == text
    assert "forward" not in model.model.language_model.layers[0].self_attn.__dict__
    uninstall(model)
    uninstall(model)
    assert model.model.language_model.rotary_emb is own


def test_variants_live_side_by_side() -> None:
    """Four models in one process answer as each does alone, and nothing global has changed."""
    function = modeling_qwen2_5_vl.apply_rotary_pos_emb
    method = modeling_qwen2_5_vl.Qwen2_5_VLModel.get_rope_index
    alone = {}
    for text in VARIANTS:
        model = make_model()
        install(model, VARIANTS[text])
        alone[text] = logits(model, PROMPTS[3])
    together = {text: make_model() for text in VARIANTS}
    for text, model in together.items():
        install(model, VARIANTS[text])
    for text, model in together.items():
        assert torch.equal(logits(model, PROMPTS[3]), alone[text])
    assert modeling_qwen2_5_vl.apply_rotary_pos_emb is function
    assert modeling_qwen2_5_vl.Qwen2_5_VLModel.get_rope_index is method


def test_mrope_without_a_video_is_what_transformers_computes() -> None:
    model = make_model()
    (item,) = [item for item in PROMPTS if item.key == "two images"]
    install(model, VARIANTS["mrope"])
    ours = logits(model, item)
    inputs = prefill(model, installed_in(model), [item], TOKENS, qwen_inputs)[1]
    uninstall(model)
    types = torch.from_numpy(item.token_types).int()[None]
    with torch.inference_mode():
        theirs = model(**{**inputs, "position_ids": None}, mm_token_type_ids=types).logits
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("text", [*VARIANTS, "mrope-i(temporal_stride=0.5)"])
def test_rope_index_of_a_left_padded_batch(text: str) -> None:
    model = make_model()
    installed = install(model, parse_variant(text))
    _, inputs = prefill(model, installed, PROMPTS, TOKENS, qwen_inputs)
    width = inputs["input_ids"].shape[1]
    types = torch.zeros_like(inputs["input_ids"])
    for row, item in enumerate(PROMPTS):
        types[row, width - item.length :] = torch.from_numpy(item.token_types)
    seconds = [m.seconds_per_grid for item in PROMPTS for m in item.vision if m.kind == "video"]
    positions, deltas = model.model.get_rope_index(
        inputs["input_ids"],
        types,
        inputs["image_grid_thw"],
        inputs["video_grid_thw"],
        second_per_grid_ts=torch.tensor(seconds),
        attention_mask=inputs["attention_mask"],
    )
    assert torch.equal(positions, inputs["position_ids"][1:])
    for row, item in enumerate(PROMPTS):
        next_position = position_ids(installed.resolved.position, segments_of(item)).p_next
        assert deltas[row].item() == pytest.approx(
            next_position - item.length
        )  # relative to the unpadded length


def test_the_models_own_clock_and_section_are_used() -> None:
    model = make_model()
    model.config.vision_config.tokens_per_second = 5
    installed = install(model, VARIANTS["mrope"])
    assert str(installed.variant) == "mrope"
    assert installed.resolved.parameters["tokens_per_second"] == 5
    assert model.model.language_model.rotary_emb.axes.tolist() == [0] * 4 + [1] * 6 + [2] * 6


def test_the_name_is_saved_with_the_checkpoint(tmp_path: Path) -> None:
    model = make_model()
    install(model, parse_variant("mrope-i(spatial_reset=false)"))
    model.save_pretrained(tmp_path)
    again, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert again.config.rope_variant == "mrope-i(spatial_reset=false)"
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    install(again, VARIANTS["mhrope"])
    uninstall(again)
    assert again.config.rope_variant == "mrope-i(spatial_reset=false)"


def test_mhrope_needs_three_key_value_heads() -> None:
    model = make_model(kv_heads=2)
    untouched = logits(model)
    with pytest.raises(BadParameter, match="2 key-value heads"):
        install(model, VARIANTS["mhrope"])
    assert installed_in(model) is None
    assert torch.equal(logits(model), untouched)


def test_a_broken_promise_is_refused() -> None:
    model = make_model()
    untouched = logits(model)
    model.model.language_model.rotary_emb.attention_scaling = 1.1
    own = model.model.language_model.rotary_emb.forward

    def shifted(x: torch.Tensor, position_ids: torch.Tensor) -> Any:
        return own(x, position_ids + 1)

    model.model.language_model.rotary_emb.forward = shifted
    with pytest.raises(CannotInstall, match="promises"):
        install(model, VARIANTS["mrope-i"])
    assert installed_in(model) is None
    assert not torch.equal(logits(model), untouched)


def test_heads_that_are_left_out_turn_nothing_and_promise_nothing() -> None:
    model = make_model()
    untouched = logits(model)
    install(model, parse_variant("mhrope(allocation=[1,1,1])"))
    assert model.model.language_model.rotary_emb.inv_freq[3].abs().max() == 0
    assert not torch.equal(logits(model), untouched)


def test_a_cast_spectrum_is_refused() -> None:
    with pytest.raises(CannotInstall, match="dtype="):
        install(make_model().to(torch.bfloat16), VARIANTS["mrope"])
    model = make_model()
    install(model, VARIANTS["mrope-i"])
    with pytest.raises(ValueError, match="rounds positions"):
        logits(model.to(torch.bfloat16))


def test_other_models_are_refused() -> None:
    with pytest.raises(CannotInstall, match="Linear"):
        install(torch.nn.Linear(2, 2), VARIANTS["mrope"])


def test_a_copy_is_installed_on_its_own() -> None:
    model = make_model()
    untouched = logits(model)
    install(model, VARIANTS["mhrope"])
    expected = logits(model, PROMPTS[3])
    twin = copy.deepcopy(model)
    uninstall(model)
    assert torch.equal(logits(twin, PROMPTS[3]), expected)
    uninstall(twin)
    assert torch.equal(logits(twin), untouched)
    assert "forward" not in twin.model.language_model.layers[0].self_attn.__dict__
