"""Small pictures of samples' media for the report page."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from evalkit.core.errors import EvalkitError
from evalkit.core.task import Task
from evalkit.core.types import MediaRef
from evalkit.data.cache import MediaCache
from evalkit.data.images import load_image
from evalkit.data.video import open_reader, probe

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 280
_FRAMES = 4


def thumbnails(
    task: Task, wanted: Collection[str], data_root: str | None, cache: MediaCache
) -> dict[tuple[str, str], str]:
    """Pictures as ``data:`` URLs by (task, sample id): images side by side, or frames of a video.

    Samples whose media or data can't be read have none.
    """
    found: dict[tuple[str, str], str] = {}
    made: dict[tuple[MediaRef, ...], str] = {}
    try:
        for sample in task.samples(data_root):
            refs = tuple(part for part in sample.parts if isinstance(part, MediaRef))
            if sample.id in wanted and refs:
                if refs not in made:
                    made[refs] = _picture([cache.to_file(ref) for ref in refs])
                if made[refs]:
                    found[task.name, sample.id] = made[refs]
    except EvalkitError:
        return found
    return found


def _picture(refs: Sequence[MediaRef]) -> str:
    try:
        images = [
            image for ref in refs for image in (_frames(ref) if ref.kind == "video" else [load_image(ref)])
        ]
    except EvalkitError:
        return ""
    return _encoded(images)


def _frames(ref: MediaRef) -> list[Image.Image]:
    from PIL import Image

    known = probe(str(ref.path))
    last = len(known.timestamps) - 1
    places = sorted({round(last * place / (_FRAMES - 1)) for place in range(_FRAMES)})
    return [Image.fromarray(frame) for frame in open_reader().read(str(ref.path), known, places)]


def _encoded(images: Sequence[Image.Image]) -> str:
    """Images side by side, at most ``_SIDE`` pixels high and wide each, as JPEG."""
    from PIL import Image

    small = []
    for image in images:
        copy = image.convert("RGB")
        copy.thumbnail((_SIDE, _SIDE))
        small.append(copy)
    sheet = Image.new("RGB", (sum(each.width for each in small), max(each.height for each in small)), "white")
    left = 0
    for each in small:
        sheet.paste(each, (left, 0))
        left += each.width
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=70, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
