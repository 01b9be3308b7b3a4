"""Small pictures of samples' media for the report page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
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


Media = tuple[MediaRef, ...]


def thumbnails(
    task: Task,
    wanted: Collection[str],
    data_root: str | None,
    cache: MediaCache,
    draw: Callable[[Sequence[Media]], Sequence[str]],
) -> dict[tuple[str, str], str]:
    """Pictures as ``data:`` URLs by (task, sample id): images side by side, or frames of a video.

    ``draw`` makes a picture of the media of each of several samples by :func:`picture`, or an empty text.
    Samples whose media or data can't be read have none.
    """
    media: dict[str, Media] = {}
    with suppress(EvalkitError):
        for sample in task.samples(data_root):
            refs = tuple(part for part in sample.parts if isinstance(part, MediaRef))
            if sample.id in wanted and refs:
                media[sample.id] = tuple(
                    cache.to_file(each) if each.data is not None or each.drawn else each for each in refs
                )
    distinct = list(dict.fromkeys(media.values()))
    drawn = dict(zip(distinct, draw(distinct), strict=True))
    return {(task.name, name): drawn[refs] for name, refs in media.items() if drawn[refs]}


def picture(media: Media, cache: MediaCache) -> str:
    """One small picture of a sample's media; empty if they can't be read."""
    try:
        refs = [cache.to_file(ref) for ref in media]
        return _encoded(
            [image for ref in refs for image in (_frames(ref) if ref.kind == "video" else [load_image(ref)])]
        )
    except EvalkitError:
        return ""


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
