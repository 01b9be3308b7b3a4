"""docs/trained-elsewhere.md: which settings of other training code are which variant."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from evalkit.rope.variants import parse_variant
from tools.golden.mapping import sequence_variant, spectrum_variant

PAGE = (Path(__file__).resolve().parents[2] / "docs/trained-elsewhere.md").read_text(encoding="utf-8")
ROWS = re.findall(r'^\| `("[^`]+)`[^|]*\| `([^`]+)` \|$', PAGE, re.MULTILINE)
# What its configurations have without being told (multimodal_ropes/configs/).
SECTIONS = {"mrope-interleave": (24, 20, 20), "mhrope": (2, 3, 3), "ilrope": (24, 20, 20)}


def test_all_its_variants_are_there() -> None:
    names = {ast.literal_eval(call.partition(",")[0]) for call, _ in ROWS}
    assert names == {
        *("vanilla-rope", "mrope", "mrope-interleave", "mhrope", "videorope", "hope", "circlerope"),
        *("v2pe", "ilrope", "omnirope", "mmrope", "grape"),
    }


@pytest.mark.parametrize(("call", "variant"), ROWS)
def test_a_row_is_what_official_results_are_compared_with(call: str, variant: str) -> None:
    """Positions and pairs of the variant are those that `evalkit ropes check` maps the call to."""
    parsed = ast.parse(f"call({call})", mode="eval").body
    assert isinstance(parsed, ast.Call)
    name = ast.literal_eval(parsed.args[0])
    params = {str(each.arg): ast.literal_eval(each.value) for each in parsed.keywords}
    positions = sequence_variant(f"unified.{name}", {"variant": name, "params": params})
    if name != "vanilla-rope":
        params["mrope_section"] = SECTIONS.get(name, (16, 24, 24))
    pairs = spectrum_variant("unified.any", {"variant": name, "params": params})
    assert positions is not None
    assert pairs is not None
    found = parse_variant(variant)
    assert found.position == parse_variant(positions.variant).position
    mine, theirs = (each.axis_map(64, 8, None) for each in (found, parse_variant(pairs.variant)))
    assert mine.shape == theirs.shape
    assert (mine == theirs).all()


def test_every_variant_that_the_page_names_is_one() -> None:
    named = re.findall(r"`((?:mrope|mrope-i|vanilla)(?:\([^`]*\))?)`", PAGE)
    assert len(named) > 8
    for text in named:
        parse_variant(text)
