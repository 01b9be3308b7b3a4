from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalkit.rope.ablations import ABLATIONS
from evalkit.rope.parameters import BadParameter, symmetric_split
from evalkit.rope.scaling import Spectrum
from evalkit.rope.variants import (
    BUILTIN,
    VARIANTS,
    UnknownVariant,
    parse_variant,
    split_variants,
)
from tools.golden.spectra import spectrum_of


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


@pytest.mark.parametrize("rows", ABLATIONS.values(), ids=list(ABLATIONS))
def test_the_papers_ablations_are_written_as_they_print_themselves(rows: dict[str, str]) -> None:
    for text in rows.values():
        assert str(parse_variant(text)) in (text, "mrope-i")


PARTS = [
    "position=diagonal,frequency=interleave(24,20,20),scaling=yarn(8)",
    "position=reset(temporal_stride=0.5,text=zero),frequency=heads(2,3,3)",
    "position=circle(radius=auto-2,video=collapse,age=odd),frequency=hope(16,24,24,unified_offset=true)",
    "position=scaled(4,8,8),frequency=meta(8),scaling=base+ntk(2.5)",
    "position=v2pe(0.25),frequency=temporal,scaling=yarn(4,length=32768,fast=16)",
    "mrope-i(allocation=[32,16,16],scaling=yarn(8))",
    "mmrope(position=lumos)",
    "mrope-i(frequency=chunk)",
    "grape(layout=interleaved,scaling=power(1.5))",
]


@pytest.mark.parametrize("text", PARTS)
def test_compositions_read_back_what_they_print(text: str) -> None:
    normal = text.replace("circle(radius=auto-2", "circle(radius=auto-2").replace("base+", "base+")
    assert str(parse_variant(text)) == normal
    assert parse_variant(str(parse_variant(text))) == parse_variant(text)


@given(
    position=st.sampled_from(sorted(BUILTIN.positions)),
    frequency=st.sampled_from(sorted(BUILTIN.frequencies)),
    factor=st.floats(1.0, 64.0),
    scaling=st.lists(st.sampled_from(["linear", "ntk", "yarn", "power"]), max_size=2),
)
def test_every_position_goes_with_every_frequency_and_scaling(
    position: str, frequency: str, factor: float, scaling: list[str]
) -> None:
    text = f"position={position},frequency={frequency}"
    if scaling:
        text += ",scaling=" + "+".join(f"{each}({factor!r})" for each in scaling)
    variant = parse_variant(text)
    assert parse_variant(str(variant)) == variant
    assert variant.frequency.axis_map(64, 8).shape in ((64,), (8, 64))
    assert variant.keeps_text_prior == (frequency != "hope" and not scaling)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("position=diagonal", "lacks its frequency"),
        ("frequency=chunk", "lacks its position"),
        ("position=nowhere,frequency=chunk", "no position design `nowhere`"),
        ("position=grid,frequency=chunk(1,2)", "three counts"),
        ("position=grid,frequency=chunk(1,2,3,4)", "no parameter for `4`"),
        ("position=grid,frequency=chunk,scaling=yarn", "needs `factor`"),
        ("position=grid,frequency=chunk,scaling=zoom(2)", "no scaling `zoom`"),
        ("position=grid,frequency=chunk,colour=red", "no parameter `colour`"),
        ("position=grid,position=reset,frequency=chunk", "exactly one value"),
        ("position=reset(text=none),frequency=chunk", "copy or zero"),
        ("circlerope(radius=wide)", "auto or auto-NUMBER"),
        ("mmrope(period=12)", "16 or 8"),
        ("mrope(compat=hf4)", "hf5"),
    ],
)
def test_wrong_compositions_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadParameter, match=said):
        parse_variant(text)


def test_compositions_stay_together_in_lists() -> None:
    listed = "vanilla,position=grid,frequency=chunk,scaling=ntk(2),position=reset,frequency=heads,mrope"
    assert split_variants(listed) == [
        "vanilla",
        "position=grid,frequency=chunk,scaling=ntk(2)",
        "position=reset,frequency=heads",
        "mrope",
    ]


def spectrum(scaling: str, frequency: str = "interleave") -> Spectrum:
    return spectrum_of(parse_variant(f"position=grid,frequency={frequency},scaling={scaling}"), 64, 8, 1e6)


@pytest.mark.parametrize("frequency", sorted(BUILTIN.frequencies))
@pytest.mark.parametrize("factor", [2.0, 8.0, 3.7])
def test_yarn_keeps_high_frequencies_and_divides_low_ones(frequency: str, factor: float) -> None:
    """Whatever axis a pair follows: base 1e6 and a context of 32768 ramp from pair 23 to pair 40."""
    plain = spectrum("linear(1)", frequency)
    found = spectrum(f"yarn({factor})", frequency)
    ratio = (plain.inv_freq / found.inv_freq).double()
    torch.testing.assert_close(ratio[..., :24], torch.ones_like(ratio[..., :24]), rtol=1e-6, atol=0)
    torch.testing.assert_close(ratio[..., 40:], torch.full_like(ratio[..., 40:], factor), rtol=1e-6, atol=0)
    assert ((ratio[..., 24:40] >= 1 - 1e-6) & (ratio[..., 24:40] <= factor + 1e-5)).all()
    assert found.attention_scaling == pytest.approx(0.1 * np.log(factor) + 1)


@pytest.mark.parametrize("factor", [4.0, 8.0, 3.7])
def test_yarn_is_that_of_transformers(factor: float) -> None:
    from transformers import Qwen2Config
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": 32768}
    config = Qwen2Config(
        hidden_size=1024,
        num_attention_heads=8,
        max_position_embeddings=int(32768 * factor),
        rope_parameters={**rope, "rope_theta": 1e6},
    )
    theirs, scaling = ROPE_INIT_FUNCTIONS["yarn"](config, torch.device("cpu"))
    found = spectrum(f"yarn({factor})")
    torch.testing.assert_close(found.inv_freq, theirs, rtol=2e-7, atol=0)
    assert found.attention_scaling == pytest.approx(scaling, rel=1e-12)


def test_ntk_keeps_the_highest_frequency_and_divides_the_lowest() -> None:
    plain, found = spectrum("linear(1)"), spectrum("ntk(4)")
    assert found.inv_freq[0] == plain.inv_freq[0] == 1
    assert (plain.inv_freq[-1] / found.inv_freq[-1]).item() == pytest.approx(4, rel=1e-5)


def test_a_base_of_its_own_for_height_and_width() -> None:
    found = spectrum("base(10000)", "chunk(16,24,24)")
    exponents = torch.arange(64) / 64
    torch.testing.assert_close(found.inv_freq[:16], (1e6 ** -exponents[:16]).float())
    torch.testing.assert_close(found.inv_freq[16:], (1e4 ** -exponents[16:]).float())
    both = spectrum("base(10000)+linear(2)", "chunk(16,24,24)")
    torch.testing.assert_close(both.inv_freq, found.inv_freq / 2)


def test_every_axis_can_have_a_full_spectrum() -> None:
    found = spectrum("per_axis", "interleave(24,20,20)")
    for axis, count in enumerate((24, 20, 20)):
        own = found.inv_freq[found.axes == axis]
        torch.testing.assert_close(own, (1e6 ** -(torch.arange(count) / count)).float())
