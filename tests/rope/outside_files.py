"""RoPE variants from outside for tests: the files of docs/add-a-rope.md, and folders with others."""

from __future__ import annotations

import re
from pathlib import Path

from evalkit.rope.catalog import RopeCatalog
from evalkit.rope.outside import read_ropes_dirs, rope_catalog

DOCS = Path(__file__).resolve().parents[2] / "docs/add-a-rope.md"
HALF, VROPE = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
LINES = """
from dataclasses import dataclass
from evalkit.rope.design import *
from evalkit.rope.design import BlockPositions, PositionDesign


@dataclass(frozen=True)
class Line(PositionDesign):
    name = "line"
    axes = ("t",)

    def place(self, block, at):
        return BlockPositions((at.start + block.token_indices(),), at.start + block.length)


@dataclass(frozen=True)
class Plane(PositionDesign):
    name = "plane"
    axes = ("w", "h")

    def place(self, block, at):
        t, h, w = grid_indices(block)
        frames, rows, columns = block.grid
        end = at.start + frames * columns
        return BlockPositions((at.start + t * columns + w, at.start + h), max(end, at.start + rows))


line = RopeVariant(Line(), Temporal(), name="line")
plane = RopeVariant(Plane(), Interleave((0, 32, 32)), name="plane")
"""
"""Designs of one axis and of two, whose order is not the allocation's."""


def write(folder: Path, **files: str) -> Path:
    """A folder with files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def catalog(folder: Path, **files: str) -> RopeCatalog:
    """The catalog with the files of a folder."""
    return rope_catalog(read_ropes_dirs([str(write(folder, **files))]))
