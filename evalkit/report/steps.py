"""The steps of a long comparison, logged for whoever waits for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
LOG = logging.getLogger("evalkit.report")


def counted(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, each of them a step: ``reading run 2 of 10``."""
    for number, item in enumerate(items, start=1):
        LOG.info("%s %d of %d", what, number, len(items))
        yield item
