"""From samples to figures: weights, intervals clustered by medium, sinks, fading, distances."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evalkit.core.errors import UsageError
from evalkit.diagnose.attention.heads import HeadLayout
from evalkit.diagnose.attention.measure import BINS
from evalkit.diagnose.attention.options import AttentionOptions
from evalkit.diagnose.attention.output import csv_of, shown_layers, tables
from evalkit.diagnose.attention.summary import (
    CURVE,
    DISTANCE,
    FADING,
    LIFT,
    MEAN,
    SHARE,
    SINK,
    AttentionRow,
    TaskAttention,
)
from evalkit.report.intervals import interval

LAYOUT = HeadLayout(
    axes=("t", "h"),
    axis_rows=(0, 1),
    num_axes=3,
    groups=("t", "h"),
    group_of_kv_head=(0, 1, 1),
    layer_groups=(0, 0),
    heads=3,
)


def measured(by_query: list[float], sink: tuple[float, float] = (1, 2), before: int = 0) -> Any:
    """A sample of two layers, the second with half the share of the first; ``before`` queries are text's."""
    own = np.array(by_query)
    distances, even = np.zeros((2, 2, 2, 2, BINS)), np.zeros((2, 2, 2, BINS))
    distances[:, 0, 0, 1, 3], distances[:, 1, 0, 1, 3], even[:, 0, 1, 3] = 0.3, 0.1, 0.2
    return SimpleNamespace(
        queries=SimpleNamespace(
            places=tuple(range(len(own))), answer=(*[-1] * before, *range(len(own) - before))
        ),
        by_query=np.stack([own, own / 2]),
        share=np.array([[own.mean()] * 3, [own.mean() / 2] * 3]),
        sink=np.array([[[sink[0]] * 3] * 2, [[sink[1]] * 3] * 2]),
        distances=distances,
        even_distances=even,
    )


def rows_of(*samples: tuple[Any, str], **options: Any) -> dict[tuple[Any, ...], AttentionRow]:
    task = TaskAttention("m@v", "docs", [0, 1], LAYOUT, AttentionOptions(**options))
    for found, cluster in samples:
        task.add(found, cluster)
    found = list(task.rows())
    keys = [(row.measure, row.layer, row.heads, row.axis, row.keys, row.begin) for row in found]
    assert len(set(keys)) == len(keys)
    return {(row.measure, row.layer, row.heads, row.begin): row for row in found if row.axis != "h"}


def test_a_mean_over_samples_has_an_interval_clustered_by_medium() -> None:
    values, clusters = [0.3, 0.32, 0.4, 0.42, 0.35, 0.37], list("aabbcc")
    samples = [measured([value - 0.1, value + 0.1]) for value in values]
    found = rows_of(*zip(samples, clusters, strict=True))
    row = found[SHARE, 1, MEAN, None]
    assert row.value == pytest.approx(0.36)
    assert (row.low, row.high) == pytest.approx(interval(values, clusters))
    assert (row.low, row.high) != pytest.approx(interval(values, list("abcdef")))
    assert found[SHARE, 2, MEAN, None].value == pytest.approx(0.18)
    assert found[SHARE, MEAN, MEAN, None].value == pytest.approx(0.27)
    assert {heads for measure, layer, heads, _ in found if (measure, layer) == (SINK, 2)} == {
        *(MEAN, "t heads", "h heads"),
        *(1, 2, 3),
    }


def test_queries_may_count_alike_instead_of_samples() -> None:
    samples = ((measured([0.2, 0.2, 0.2]), "a"), (measured([0.6]), "b"))
    assert rows_of(*samples)[SHARE, 1, 1, None].value == pytest.approx(0.4)
    assert rows_of(*samples, average="queries")[SHARE, 1, 1, None].value == pytest.approx(0.3)


def test_a_sink_is_a_ratio_and_a_sample_without_one_is_not_counted() -> None:
    found = rows_of(
        (measured([0.5], (3, 2)), "a"), (measured([0.5], (1, 2)), "b"), (measured([0.5], (0, 0)), "c")
    )
    row = found[SINK, 1, "h heads", None]
    assert (row.value, row.samples) == (pytest.approx(1.0), 2)
    assert found[SHARE, 1, "h heads", None].samples == 3
    nothing = rows_of((measured([0.5], (0, 0)), "c"))[SINK, 1, MEAN, None]
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.samples) == (None, 0)


def test_fading_is_counted_in_answers_and_not_in_the_prompt() -> None:
    long = measured([0.9, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1, 0.1, 0.0], before=1)
    found = rows_of((long, "a"), (measured([0.6]), "b"))
    row = found[FADING, 1, MEAN, None]
    assert (row.value, row.samples) == (pytest.approx((0.1 + 0.0) / 2 - (0.8 + 0.5) / 2), 1)
    assert found[CURVE, 1, MEAN, 1].value == pytest.approx((0.8 + 0.6) / 2)
    assert found[CURVE, 1, MEAN, 5].value == pytest.approx((0.2 + 0.1 + 0.1 + 0.0) / 4)
    assert found[CURVE, 1, MEAN, 5].samples == 1
    assert (FADING, 1, MEAN, None) not in rows_of((measured([0.5, 0.5, 0.5]), "a"))


def test_distances_are_by_head_group_and_beside_even_attention() -> None:
    found = rows_of((measured([0.5]), "a"), (measured([0.5, 0.5]), "b"))
    for heads, share in (("t heads", 0.3), ("h heads", 0.1)):
        assert found[DISTANCE, MEAN, heads, 3.0].value == pytest.approx(share)
        assert found[LIFT, MEAN, heads, 3.0].value == pytest.approx(share / 0.2)
        assert found[LIFT, MEAN, heads, 3.0].keys == "visual"


def test_tables_show_some_layers_and_csv_all_figures() -> None:
    rows = [
        AttentionRow("s", "t", SHARE, layer, MEAN, value=0.5, samples=1) for layer in (MEAN, *range(1, 29))
    ]
    assert shown_layers(rows, 4) == [7, 14, 21, 28]
    ((title, names, lines),) = tables(rows)
    assert title == "t: visual share (%)"
    assert names[2:] == [*(f"layer {layer}" for layer in shown_layers(rows)), "mean of layers", "n"]
    assert lines == [["s", MEAN, *["50.0"] * 9, "1"]]
    assert csv_of(rows).splitlines()[1] == "s,t,visual share,mean,mean,,,,,0.5,,,1"
    assert len(csv_of(rows).splitlines()) == 30


def test_layers_are_counted_from_one_and_must_be_there() -> None:
    assert AttentionOptions(layers=(4, 1)).chosen_layers(4, "m") == [0, 3]
    assert AttentionOptions().chosen_layers(2, "m") == [0, 1]
    for wrong in (0, 5):
        with pytest.raises(UsageError, match=f"`m` has 4 layers, and no layer {wrong}"):
            AttentionOptions(layers=(1, wrong)).chosen_layers(4, "m")
