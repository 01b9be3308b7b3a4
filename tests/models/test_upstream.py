"""What the docs say of transformers' own code holds for the transformers that is installed."""

from __future__ import annotations

import pytest
import torch
from tiny_families import TINY

from evalkit.rope.hf.install import install, uninstall
from evalkit.rope.variants import parse_variant


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl"])
def test_text_after_a_video_begins_inside_it_upstream(name: str) -> None:
    """docs/ropes.md: `mrope(compat=hf5)` is what transformers 5.3 to the newest tested one computes."""
    family, model = TINY[name], TINY[name].model()
    item = family.prompts[2]
    ids = torch.from_numpy(item.input_ids)[None]
    inputs = {"input_ids": ids, **family.own_inputs(model, item)}
    inputs = {key: value for key, value in inputs.items() if not key.startswith("pixel")}
    if "second_per_grid_ts" in inputs:
        inputs["second_per_grid_ts"] = torch.tensor(
            [3.0]
        )  # long beside its 2 x 2 tokens; 5.17 cuts fractions
    theirs, their_deltas = model.model.get_rope_index(**inputs)
    found = {}
    for text in ("mrope(compat=hf5)", "mrope"):
        install(model, parse_variant(text))
        found[text] = model.model.get_rope_index(**inputs)
        uninstall(model)
    ours, deltas = found["mrope(compat=hf5)"]
    assert torch.equal(ours, theirs)
    assert torch.equal(deltas, their_deltas)
    assert found["mrope"][0][0, 0, -1] > theirs[0, 0, -1]
