"""Generation with every variant is exact, whatever the cache and the batch."""

from __future__ import annotations

import torch

from evalkit.models.base import LoadConfig
from evalkit.models.conformance.tested_family import TestedFamily
from evalkit.models.hf_model import HfModel
from evalkit.models.loading import describe_model
from evalkit.rope.hf.install import install, installed_in, uninstall
from evalkit.rope.variants import parse_variant


def test_cache_batch_and_transformers_give_the_same_answers(family: TestedFamily, variant: str) -> None:
    """Generated alone, in one batch, by transformers' ``generate``, and recomputed without a cache."""
    model = family.with_variant(variant)
    alone = [family.answers(model, [prompt])[0] for prompt in family.prompts]
    assert family.answers(model, family.prompts) == alone
    stop = model.info.generation_tokens.stop_token_ids
    for prompt, answer in zip(family.prompts, alone, strict=True):
        tokens = family.recomputed(prompt, answer)
        assert tokens[: len(answer)] == answer, prompt.name
        assert len(answer) == prompt.prepared.max_new_tokens or tokens[-1] in stop, prompt.name
        assert family.generated(prompt) == answer, prompt.name


def test_text_is_answered_as_the_variant_promises(family: TestedFamily, variant: str) -> None:
    module = family.with_variant(variant).module
    ids = torch.arange(3, 140).view(1, -1)
    with torch.inference_mode():
        ours = module(input_ids=ids).logits
        uninstall(module)
        theirs = module(input_ids=ids).logits
    assert torch.equal(ours, theirs) == parse_variant(variant).keeps_text_prior


def test_uninstalling_restores_everything(family: TestedFamily) -> None:
    module = family.model.module
    uninstall(module)
    text_model = module.model.language_model
    parts = (module, module.model, text_model, text_model.layers[0].self_attn)
    before, rotary = [dict(each.__dict__) for each in parts], text_model.rotary_emb
    for variant in ("mhrope", "circlerope(age=odd)", "il-rope"):
        install(module, parse_variant(variant))
        uninstall(module)
    assert text_model.rotary_emb is rotary
    assert installed_in(module) is None
    assert before == [dict(each.__dict__) for each in parts]


def test_models_with_one_tower_share_what_it_sees(family: TestedFamily) -> None:
    """Answers of two variants in lockstep are those of each alone, although media are encoded once."""
    where = LoadConfig(dtype="float32", device="cpu", max_frames=4)
    names = ("mrope-i", "vanilla")
    expected = [family.answers(family.with_variant(name), family.prompts) for name in names]
    models = [describe_model(str(family.checkpoint), name, where).load() for name in names]
    models[1].share_weights_with(models[0])
    for model, answers in zip(models, expected, strict=True):
        assert isinstance(model, HfModel)
        assert family.answers(model, family.prompts) == answers
        assert len(model.vision_encoder.shared_with) == 2
