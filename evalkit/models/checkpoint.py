"""Checkpoint folders without torch: are the weights whole, and which ones are they?"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

from evalkit.errors import EnvironmentProblem

# Everything beside the weights that can change an answer.
SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
)

# Files up to this size are hashed whole; of larger ones the size, the header and evenly spaced blocks.
WHOLE_BYTES = 64 << 20
BLOCK_BYTES = 1 << 20
BLOCKS = 16


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, checked to be whole.

    Raises:
        EnvironmentProblem: there are none, a shard is missing, or one is damaged or cut short.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise _damaged(index, f"it is not a weight index ({error})") from None
    else:
        names = ["model.safetensors"]
    for name in names:
        if not (folder / name).is_file():
            raise EnvironmentProblem(
                f"the weights of `{folder}` are missing",
                f"there is no {name}; evalkit reads safetensors only, since pickled weights can run code",
                "fetch the checkpoint again, or convert it with `save_pretrained`",
            )
        _check(folder / name)
    return [folder / name for name in names]


def fingerprint(folder: Path, dtype: str) -> str:
    """A hash over configuration, tokenizer, weights and the dtype that they are run in."""
    total = hashlib.sha256(dtype.encode())
    for name in SMALL_FILES:
        if (folder / name).is_file():
            total.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    for path in weight_files(folder):
        total.update(path.name.encode() + _weights_digest(path))
    return total.hexdigest()


def _check(path: Path) -> None:
    """A safetensors file is an 8-byte length, a JSON header, and as many bytes as the header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise _damaged(path, f"it is {size} bytes long, less than its own header says")
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(path, "its header is not that of a safetensors file") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise _damaged(path, f"it is {size} bytes long instead of {expected}")


def _damaged(path: Path, why: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"checkpoint file `{path}` is damaged", why, "fetch the checkpoint again")


def _weights_digest(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_BYTES:
            return hashlib.file_digest(file, "sha256").digest()
        sampled = hashlib.sha256(str(size).encode())
        sampled.update(file.read(struct.unpack("<Q", file.read(8))[0]))
        for number in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * number // (BLOCKS - 1))
            sampled.update(file.read(BLOCK_BYTES))
        return sampled.digest()
