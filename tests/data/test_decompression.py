"""What unpacks to more than it seems: limits are stated, and refused by name before they are paid for."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import datasets  # noqa: F401 - imported before memory is traced
import openpyxl  # noqa: F401
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from evalkit.core.errors import EnvironmentProblem, MediaError, UsageError
from evalkit.core.types import MediaRef
from evalkit.data import archives, parquet_limits
from evalkit.data.archives import extracted
from evalkit.data.frame_folders import as_video
from evalkit.data.hub import HubDataset
from evalkit.data.images import image_size, load_image
from evalkit.data.parquet_limits import BATCH_ROWS, safe_batch_rows
from evalkit.data.rows import Rows
from evalkit.data.video import probe
from evalkit.integrations.interchange import inspect_log
from evalkit.integrations.interchange.detect import read_results

FRAME = (
    b"\x21\xf9\x04\x00\x0a\x00\x00\x00\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
)


def gif(side: int, frames: int) -> bytes:
    """A GIF on a square canvas, whose frames are of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + FRAME * frames + b"\x3b"


def test_of_an_animation_the_first_frame_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.new("RGB", (40, 30), (each, 0, 0)) for each in range(0, 200, 10)]
    seeks: list[int] = []
    for name in ("GIF", "PNG", "WEBP", "TIFF"):
        file = io.BytesIO()
        options = {"lossless": True} if name == "WEBP" else {}
        pages[0].save(file, name, save_all=True, append_images=pages[1:], **options)
        found = load_image(MediaRef("image", data=file.getvalue()))
        assert (found.size, found.getpixel((0, 0))) == ((40, 30), (0, 0, 0)), name
    many = gif(8, 200_000)  # which none but the first are looked at
    monkeypatch.setattr("PIL.GifImagePlugin.GifImageFile.seek", lambda image, frame: seeks.append(frame))
    assert load_image(MediaRef("image", data=many)).size == (8, 8)
    assert set(seeks) <= {0}


@pytest.mark.parametrize("side", [10_001, 65_535])
def test_a_canvas_that_is_too_large_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif(side, 3))
    with pytest.raises(MediaError, match="100 megapixels"):
        load_image(MediaRef("image", path=str(path)))
    with pytest.raises(MediaError, match="100 megapixels" if side < 65_535 else "can't be used"):
        probe(str(path))


def test_a_frame_of_a_folder_that_is_too_large_is_not_decoded(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    Image.new("1", (12_000, 12_000)).save(folder / "1.png")  # 20 kB
    assert as_video(folder, 1.0, tmp_path / "cache") is None


def test_a_film_of_too_many_frames_is_refused_when_they_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(gif(8, 300))
    assert len(probe(str(path)).timestamps) == 300
    monkeypatch.setattr(sys.modules["evalkit.data.video.probe"], "MOST_FRAMES", 299)
    with pytest.raises(MediaError, match="it has more than 299 frames"):
        probe(str(path))


def parquet(path: Path, values: list[bytes], **options: object) -> bytes:
    settings = {"compression": "zstd", "use_dictionary": False, "write_statistics": False, **options}
    pq.write_table(
        pa.table({"id": range(len(values)), "image": pa.array(values, pa.binary())}), path, **settings
    )
    return path.read_bytes()


def varint(number: int) -> bytes:
    """A whole number in Thrift's compact protocol."""
    number, found = number << 1, []
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def refusal(path: Path) -> str:
    """What the reader of rows says, which may not take the memory that is claimed."""
    with little_memory(), pytest.raises(EnvironmentProblem) as caught:
        list(Rows(str(path)).rows(None))
    return str(caught.value)


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits a hundred times lower, so that what is beyond them is made quickly."""
    monkeypatch.setattr(archives, "RATIO_FROM", archives.RATIO_FROM // 100)
    for name in ("BATCH_BYTES", "USUAL_DICTIONARY"):
        monkeypatch.setattr(parquet_limits, name, getattr(parquet_limits, name) // 100)


@contextmanager
def little_memory() -> Iterator[None]:
    """Fails if the block takes much memory."""
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
        assert pa.total_allocated_bytes() - before < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("low_limits")
def test_a_column_that_grows_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet(path, [b"\0" * 700_000])
    assert "column `image` claims to grow from" in refusal(path)
    assert "at most 200 times" in refusal(path)


def test_pages_that_grow_to_more_than_the_footer_says_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    content = parquet(path, [b"\0" * 3_000_000] * 3, data_page_size=1000)
    group = pq.read_metadata(path).row_group(0)
    lie = content
    for stated, less in (
        (group.column(1).total_uncompressed_size, 3_000_000),
        (group.total_byte_size, 3_000_100),
    ):
        assert lie.count(varint(stated)) == 1
        lie = lie.replace(varint(stated), varint(less))
    path.write_bytes(lie)
    assert pq.read_metadata(path).row_group(0).column(1).total_uncompressed_size == 3_000_000
    assert "the file's footer says 3000000" in refusal(path)


def test_a_page_that_grows_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    content = parquet(path, [b"\0" * 3_000_000])
    sizes = list(
        parquet_limits._page_sizes(
            path.open("rb"), pq.read_metadata(path).row_group(0).column(1).data_page_offset, len(content)
        )
    )
    path.write_bytes(content.replace(varint(sizes[0]), varint(2_500_000), 1))
    assert "data file" in refusal(path)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "gzip", "brotli", "lz4", "none"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_page_of_a_usual_file_is_counted(tmp_path: Path, compression: str, version: str) -> None:
    path = tmp_path / "a.parquet"
    values = [bytes([each % 7]) * 300 for each in range(2000)]
    table = pa.table({"a": values, "b": [{"c": [each, None]} for each in range(2000)], "d": [None] * 2000})
    for dictionary in (True, False):
        pq.write_table(table, path, compression=compression, data_page_version=version, data_page_size=5000,
                       row_group_size=900, use_dictionary=dictionary, write_page_checksum=True)  # fmt: skip
        assert safe_batch_rows(path) == BATCH_ROWS
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                start = min(each for each in (column.data_page_offset, column.dictionary_page_offset) if each)
                with path.open("rb") as file:
                    pages = list(
                        parquet_limits._page_sizes(file, start, start + column.total_compressed_size)
                    )
                # What is not counted are the headers.
                assert 0 < column.total_uncompressed_size - sum(pages) < 2000 * len(pages)


@pytest.mark.usefixtures("low_limits")
def test_a_large_value_of_a_dictionary_is_not_written_out_for_a_whole_batch(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    large = pa.DictionaryArray.from_arrays(pa.array([0] * 300, pa.int32()), pa.array([b"\0" * 200_000]))
    options = {"compression": "zstd", "dictionary_pagesize_limit": 1 << 30, "store_schema": False}
    pq.write_table(pa.table({"id": range(300), "image": large}), path, write_statistics=False, **options)
    assert path.stat().st_size < 20_000
    rows = Rows(str(path)).rows(None)
    before = pa.total_allocated_bytes()
    assert next(rows)["id"] == 0
    assert pa.total_allocated_bytes() - before < 10 << 20  # of 60 MB
    rows.close()


def test_a_parquet_file_nested_too_deeply_is_a_message(tmp_path: Path) -> None:
    kind = pa.int8()
    for _ in range(300):
        kind = pa.list_(kind)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array([None], kind)}), path)
    assert "nested" in refusal(path)


@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv.gz", "jsonl", "csv"])
def test_compressed_rows_are_refused(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "me/data"
    folder.mkdir(parents=True)
    text = json.dumps({"id": 1}) + "\n" if "json" in suffix else "id\n1\n"
    (folder / f"test.{suffix}").write_bytes(gzip.compress(text.encode() * 1000))
    with pytest.raises(EnvironmentProblem, match="is compressed"):
        list(HubDataset("me/data").rows(str(tmp_path)))
    with pytest.raises((EnvironmentProblem, UsageError)):
        list(Rows(str(folder / f"test.{suffix}")).rows(None))


def test_an_archive_in_an_archive_stays_packed(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * (1 << 24))
    outer = tmp_path / "a.zip"
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.zip", inner.getvalue())
        archive.writestr("b/inner.tar.gz", gzip.compress(b"\0" * 1000))
    folder = extracted(outer, tmp_path / "cache")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["inner.tar.gz", "inner.zip"]


@pytest.mark.usefixtures("low_limits")
def test_a_spreadsheet_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m_t.xlsx"
    pd.DataFrame({"index": [1], "prediction": ["A"]}).to_excel(path, index=False)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings2.xml", b" " * 4_000_000)
    with little_memory(), pytest.raises(UsageError, match="at most 200 times its size"):
        read_results(path)


@pytest.mark.usefixtures("low_limits")
def test_a_log_of_inspect_that_is_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_log, "inspect_logs", lambda: None)  # what reads it must not be asked
    path = tmp_path / "a.eval"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", b" " * 4_000_000)
    with little_memory(), pytest.raises(UsageError, match="at most 200 times its size"):
        read_results(path)


def test_an_image_s_size_is_known_without_its_pixels(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(file, "PNG")
    with little_memory():
        assert image_size(MediaRef("image", data=file.getvalue())) == (9_000, 9_000)


@pytest.mark.parametrize(
    "number", [str(2**63), str(-(2**63) - 1), "1" * 6000], ids=["above", "below", "long"]
)
@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_whole_numbers_that_would_be_rounded_are_refused(tmp_path: Path, number: str, suffix: str) -> None:
    folder = tmp_path / "me/data"
    folder.mkdir(parents=True)
    rows = [json.dumps({"id": 1, "text": '99999999999999999999 "'}), f'{{"id": {number}}}']
    text = "[" + ", ".join(rows) + "]" if suffix == "json" else "\n".join(rows)
    (folder / f"test.{suffix}").write_text(text)
    with pytest.raises(EnvironmentProblem, match="more than 64 bits"):
        list(HubDataset("me/data").rows(str(tmp_path)))


def test_numbers_of_64_bits_and_long_fractions_are_rows(tmp_path: Path) -> None:
    folder = tmp_path / "me/data"
    folder.mkdir(parents=True)
    rows = [{"id": -(2**63), "x": 0.1234567890123456789}, {"id": 2**63 - 1, "x": 1e300}]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["id"] for row in HubDataset("me/data").rows(str(tmp_path))] == [-(2**63), 2**63 - 1]
