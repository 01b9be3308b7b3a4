"""Images as Qwen's pipeline sees them: decode, convert to RGB, smart resize, bicubic."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from evalkit.data.media import unreadable
from evalkit.errors import MediaError
from evalkit.types import MediaRef

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]


def load_image(ref: MediaRef) -> Image.Image:
    """Decode an image into RGB as ``qwen-vl-utils`` does: RGBA is laid over white, every other mode
    is converted by Pillow, which drops what transparency a palette or a grey image has.

    The EXIF orientation is not applied: the benchmarks' coordinates refer to the stored pixels.

    Raises:
        MediaError: the image is missing, damaged or truncated.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(ref.data) if ref.data is not None else str(ref.path)) as image:
            image.load()
            if image.mode == "RGBA":
                white = Image.new("RGB", image.size, (255, 255, 255))
                white.paste(image, mask=image.getchannel("A"))
                return white
            return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise unreadable(ref, str(error) or type(error).__name__) from None


def image_size(ref: MediaRef) -> tuple[int, int]:
    """``(width, height)`` from the header; no pixel is decoded.

    Raises:
        MediaError: the image is missing or its header is damaged.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(ref.data) if ref.data is not None else str(ref.path)) as image:
            width, height = image.size
            return width, height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise unreadable(ref, str(error) or type(error).__name__) from None


def embedded_size(cell: Mapping[str, Any]) -> list[int] | None:
    """Width and height of an image cell (``{"bytes": ...}``) from its header; None where it can't be
    read: the sample then fails by itself, when its image is decoded.
    """
    if cell.get("bytes") is None:
        return None
    try:
        return list(image_size(MediaRef("image", data=cell["bytes"])))
    except MediaError:
        return None


def smart_resize(size: tuple[int, int], factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """The size at which an image is shown: multiples of ``factor``, the number of pixels within
    limits, the aspect ratio kept as nearly as that allows.

    The rule of Qwen2-VL (``smart_resize`` in transformers); ``size`` and result are
    ``(width, height)``.

    >>> smart_resize((800, 557), 28, 3136, 12845056)
    (812, 560)

    Raises:
        ValueError: one side is more than 200 times the other.
    """
    width, height = size
    if max(size) > 200 * min(size):
        raise ValueError(f"its sides are {width} and {height} pixels; at most 1:200 can be shown")
    wide, high = round(width / factor) * factor, round(height / factor) * factor
    if wide * high > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
        high = max(factor, math.floor(height / shrink / factor) * factor)
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        wide = math.ceil(width * grow / factor) * factor
        high = math.ceil(height * grow / factor) * factor
    return wide, high


def resize(image: Image.Image, size: tuple[int, int]) -> Pixels:
    """Bicubic with antialiasing (Pillow's), skipped where the size is right: uint8 ``[h, w, 3]``."""
    from PIL import Image

    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image, np.uint8)
