import doctest

from evalkit.data import archives, digests, mmmu, options, subtitles
from evalkit.data.subtitles import Cue, at_times, parse_srt


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


def test_at_times_takes_each_once_and_in_order():
    cues = [Cue(0, 1, "a"), Cue(1, 2, "b"), Cue(1.5, 9, "c")]
    assert [cue.text for cue in at_times(cues, [0.0, 0.5, 2.0, 1.75])] == ["a", "b", "c"]
    assert [cue.text for cue in at_times(cues, [1.0])] == ["b"]
    assert at_times(cues, []) == []


def test_examples_in_docstrings():
    for module in (archives, digests, mmmu, options, subtitles):
        assert doctest.testmod(module).failed == 0
