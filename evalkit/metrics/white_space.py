"""Collapses long runs of white space, which make patterns slow."""

from __future__ import annotations

import re

_LONGEST = 40
_RUN = re.compile(rf"(?<!\s)\s{{{_LONGEST},}}")


def collapse_white_space(text: str) -> str:
    r"""A text in which 40 and more characters of white space in a row are a blank, a line's end, or an empty
    line, whichever they have in them.

    >>> collapse_white_space("a" + " " * 99 + "b"), collapse_white_space("a" + " \n" * 99 + "b")
    ('a b', 'a\n\nb')
    """
    return _RUN.sub(lambda found: "\n" * min(2, found[0].count("\n")) or " ", text)
