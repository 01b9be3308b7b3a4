import doctest

from evalkit.benchmarks import options, row_ids
from evalkit.core.types import Cue, Subtitled
from evalkit.data import archives, subtitles
from evalkit.data.subtitles import parse_srt


def test_real_form():
    source = (
        "\ufeff1\r\n00:00:00,060 --> 00:00:04,560\r\n"
        '<font color="white" size=".72c">Tom &amp; Jerry</font>\r\nsecond line\r\n\r\n'
        "2\r\n01:02:03.5 --> 01:02:04,250\r\n{\\an8}up here\r\n\r\n"
        "3\r\n00:00:09,000 --> 00:00:10,000\r\n \r\n"
    )
    assert parse_srt(source) == [
        Cue(0.06, 4.56, "Tom & Jerry second line"),
        Cue(3723.5, 3724.25, "up here"),
    ]


def test_nonsense_is_no_subtitle():
    assert parse_srt("") == []
    assert parse_srt("not a subtitle\n\n\n00:01 -> 2\ntext") == []


def test_of_the_times_shown_each_is_taken_once_and_in_order():
    words = Subtitled((Cue(0, 1, "a"), Cue(1, 2, "b"), Cue(1.5, 9, "c")), "<", ">", "none")
    assert [cue.text for cue in words.on_screen([0.0, 0.5, 1.75, 2.0])] == ["a", "b", "c"]
    assert [cue.text for cue in words.on_screen([1.0])] == ["b"]
    assert words.on_screen([]) == []
    assert (words.at([1.0, 1.6]), words.at([9.0]), words.at([])) == ("<b\nc>", "none", "none")


def test_examples_in_docstrings():
    for module in (archives, row_ids, options, subtitles):
        assert doctest.testmod(module).failed == 0
