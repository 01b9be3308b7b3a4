"""Images as Qwen's pipeline sees them: decode, convert to RGB, smart resize, bicubic."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef
from evalkit.data.formats import MOST_PIXELS, open_image
from evalkit.data.media import unreadable
from evalkit.data.png import strip_metadata
from evalkit.data.regular_files import open_regular

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")
_TOO_LARGE = f"it has {{size}}; at most {MOST_PIXELS // 10**6} megapixels are decoded"


def load_image(ref: MediaRef) -> Image.Image:
    """Decode an image into RGB as ``qwen-vl-utils`` does: RGBA is laid over white, every other mode
    is converted by Pillow, which drops what transparency a palette or a grey image has.

    The EXIF orientation is not applied: the benchmarks' coordinates refer to the stored pixels.

    Raises:
        MediaError: the image is missing, damaged or truncated.
    """
    return _read(ref, _rgb)


def _rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ValueError(_TOO_LARGE.format(size=f"{width} x {height} pixels"))
    image.load()
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, (255, 255, 255))
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def image_size(ref: MediaRef) -> tuple[int, int]:
    """``(width, height)`` from the header; no pixel is decoded.

    Raises:
        MediaError: the image is missing or its header is damaged.
    """
    return _read(ref, lambda image: (int(image.size[0]), int(image.size[1])))


def _read(ref: MediaRef, work: Callable[[Image.Image], T]) -> T:
    """What ``work`` makes of an image whose header was read.

    Raises:
        MediaError: whatever goes wrong with it.
    """
    from PIL import Image

    try:
        try:
            with _file(ref) as file, open_image(file) as image:
                return work(image)
        except ValueError:
            with _file(ref) as file:
                data = file.read()
            bare = strip_metadata(data)
            if len(bare) == len(data):
                raise
            with open_image(io.BytesIO(bare)) as image:
                return work(image)
    except Image.DecompressionBombError:
        raise unreadable(ref, _TOO_LARGE.format(size="more pixels than can be opened")) from None
    except MemoryError:
        raise unreadable(ref, "it doesn't fit into memory") from None
    except OSError as error:
        raise unreadable(ref, _why(error)) from None
    except Exception as error:  # noqa: BLE001 - Pillow's readers raise anything on damaged files
        raise unreadable(ref, str(error) or type(error).__name__) from None


def _file(ref: MediaRef) -> BinaryIO:
    return io.BytesIO(ref.data) if ref.data is not None else open_regular(str(ref.path))


def _why(error: OSError) -> str:
    """The reason without the name of the file, which may be one in the cache."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known format, or its header is damaged"
    return error.strerror or str(error) or type(error).__name__


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
