"""A sample's attention as a veil over the pictures that it shows: the less attention, the thicker."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import EvalkitError
from evalkit.core.types import MediaInfo, MediaRef, Prepared, Sample, Text, VisionInput
from evalkit.data.images import load_image
from evalkit.data.video import open_reader, probe
from evalkit.diagnose.attention.measure import AttentionMeasure
from evalkit.rope.layout import VisualBlock

MOST_PANELS = 4
"""Images and frames of a sample that are drawn."""
CLEAR = 4.0
"""There is no veil where a token gets this many times as much attention as the average one, or more."""
VEIL = (91, 100, 114, 255)
"""Its colour: neither the paper's nor the ink's, so that it shows on empty pages and on dark pictures."""
THICKEST = 235
"""Opacity of the veil, of 255, where a token gets none."""
_SIDE = 260

WholeBlock = Callable[[VisionInput], int | None]


@dataclass(frozen=True)
class Panel:
    """An image or a frame of a video, and its tokens' attention.

    Attributes:
        medium: its number among the sample's media.
        frame: of a video, the place among the frames shown, else None.
        lift: attention on each token over the mean of the sample's visual tokens, ``[L, H, W]``.
        image: the picture itself, as a ``data:`` URL.
    """

    medium: int
    frame: int | None
    lift: npt.NDArray[np.float64]
    image: str

    def veil(self, layers: Sequence[int]) -> str:
        """A PNG of one pixel a token, as a ``data:`` URL, of the mean of some layers."""
        return _png(self.lift[list(layers)].mean(axis=0))

    def most(self, layers: Sequence[int]) -> float:
        """The largest lift of a token, in the mean of some layers."""
        return float(self.lift[list(layers)].mean(axis=0).max())


@dataclass(frozen=True)
class AttentionPicture:
    """A sample as a system sees it; ``left_out`` says what of it is not drawn."""

    system: str
    task: str
    sample: str
    question: str
    answer: str
    panels: tuple[Panel, ...]
    left_out: str = ""


def picture_of(
    system: str, task: str, sample: Sample, found: AttentionMeasure, answer: str, whole_block: WholeBlock
) -> AttentionPicture:
    """Draw a sample; one whose media can't be read again has no panels."""
    question = " ".join(part.text for part in sample.parts if isinstance(part, Text)).strip()
    refs = [part for part in sample.parts if isinstance(part, MediaRef)]
    places = list(_places(found.item, whole_block))
    total = found.heat.sum(axis=1)[:, None]
    lift = np.divide(found.heat * found.heat.shape[1], total, out=np.zeros_like(found.heat), where=total > 0)
    drawn = [places[number] for number in _evenly(len(places))]
    try:
        panels = tuple(
            Panel(medium, frame, lift[:, tokens], _image(refs[medium], found.item, medium, frame))
            for medium, frame, tokens in drawn
        )
    except EvalkitError as error:
        return AttentionPicture(system, task, sample.id, question, answer, (), str(error).partition("\n")[0])
    left_out = (
        f"{len(drawn)} of {len(places)} images and frames are drawn" if len(places) > len(drawn) else ""
    )
    if not places:
        left_out = "no block of tokens shows a whole picture: nothing is drawn"
    return AttentionPicture(system, task, sample.id, question, answer, panels, left_out)


def _places(
    item: Prepared, whole_block: WholeBlock
) -> Iterator[tuple[int, int | None, npt.NDArray[np.int64]]]:
    """Every whole image and every frame: number of the medium, of the frame, and the places ``[H, W]`` of its
    tokens among the visual ones.
    """
    begin = 0
    for medium, vision in enumerate(item.vision):
        blocks = [VisualBlock(grid, vision.seconds_per_grid, vision.tile) for grid in vision.blocks]
        starts = np.cumsum([begin, *(block.length for block in blocks)]).tolist()
        whole = whole_block(vision) if vision.kind == "image" else None
        step = 0
        for number, block in enumerate(blocks):
            indices = starts[number] + block.token_indices()
            if vision.kind == "video":
                yield from ((medium, step + t, each) for t, each in enumerate(indices))
            elif whole is not None and number == whole % len(blocks):
                yield medium, None, indices[0]
            step += len(indices)
        begin = starts[-1]


def _evenly(count: int) -> list[int]:
    """At most ``MOST_PANELS`` of so many, the first and the last among them."""
    if count <= MOST_PANELS:
        return list(range(count))
    return [round(place * (count - 1) / (MOST_PANELS - 1)) for place in range(MOST_PANELS)]


def _image(ref: MediaRef, item: Prepared, medium: int, frame: int | None) -> str:
    from PIL import Image

    if frame is None:
        picture = load_image(ref)
    else:
        index = _frame_index(item.vision[medium], item.media[medium], frame)
        path = str(ref.path)
        picture = Image.fromarray(next(iter(open_reader().read(path, probe(path), [index]))))
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _frame_index(vision: VisionInput, info: MediaInfo, step: int) -> int:
    """The video's frame that the first of a temporal step's frames is."""
    steps = sum(grid[0] for grid in vision.blocks)
    return info.frames[min(step * -(-len(info.frames) // steps), len(info.frames) - 1)]


def _png(lift: npt.NDArray[np.float64]) -> str:
    from PIL import Image

    veil = np.full((*lift.shape, 4), VEIL, np.uint8)
    veil[:, :, 3] = np.rint(THICKEST * (1 - np.minimum(lift / CLEAR, 1)))
    buffer = io.BytesIO()
    Image.fromarray(veil, "RGBA").save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
