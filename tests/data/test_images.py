from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from evalkit.core.errors import MediaError
from evalkit.core.types import MediaRef
from evalkit.data.images import image_size, load_image, smart_resize
from evalkit.data.media import media_digest


def encoded(image: Image.Image, form: str = "PNG") -> MediaRef:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return MediaRef("image", data=buffer.getvalue())


@given(
    width=st.integers(28, 4000),
    height=st.integers(28, 4000),
    low=st.sampled_from([3136, 100_000]),
    high=st.sampled_from([200_000, 12_845_056]),
)
def test_smart_resize_is_that_of_transformers(width: int, height: int, low: int, high: int) -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as theirs

    if max(width, height) > 200 * min(width, height):
        return
    high_, wide_ = theirs(height, width, factor=28, min_pixels=low, max_pixels=high)
    assert smart_resize((width, height), 28, low, high) == (wide_, high_)


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(load_image(encoded(image))).tolist() == np.full((4, 4, 3), 255).tolist()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    form = "TIFF" if mode == "CMYK" else "PNG"
    assert load_image(encoded(Image.new(mode, (5, 3)), form)).mode == "RGB"


@pytest.mark.parametrize("cut", [0, 10, 60])
def test_a_damaged_image_is_one_clear_error(cut: int) -> None:
    whole = encoded(Image.effect_noise((64, 64), 50).convert("RGB")).data
    assert whole is not None
    with pytest.raises(MediaError) as caught:
        load_image(MediaRef("image", data=whole[:cut]))
    assert caught.value.why


def test_a_missing_image_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"gone\.png"):
        image_size(MediaRef("image", path=str(tmp_path / "gone.png")))


def test_a_digest_is_of_the_contents_alone(tmp_path: Path) -> None:
    small = MediaRef("image", data=b"abc")
    (tmp_path / "a").write_bytes(b"abc")
    assert media_digest(small) == media_digest(MediaRef("image", path=str(tmp_path / "a")))


@pytest.mark.parametrize(
    ("side", "why"), [(11_000, "11000 x 11000 pixels"), (60_000, "more pixels than can be opened")]
)
def test_an_image_of_too_many_pixels_is_refused_by_its_header(side: int, why: str) -> None:
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(MediaError, match=f"it has {why}; at most 100 megapixels are decoded"):
        load_image(MediaRef("image", data=bytes(data)))
