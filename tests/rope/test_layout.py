from __future__ import annotations

import pytest

from evalkit.rope.layout import IMAGE, VIDEO, TextRun, VisualBlock, read_segments, segments_from_types


def test_touching_blocks_are_cut_by_their_grids() -> None:
    types = [0] + [1] * 12 + [2] * 8
    segments = segments_from_types(
        types, [(1, 4, 4), (1, 4, 8), (2, 4, 4)], merge=2, seconds=[None, None, 0.5]
    )
    assert segments == [
        TextRun(1),
        VisualBlock((1, 2, 2)),
        VisualBlock((1, 2, 4)),
        VisualBlock((2, 2, 2), seconds_per_grid=0.5),
    ]


def test_a_video_without_seconds_counts_one() -> None:
    assert segments_from_types([2] * 4, [(1, 4, 4)], merge=2) == [VisualBlock((1, 2, 2), 1.0)]


def test_a_block_may_end_the_row() -> None:
    assert segments_from_types([0, 1], [(1, 2, 2)], merge=2) == [TextRun(1), VisualBlock((1, 1, 1))]


@pytest.mark.parametrize(
    ("types", "grids", "said"),
    [
        ([1] * 5, [(1, 4, 4)], "left over"),
        ([1] * 3, [(1, 4, 4)], "does not fit"),
        ([0], [(1, 4, 4)], "have no visual tokens"),
        ([1], [(1, 1, 1)], "does not fit"),
    ],
)
def test_disagreement_is_refused(types: list[int], grids: list[tuple[int, int, int]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        segments_from_types(types, grids, merge=2)


def test_rows_of_a_batch_share_the_grids_of_each_kind() -> None:
    media = {IMAGE: iter([((1, 2, 2), None), ((1, 2, 4), None)]), VIDEO: iter([((2, 2, 2), 2.0)])}
    assert read_segments([1, 0, 2, 2], media, 2) == [
        VisualBlock((1, 1, 1)),
        TextRun(1),
        VisualBlock((2, 1, 1), 2.0),
    ]
    assert read_segments([0, 1, 1], media, 2) == [TextRun(1), VisualBlock((1, 1, 2))]
