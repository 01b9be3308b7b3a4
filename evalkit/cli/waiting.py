"""What a command is at, on stderr, if it takes long."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from evalkit.core.console import inline, say, scrub

_BEFORE = {True: 1.0, False: 15.0}  # seconds to the first line: on a terminal, and elsewhere
_BETWEEN = {True: 0.2, False: 15.0}  # a terminal's line replaces the one before


@contextmanager
def steps_shown() -> Iterator[None]:
    """Within the block, the steps that ``evalkit.report`` logs are shown on stderr, if it takes long."""
    log, shown = logging.getLogger("evalkit.report"), _Steps(sys.stderr.isatty())
    before = log.level
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.setLevel(before)
        shown.clear()


class _Steps(logging.Handler):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self._next = time.monotonic() + _BEFORE[terminal]
        self._width = 0

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BETWEEN[self._terminal]
        text = inline(scrub(record.getMessage()))
        if self._terminal:
            self.clear()
            self._width = len(text)
            say(text, err=True, nl=False)
        else:
            say(text, err=True)

    def clear(self) -> None:
        """Take the line away that is still there."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
