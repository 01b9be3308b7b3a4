"""Variants from outside: files and entry points, what is refused of them, and what is said then."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from outside_files import HALF, LINES, VROPE, catalog, write

from evalkit.rope.layout import TextRun, VisualBlock
from evalkit.rope.outside import read_ropes_dirs, rope_catalog
from evalkit.rope.positions import position_ids
from evalkit.rope.validation import BadRope
from evalkit.rope.variants import BUILTIN, UnknownVariant, parse_variant

DESIGN = """
from dataclasses import dataclass
from evalkit.rope.design import *

@dataclass(frozen=True)
class Mine(PositionDesign):
    name = "mine"
    step: float = 1.0

    def place(self, block, at):
        t, h, w = grid_indices(block)
        return BlockPositions((at.start + self.step * t, at.start + h, at.start + w), at.start + block.length)
"""
ALLOCATION = """
import numpy as np
from evalkit.rope.design import *

class Mine(FrequencyAllocation):
    name = "mine"

    def axis_map(self, pairs, kv_heads, section=None):
        return np.arange(pairs) % 3
"""
SCALING = """
from dataclasses import dataclass, replace
from evalkit.rope.design import *

@dataclass(frozen=True)
class Mine(Scaling):
    name = "mine"
    factor: float

    def apply(self, spectrum):
        return replace(spectrum, inv_freq=spectrum.inv_freq / self.factor)
"""
VARIANT = DESIGN + "\nmine_i = RopeVariant(Mine(), Interleave(), name='mine-i')\n"


def test_the_files_of_the_docs_are_variants(tmp_path: Path) -> None:
    found = catalog(tmp_path, half_steps=HALF, vrope=VROPE)
    assert set(found.variants) - set(BUILTIN.variants) == {"half-i", "vrope"}
    assert set(found.positions) - set(BUILTIN.positions) == {"half", "diagonals"}
    for text in (
        "half-i(step=0.25)",
        "position=half(0.25),frequency=heads",
        "half-i(frequency=chunk)",
        "vrope",
    ):
        assert str(found.parse(text)) == text
        assert found.parse(str(found.parse(text))) == found.parse(text)
    assert len(HALF.strip().splitlines()) <= 24
    with pytest.raises(UnknownVariant):
        parse_variant("half-i")


def test_diagonals_are_those_of_vrope(tmp_path: Path) -> None:
    design = catalog(tmp_path, vrope=VROPE).parse("vrope").position
    found = position_ids(design, [TextRun(2), VisualBlock((2, 2, 3)), TextRun(1)])
    assert found.ids.dtype == np.int64
    assert found.ids.shape == (4, 15)
    height, width, length = 2, 3, 4
    for token, (t, h, w) in enumerate(np.ndindex(2, height, width)):
        s, down, right = 2 + length * t, height - 1 - h, width - 1 - w
        assert found.ids[:, 2 + token].tolist() == [s + h + w, s + h + right, s + down + w, s + down + right]
    assert found.ids[:, -1].tolist() == [10] * 4
    assert found.next_position.tolist() == [11] * 4


def test_axes_go_by_name(tmp_path: Path) -> None:
    found = catalog(tmp_path, lines=LINES)
    assert found.parse("line").axis_map(64, 8).tolist() == [0] * 64
    # The design's first axis is the allocation's third, its width.
    assert found.parse("plane").axis_map(64, 8).tolist() == [1, 0] * 32
    with pytest.raises(ValueError, match=r"`chunk` gives pairs to the axis `h`, which `line` does not have"):
        found.parse("position=line,frequency=chunk").axis_map(64, 8)


def test_a_named_variant_may_have_a_scaling(tmp_path: Path) -> None:
    text = (
        DESIGN + SCALING.replace("Mine", "Slow") + "\nv = RopeVariant(Mine(), Chunk(), (Slow(4.0),), 'v')\n"
    )
    found = catalog(tmp_path, both=text)
    assert str(found.parse("v")) == "v"
    assert str(found.parse("v(scaling=native)")) == "v(scaling=native)"
    assert str(found.parse("v(scaling=mine(2))")) == "v(scaling=mine(2))"
    assert found.parse("v(scaling=native)").scaling == ()
    assert str(found.parse("mrope(scaling=mine(2)+yarn(4))")) == "mrope(scaling=mine(2)+yarn(4))"


def test_a_variant_made_of_another_has_parameters_of_its_own(tmp_path: Path) -> None:
    text = "from dataclasses import replace\nfrom evalkit.rope.variants import VARIANTS\n"
    text += "slow = replace(VARIANTS['mrope-i'].with_parameters(temporal_stride=2.0), name='slow')\n"
    found = catalog(tmp_path, slow=text)
    assert str(found.parse("slow")) == "slow"
    assert str(found.parse("slow(temporal_stride=1)")) == "slow(temporal_stride=1)"
    assert found.parse("slow").position == parse_variant("mrope-i(temporal_stride=2)").position
    assert list(found.sources(found.parse("slow"))) == ["slow.py"]


def test_one_file_in_two_folders_is_one(tmp_path: Path) -> None:
    folders = [str(write(tmp_path / name, mine=VARIANT)) for name in "ab"]
    found = rope_catalog(read_ropes_dirs(folders))
    assert str(found.parse("mine-i(step=2)")) == "mine-i(step=2)"


def test_catalogs_do_not_know_of_each_other(tmp_path: Path) -> None:
    """Two folders with the same name for different designs, one after the other in one process."""
    first = catalog(tmp_path / "a", mine=VARIANT).parse("mine-i(step=2)")
    second = catalog(tmp_path / "b", mine=VARIANT.replace("step: float = 1.0", "step: float = 2.0"))
    assert str(first) == "mine-i(step=2)"
    assert str(second.parse("mine-i(step=2)")) == "mine-i"
    assert first != second.parse("mine-i(step=2)")
    again = catalog(tmp_path / "c", other_name=VARIANT)
    assert type(again.parse("mine-i").position) is not type(first.position)
    assert catalog(tmp_path / "a", mine=VARIANT).parse("mine-i(step=2)") == first


def test_variants_can_be_pickled(tmp_path: Path) -> None:
    variant = catalog(tmp_path, mine=VARIANT).parse("mine-i(step=3)")
    copy = pickle.loads(pickle.dumps(variant))
    assert copy == variant
    assert str(copy) == "mine-i(step=3)"


def test_sources_are_those_of_what_is_used(tmp_path: Path) -> None:
    found = catalog(tmp_path, mine=VARIANT, scale=SCALING.replace('"mine"', '"mine_too"'))
    assert list(found.sources(found.parse("mine-i"))) == ["mine.py"]
    assert list(found.sources(found.parse("position=grid,frequency=chunk,scaling=mine_too(2)"))) == [
        "scale.py"
    ]
    assert list(found.sources(found.parse("mine-i(scaling=mine_too(2))"))) == ["mine.py", "scale.py"]
    assert found.sources(found.parse("mrope")) == {}
    before = found.sources(found.parse("mine-i"))
    after = catalog(tmp_path, mine=VARIANT + "# edited\n")
    assert after.sources(after.parse("mine-i"))["mine.py"] != before["mine.py"]


def test_private_files_and_classes_are_left_alone(tmp_path: Path) -> None:
    found = catalog(tmp_path, _helpers="raise RuntimeError", mine=VARIANT.replace("mine_i =", "_mine_i ="))
    assert "mine-i" not in found.variants
    assert "mine" in found.positions


BAD = [
    # what a file holds, and what is said: why, fix
    ("def broken(:", "syntax error in line 1", "correct it"),
    ("x = 1\nraise RuntimeError('no')", "line 2: RuntimeError: no", "correct it"),
    ("import sys\nsys.exit(3)", "SystemExit: 3", "correct it"),
    ("x = 1", "holds no position design", "docs/add-a-rope.md"),
    (DESIGN.replace("frozen=True", "frozen=False"), "cannot inherit non-frozen", "correct it"),
    (DESIGN.replace('name = "mine"', ""), "it has no name of its own", 'write `name = "mine"`'),
    (DESIGN.replace('"mine"', '"My Design"'), "its name is 'My Design'", "lower-case letters"),
    (
        DESIGN.replace('"mine"', '"grid"'),
        "position design `grid`: evalkit has one of this name",
        "another name",
    ),
    (
        DESIGN.replace("@dataclass(frozen=True)", ""),
        "its parameter `step` is not read",
        "@dataclass(frozen=True)",
    ),
    (DESIGN.replace("float = 1.0", "float"), "its parameter `step` has no default", "give it one"),
    (
        DESIGN.replace("float = 1.0", "list[int] | None = None"),
        "can't be written in a variant",
        "bool, int, float",
    ),
    (
        DESIGN.replace("    def place", '    axes = ("t", "t", "w")\n\n    def place'),
        "its axes are",
        "each once",
    ),
    (
        DESIGN.replace("    def place", "    def elsewhere"),
        "it has no method `place`",
        "def place(self, ...)",
    ),
    (DESIGN.replace("grid_indices(block)", "block.grids"), "AttributeError", "correct it"),
    (
        DESIGN.replace("return BlockPositions((", "return (("),
        "returns a tuple",
        "return `BlockPositions((t, h, w)",
    ),
    (
        DESIGN.replace(", at.start + w)", ")"),
        "returns 2 arrays for its 3 axes",
        "return `BlockPositions((t, h, w)",
    ),
    (DESIGN.replace("at.start + w)", "at.start)"), "axis `w` is no array of numbers", "BlockPositions"),
    (DESIGN.replace("at.start + w)", "(w + 1j))"), "axis `w` is no array of numbers", "BlockPositions"),
    (DESIGN.replace("at.start + w)", "w.ravel()[:2])"), "axis `w` has the shape", "broadcasts to [T, H, W]"),
    (DESIGN.replace("at.start + w)", "w / 0)"), "axis `w` reaches nan", "keep positions between"),
    (DESIGN.replace("at.start + w)", "w * 1e9)"), "axis `w` reaches", "float32"),
    (
        DESIGN.replace("at.start + block.length", "float('nan')"),
        "text goes on at nan",
        "text never goes back",
    ),
    (DESIGN.replace("at.start + block.length", "at.start - 1"), "text goes on at", "text never goes back"),
    (DESIGN.replace("at.start + block.length", "None"), "text goes on at None", "a number from `at.start`"),
    (DESIGN.replace("at.start + block.length", "1e12"), "text goes on at 1000000000000.0", "to 16777216"),
    (
        "import random\n" + DESIGN.replace("at.start + w)", "random.random() * w)"),
        "the second call gives others",
        "the arguments alone",
    ),
    (
        DESIGN.replace("at.start + h,", "(at.start + h).astype(int),"),
        "axis `h` holds integers (int64): the fraction is cut",
        "leave the numbers as they come",
    ),
    (
        DESIGN + "\n    text_step = (1.0, 0.0)\n",
        "`text_step` is (1.0, 0.0)",
        "for each of its axes (t, h, w)",
    ),
    (
        DESIGN + "\n    text_step = (0.0, 1.0, 1.0)\n",
        "`text_step` is (0.0, 1.0, 1.0)",
        "1 for the first",
    ),
    (
        DESIGN
        + "\n    def generation_start(self, next_position, largest):\n        return next_position + 1\n",
        "after a prompt of 5 text tokens `generation_start` gives 6.0",
        "return `next_position`",
    ),
    (
        DESIGN + "\n    def layer_groups(self, layers):\n        return (self,), (0, 1)\n",
        "`layer_groups(1)` gives 1 designs and the indices (0, 1)",
        "for every layer",
    ),
    (ALLOCATION.replace("% 3", "% 4"), "its axis map holds 3", "indices into its axes (t, h, w)"),
    (ALLOCATION.replace("% 3", "% 3 - 1"), "leaves pairs out (-1)", "`rotates_every_pair = False`"),
    (ALLOCATION.replace("% 3", "/ 3"), "is no axis map", "return integers"),
    (ALLOCATION.replace("np.arange(pairs)", "np.arange(7)"), "is no axis map", "one for each pair"),
    (
        ALLOCATION.replace("np.arange", "np.arrange"),
        "line 9: AttributeError",
        "correct it",
    ),
    (
        ALLOCATION.replace("return np.arange(pairs) % 3", "raise BadParameter('for heads of 7 pairs')"),
        "fits none of the usual heads: for heads of 7 pairs",
        "check its axes",
    ),
    (
        SCALING.replace("replace(spectrum, inv_freq=spectrum.inv_freq / self.factor)", "spectrum.inv_freq"),
        "returns no spectrum",
        "dataclasses.replace",
    ),
    (SCALING.replace("/ self.factor", "/ -self.factor"), "negative", "64 pairs"),
    (SCALING.replace("/ self.factor", "/ missing"), "line 11: NameError", "correct it"),
    (DESIGN + "\nx = RopeVariant(Mine(), Chunk())\n", "the variant `x` has no name", 'name="..."'),
    (
        DESIGN + "\nx = RopeVariant(Mine(), Chunk(), name='mrope')\n",
        "variant `mrope`: evalkit has one",
        "another",
    ),
    (
        DESIGN + "\nx = RopeVariant(Mine(), Chunk(), name='A b')\n",
        "no such name can be written",
        "lower-case",
    ),
    (
        DESIGN.replace("class Mine", "class _Mine") + "\nx = RopeVariant(_Mine(), Chunk(), name='x')\n",
        "its part `_Mine` is none that is known",
        "of the same file",
    ),
    (
        DESIGN.replace("step", "allocation") + "\nx = RopeVariant(Mine(), Chunk(), name='x')\n",
        "both have a parameter `allocation`",
        "rename one",
    ),
    (
        DESIGN.replace("    def place", '    axes = ("a", "b", "c")\n\n    def place')
        + "\nx = RopeVariant(Mine(), Chunk(), name='x')\n",
        "`chunk` gives pairs to the axis `t`, which `mine` does not have (its axes: a, b, c)",
        "check its axes",
    ),
]


@pytest.mark.parametrize(("text", "why", "fix"), BAD)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, why: str, fix: str) -> None:
    with pytest.raises(BadRope) as caught:
        catalog(tmp_path, bad=text)
    assert f"{tmp_path / 'bad.py'}" in caught.value.what
    assert why in caught.value.why
    assert fix in caught.value.fix


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadRope) as caught:
        catalog(tmp_path, first=DESIGN, second=DESIGN.replace("1.0", "2.0"))
    assert "first.py` has one of this name" in caught.value.why
    assert "second.py" in caught.value.what


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRope, match="there is no such folder; check `--ropes-dir`"):
        read_ropes_dirs([str(tmp_path / "nowhere")])


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path, for packages with entry points; nothing of them is left behind."""
    monkeypatch.syspath_prepend(tmp_path)
    rope_catalog.cache_clear()
    yield tmp_path
    rope_catalog.cache_clear()


def install(folder: Path, module: str, text: str, points: str) -> None:
    """As pip would leave it."""
    (folder / f"{module}.py").write_text(text)
    info = folder / f"{module}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(points)
    importlib.invalidate_caches()


def test_an_installed_package_brings_variants(package: Path) -> None:
    install(
        package,
        "rope_package_a",
        VARIANT,
        "[evalkit.positions]\nmine = rope_package_a:Mine\n[evalkit.ropes]\nmine-i = rope_package_a:mine_i\n",
    )
    variant = parse_variant("mine-i(step=2)")
    assert str(variant) == "mine-i(step=2)"
    (name,) = rope_catalog().sources(variant)
    assert name == "rope_package_a of rope_package_a 1.5"


@pytest.mark.parametrize(
    ("points", "why", "fix"),
    [
        ("[evalkit.positions]\nmine = rope_package_b:Nothing\n", "AttributeError", "mend or uninstall"),
        (
            "[evalkit.positions]\nmine = rope_package_b:mine_i\n",
            "no position design",
            "subclass of `PositionDesign`",
        ),
        (
            "[evalkit.frequencies]\nmine = rope_package_b:Mine\n",
            "no frequency allocation",
            "`FrequencyAllocation`",
        ),
        ("[evalkit.ropes]\nmine = rope_package_b:Mine\n", "it is no variant", "a value of `RopeVariant`"),
        (
            "[evalkit.positions]\nother = rope_package_b:Mine\n",
            "calls itself `mine`",
            "`mine = rope_package_b:Mine`",
        ),
        (
            "[evalkit.ropes]\nmine-i = rope_package_b:mine_i\n",
            "its part `Mine` is none that is known",
            "entry point",
        ),
    ],
)
def test_a_broken_package_is_named(package: Path, points: str, why: str, fix: str) -> None:
    install(package, "rope_package_b", VARIANT, points)
    with pytest.raises(BadRope) as caught:
        parse_variant("mrope")
    assert "of rope_package_b 1.5" in caught.value.what
    assert points.splitlines()[1] in caught.value.what
    assert why in caught.value.why
    assert fix in caught.value.fix


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    assert catalog(write(tmp_path / "empty")).variants == BUILTIN.variants
