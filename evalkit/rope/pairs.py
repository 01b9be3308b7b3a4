"""Which channels of a head a model rotates together."""

from __future__ import annotations

from typing import Literal

Pairs = Literal["half", "adjacent"]
"""Channels ``i`` and ``i + P`` (most models), or ``2 * i`` and ``2 * i + 1`` (GPT-J's way, which GLM
follows). Those from ``2 * P`` on aren't rotated in either."""
