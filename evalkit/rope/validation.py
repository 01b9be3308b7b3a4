"""What is tried on a part or a variant from outside before it is used: what can be told without a model.

Whether a variant keeps the text prior of a model is checked once more, to the last bit, when it is installed.
"""

from __future__ import annotations

import math
import re
import traceback
import typing
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from evalkit.rope.frequencies import FrequencyAllocation
from evalkit.rope.grammar import PART_KEYS, parameter_types
from evalkit.rope.layout import VisualBlock
from evalkit.rope.parameters import BadParameter
from evalkit.rope.positions import BlockPositions, Cursor, PositionDesign
from evalkit.rope.scaling import Scaling, model_spectrum

if TYPE_CHECKING:
    from evalkit.rope.catalog import RopeCatalog
    from evalkit.rope.variant import RopeVariant

BLOCKS = (
    VisualBlock((1, 1, 1)),
    VisualBlock((1, 3, 5)),
    VisualBlock((1, 4, 4), tile=(2, 2)),
    VisualBlock((4, 2, 3), seconds_per_grid=0.5),
    VisualBlock((3, 5, 1), seconds_per_grid=2.0),
)
STARTS = (Cursor(0.0), Cursor(7.0, 3.0, 2), Cursor(20_000.0, 5.0, 9))
LARGEST = 2.0**24
"""Angles are products in float32, which can't tell larger positions from their neighbours."""
HEADS = ((64, 8), (64, 4), (32, 8), (16, 4), (48, 8), (40, 8))
"""Rotary pairs of a head and key-value heads of a layer, of common models."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_VALUES = (bool, int, float, str, NoneType)


class BadRope(ValueError):
    """Something from outside that can't be used: ``what`` it is, ``why``, and how to ``fix`` it."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(f"{what}: {why}; {fix}")
        self.what, self.why, self.fix = what, why, fix


Refuse = Callable[[str, str], BadRope]


def check_part(kind: type, where: str) -> str:
    """Try a position design, a frequency allocation or a scaling; say which of these it is.

    Raises:
        BadRope: it can't be used.
    """
    base, what, method, check = next(each for each in _KINDS if issubclass(kind, each[0]))
    name = vars(kind).get("name")

    def refuse(why: str, fix: str) -> BadRope:
        return BadRope(where, f"{what} `{name or kind.__name__}` (class `{kind.__name__}`): {why}", fix)

    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in PART_KEYS:
        suggested = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()
        raise refuse(
            f"its name is {name!r}" if name else "it has no name of its own",
            f'write `name = "{suggested}"` into the class: lower-case letters, digits, `-` and `_`',
        )
    if getattr(kind, method) is getattr(base, method):
        fix = f"write `def {method}(self, ...)`; see docs/add-a-rope.md"
        raise refuse(f"it has no method `{method}`", fix)
    try:
        _check_parameters(kind, refuse)
        check(kind, refuse)
    except BadRope:
        raise
    except Exception as error:  # a user's class may raise anything
        walked = traceback.walk_tb(error.__traceback__)
        lines = [line for frame, line in walked if frame.f_globals.get("__name__") == kind.__module__]
        place = f"line {lines[-1]}: " if lines else ""
        raise refuse(f"{place}{type(error).__name__}: {error}", "correct it") from error
    return what


def check_variant(variant: RopeVariant, known: RopeCatalog, where: str) -> None:
    """Try a named variant, whose parts are in ``known`` already.

    Raises:
        BadRope: it can't be used.
    """

    def refuse(why: str, fix: str) -> BadRope:
        return BadRope(where, f"variant `{variant.name}`: {why}", fix)

    if not _NAME.fullmatch(variant.name) or variant.name in PART_KEYS:
        raise refuse("no such name can be written", "use lower-case letters, digits, `-` and `_`")
    classes = {*known.positions.values(), *known.frequencies.values(), *known.scalings.values()}
    for part in (variant.position, variant.frequency, *variant.scaling):
        if type(part) not in classes:
            raise refuse(
                f"its part `{type(part).__name__}` is none that is known",
                "name a class of evalkit, of the same file, or of an entry point",
            )
    shared = parameter_types(type(variant.position)).keys() & parameter_types(type(variant.frequency)).keys()
    if shared:
        raise refuse(
            f"its position design and its frequency allocation both have a parameter `{min(shared)}`",
            "rename one of them: a variant's parameters are written without the part's name",
        )
    _laid_out(lambda pairs, heads: variant.axis_map(pairs, heads), refuse)


def _check_parameters(kind: type, refuse: Refuse) -> None:
    annotated = vars(kind).get("__annotations__", {})
    own = [name for name, hint in annotated.items() if "ClassVar" not in str(hint)]
    if own and "__dataclass_fields__" not in vars(kind):
        fix = "write `@dataclass(frozen=True)` above the class"
        raise refuse(f"its parameter `{own[0]}` is not read", fix)
    for field, hint in zip(fields(kind), parameter_types(kind).values(), strict=True):
        if field.default is MISSING and not issubclass(kind, Scaling):
            raise refuse(f"its parameter `{field.name}` has no default", "give it one")
        for each in typing.get_args(hint) if isinstance(hint, UnionType) else (hint,):
            numbers = typing.get_origin(each) is tuple and set(typing.get_args(each)) <= {int, float}
            if not (each in _VALUES or typing.get_origin(each) is Literal or numbers):
                raise refuse(
                    f"its parameter `{field.name}` is a `{each}`, which can't be written in a variant",
                    "use bool, int, float, str, a Literal, or a tuple of numbers (`tuple[int, int, int]`)",
                )


def _check_position(kind: type, refuse: Refuse) -> None:
    design: PositionDesign = kind()
    axes = design.axes
    if not (
        isinstance(axes, tuple)
        and axes
        and all(isinstance(each, str) and each.isidentifier() for each in axes)
        and len(set(axes)) == len(axes)
    ):
        raise refuse(f"its axes are {axes!r}", 'write their names, each once: `axes = ("t", "h", "w")`')
    _check_text(design, refuse)
    for block in BLOCKS:
        for at in STARTS:
            _check_block(design, block, at, refuse)
        _check_fraction(design, block, refuse)


def _check_text(design: PositionDesign, refuse: Refuse) -> None:
    """Text is counted on the first axis, and generated text goes on where the prompt's ends."""
    step, axes = design.text_step, ", ".join(design.axes)
    if len(step) != len(design.axes) or step[0] != 1 or not all(_is_number(each) for each in step):
        raise refuse(
            f"`text_step` is {step!r}",
            f"give a number for each of its axes ({axes}): 1 for the first, on which text is counted",
        )
    for layers in (1, 4):
        designs, uses = design.layer_groups(layers)
        if len(uses) != layers or not set(uses) <= set(range(len(designs))):
            raise refuse(
                f"`layer_groups({layers})` gives {len(designs)} designs and the indices {uses!r}",
                "give for every layer the index of its design",
            )
        if any(each.axes != design.axes for each in designs):
            raise refuse("the designs of its layer groups have different axes", f"give all the axes {axes}")
    begin = design.generation_start(5.0, lambda: 4.0)
    if not _is_number(begin) or begin != 5:
        raise refuse(
            f"after a prompt of 5 text tokens `generation_start` gives {begin!r}",
            "return `next_position` where there is only text: it is answered as by the untouched model",
        )


def _check_block(design: PositionDesign, block: VisualBlock, at: Cursor, refuse: Refuse) -> None:
    what = f"for a block of {' x '.join(map(str, block.grid))} tokens at {at.start:g}"
    placed = _placed(design, block, at, refuse)
    for axis, values in zip(design.axes, placed.coordinates, strict=True):
        if not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
            raise refuse(
                f"{what}, axis `{axis}` reaches {_extreme(values):g}",
                f"keep positions between -{LARGEST:.0f} and {LARGEST:.0f}: angles are computed in float32",
            )
    if not _is_number(placed.next_position) or not at.start <= placed.next_position <= LARGEST:
        raise refuse(
            f"{what}, text goes on at {placed.next_position!r}",
            f"return a number from `at.start` to {LARGEST:.0f}: text never goes back",
        )
    again = _placed(design, block, at, refuse)
    if not all(np.array_equal(a, b) for a, b in zip(placed.coordinates, again.coordinates, strict=True)):
        raise refuse(f"{what}, the second call gives others", "let positions depend on the arguments alone")


def _check_fraction(design: PositionDesign, block: VisualBlock, refuse: Refuse) -> None:
    """A block after text that ends at a fraction, which must not be cut."""
    whole, half, more = (_placed(design, block, Cursor(at), refuse).coordinates for at in (7.0, 7.5, 8.0))
    for axis, before, between, after in zip(design.axes, whole, half, more, strict=True):
        follows = np.array_equal(np.add(before, 1), after)
        if follows and between.dtype.kind in "iu":
            raise refuse(
                f"for a block at 7.5, axis `{axis}` holds integers ({between.dtype}): the fraction is cut",
                "leave the numbers as they come: integers are told by their values, and kept as int64",
            )


def _placed(design: PositionDesign, block: VisualBlock, at: Cursor, refuse: Refuse) -> BlockPositions:
    what = f"`place` of a block of {' x '.join(map(str, block.grid))} tokens at {at.start:g}"
    fix = f"return `BlockPositions(({', '.join(design.axes)}), next_position)`"
    with np.errstate(all="ignore"):  # what comes of it is refused below
        placed = design.place(block, at)
    if not isinstance(placed, BlockPositions) or not isinstance(placed.coordinates, tuple):
        raise refuse(f"{what} returns a {type(placed).__name__}", fix)
    if len(placed.coordinates) != len(design.axes):
        raise refuse(f"{what} returns {len(placed.coordinates)} arrays for its {len(design.axes)} axes", fix)
    for axis, values in zip(design.axes, placed.coordinates, strict=True):
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
            raise refuse(f"{what}: axis `{axis}` is no array of numbers", fix)
        try:
            np.broadcast_to(values, block.grid)
        except ValueError:
            raise refuse(
                f"{what}: axis `{axis}` has the shape {values.shape}",
                f"give it a shape that broadcasts to [T, H, W], here {block.grid} (see `grid_indices`)",
            ) from None
    return placed


def _check_frequency(kind: type, refuse: Refuse) -> None:
    allocation: FrequencyAllocation = kind()
    for found in _laid_out(lambda pairs, heads: allocation.axis_map(pairs, heads), refuse):
        if found.max() >= len(allocation.axes):
            raise refuse(
                f"its axis map holds {found.max()}",
                f"use indices into its axes ({', '.join(allocation.axes)}), and -1 for a pair without one",
            )
        if allocation.rotates_every_pair and found.min() < 0:
            raise refuse(
                "`rotates_every_pair` is true, and its axis map leaves pairs out (-1)",
                "say `rotates_every_pair = False`: text is not rotated as by the untouched model then",
            )


def _laid_out(axis_map: Callable[[int, int], Any], refuse: Refuse) -> Iterator[npt.NDArray[np.int64]]:
    """The axis maps for common heads; an allocation need not fit all of them."""
    complaint, maps = "", []
    for pairs, heads in HEADS:
        try:
            found = axis_map(pairs, heads)
        except BadParameter as error:
            complaint = complaint or str(error)
            continue
        fits = isinstance(found, np.ndarray) and found.shape in ((pairs,), (heads, pairs))
        if not fits or found.dtype.kind not in "iu" or found.min() < -1:
            raise refuse(
                f"`axis_map({pairs}, {heads})` is no axis map: {str(found)[:60]}",
                "return integers, one for each pair `[P]`, or for each key-value head and pair `[KV, P]`",
            )
        maps.append(found)
    if not maps:
        raise refuse(f"it fits none of the usual heads: {complaint}", "check its axes and its parameters")
    return iter(maps)


def _check_scaling(kind: type, refuse: Refuse) -> None:
    import torch

    # A factor has no good default: a number above one will do here.
    values = {each.name: 2.0 for each in fields(kind) if each.default is MISSING}
    scaling: Scaling = kind(**values)
    inv_freq = 1.0 / (1e6 ** (torch.arange(0, 128, 2).float() / 128))
    spectrum = model_spectrum(inv_freq, torch.arange(64) % 3, 1e6, 32768)
    found = scaling.apply(spectrum)
    given = getattr(found, "inv_freq", None)
    if not isinstance(given, torch.Tensor) or given.shape != inv_freq.shape or given.dtype != torch.float32:
        raise refuse(
            "`apply` returns no spectrum of the same shape",
            "use `dataclasses.replace(spectrum, inv_freq=...)`",
        )
    if not (given.isfinite().all() and (given >= 0).all() and _is_number(found.attention_scaling)):
        raise refuse("`apply` returns what is negative or no number", "try a base of 1,000,000 and 64 pairs")


_KINDS: tuple[tuple[type, str, str, Callable[[Any, Refuse], None]], ...] = (
    (PositionDesign, "position design", "place", _check_position),
    (FrequencyAllocation, "frequency allocation", "axis_map", _check_frequency),
    (Scaling, "scaling", "apply", _check_scaling),
)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


def _extreme(values: npt.NDArray[Any]) -> float:
    flat = np.ravel(values).astype(np.float64)
    bad = flat[~np.isfinite(flat)]
    return float(bad[0] if bad.size else flat[np.abs(flat).argmax()])
