from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.rope.parameters import BadParameter, symmetric_split
from evalkit.rope.variants import VARIANTS, UnknownVariant, parse_variant, split_variants


def axes(text: str, pairs: int = 64, kv_heads: int = 8, section: tuple[int, int, int] | None = None) -> str:
    found = parse_variant(text).frequency.axis_map(pairs, kv_heads, section)
    return " ".join("".join("THWn"[axis] for axis in row) for row in np.atleast_2d(found))


@pytest.mark.parametrize(
    "text",
    [
        *VARIANTS,
        "mrope(absolute_time=false)",
        "mrope(tokens_per_second=25)",
        "mrope(temporal_stride=0.1,allocation=[8,28,28])",
        "mrope-i(spatial_reset=false)",
        "mrope-i(temporal_stride=0.3333333333333333)",
        "mhrope(allocation=[1,1,2])",
    ],
)
def test_a_variant_reads_back_what_it_prints(text: str) -> None:
    assert str(parse_variant(text)) == text
    assert parse_variant(str(parse_variant(text))) == parse_variant(text)


def test_defaults_and_spaces_are_not_printed() -> None:
    assert str(parse_variant(" mrope-i ( spatial_reset=TRUE , temporal_stride=1.0 ) ")) == "mrope-i"
    assert parse_variant("mrope-i()") == VARIANTS["mrope-i"]


@given(stride=st.floats(1e-6, 1e6), reset=st.booleans())
def test_any_value_survives_printing(stride: float, reset: bool) -> None:
    variant = VARIANTS["mrope-i"].with_parameters(temporal_stride=stride, spatial_reset=reset)
    assert parse_variant(str(variant)) == variant


def test_unknown_names_name_the_known_ones() -> None:
    with pytest.raises(UnknownVariant, match="mrope-i") as caught:
        parse_variant("mrope_i")
    assert (caught.value.name, caught.value.known) == ("mrope_i", tuple(VARIANTS))
    with pytest.raises(BadParameter, match="temporal_stride") as bad:
        parse_variant("mrope-i(stride=2)")
    assert "temporal_stride" in bad.value.known


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mrope-i(", "closing bracket"),
        ("mrope-i(temporal_stride)", "exactly one value"),
        ("mrope-i(temporal_stride=1,temporal_stride=2)", "exactly one value"),
        ("mrope-i(temporal_stride=0)", "above zero"),
        ("mrope-i(temporal_stride=nan)", "a number"),
        ("mrope-i(spatial_reset=maybe)", "true or false"),
        ("mrope-i(allocation=24)", "three counts"),
        ("mrope-i(allocation=[24,20])", "three counts"),
        ("mrope-i(allocation=[24,-20,60])", "three counts"),
        ("vanilla(temporal_stride=2)", "no parameter `temporal_stride`"),
        ("mrope(tokens_per_second=0)", "above zero"),
    ],
)
def test_wrong_parameters_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadParameter, match=said):
        parse_variant(text)


def test_lists_are_split_outside_brackets_only() -> None:
    assert split_variants("a,b(x=1,y=[2,3]),,c ") == ["a", "b(x=1,y=[2,3])", "c"]


def test_what_the_model_decides_is_filled_in_but_not_printed_over() -> None:
    assert VARIANTS["mrope"].with_defaults(tokens_per_second=25.0).parameters["tokens_per_second"] == 25.0
    assert parse_variant("mrope(tokens_per_second=4)").with_defaults(tokens_per_second=25.0) == parse_variant(
        "mrope(tokens_per_second=4)"
    )
    assert VARIANTS["vanilla"].with_defaults(tokens_per_second=25.0) == VARIANTS["vanilla"]


def test_allocations_on_small_heads() -> None:
    assert axes("vanilla", 8) == "T" * 8
    assert axes("mrope", 16) == "T" * 4 + "H" * 6 + "W" * 6
    assert axes("mrope", 16, section=(6, 5, 5)) == "T" * 6 + "H" * 5 + "W" * 5
    assert axes("mrope-i", 16) == "THW" * 5 + "T"
    assert axes("mrope-i", 16, section=(4, 6, 6)) == "THW" * 5 + "T"  # the section is the chunks' alone
    assert axes("mhrope", 2, 4) == "TT TT HH WW"
    assert axes("mhrope", 1, 3) == "T H W"
    assert axes("mhrope(allocation=[1,1,1])", 1, 5) == "T H W n n"


def test_the_quota_rule_holds_for_ratios_that_slices_get_wrong() -> None:
    assert axes("mrope-i(allocation=[12,26,26])") == "THW" * 12 + "HW" * 14
    assert axes("mrope-i(allocation=[0,32,32])") == "HW" * 32


@pytest.mark.parametrize(
    ("text", "pairs", "heads", "said"),
    [
        ("mrope-i(allocation=[24,20,20])", 16, 4, "adds up to 64, the model has 16 rotary pairs"),
        ("mrope(allocation=[1,1,1])", 16, 4, "adds up to 3"),
        ("mhrope(allocation=[2,3,3])", 16, 4, "key-value heads"),
        ("mhrope", 16, 2, "the model has 2 key-value heads"),
    ],
)
def test_allocations_that_do_not_fit_are_refused(text: str, pairs: int, heads: int, said: str) -> None:
    with pytest.raises(BadParameter, match=said):
        axes(text, pairs, heads)


@given(total=st.integers(3, 300), ratio=st.sampled_from([(16, 24, 24), (24, 20, 20), (2, 3, 3)]))
def test_shares_are_whole_symmetric_and_complete(total: int, ratio: tuple[int, int, int]) -> None:
    t, h, w = symmetric_split(total, ratio)
    assert t + h + w == total
    assert h == w
    assert min(t, h) >= 1
    assert abs(h - total * ratio[1] / sum(ratio)) <= 0.5
