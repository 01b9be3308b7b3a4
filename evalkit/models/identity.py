"""What a checkpoint's answers depend on, spelled out: the components of its identity."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version as version_of
from typing import Any

import torch

from evalkit.core.errors import EnvironmentProblem
from evalkit.data.file_hash import file_hashes
from evalkit.inference.stopping import LOOP_PERIOD, LOOP_REPEATS, LOOP_TOKENS, GenerationTokens
from evalkit.models.base import LoadConfig
from evalkit.models.checkpoints.files import CheckpointFiles
from evalkit.models.preprocess import ChatPreprocessor
from evalkit.models.processor import Processor

ENGINE = "evalkit 1"
"""The engine and its arithmetic: raise the number when answers in 16 bits may come out otherwise."""

LIBRARIES = (
    "transformers",  # its modeling code is what runs, and changes from version to version
    "torch",  # its kernels round differently from version to version, and with other CUDA versions
    "pillow",  # it brings the libraries that decode pictures, and resizes them
    "av",  # it brings the FFmpeg that decodes videos
)
"""Packages whose version is part of the identity."""


def identity_of(
    files: CheckpointFiles,
    preprocessor: ChatPreprocessor,
    processor: Processor,
    generation_tokens: GenerationTokens,
    dtype: torch.dtype,
    device: torch.device,
    load_config: LoadConfig,
) -> Mapping[str, str]:
    """The components; all files are read that were not hashed before.

    Raises:
        EnvironmentProblem: a file can't be read, or changes meanwhile.
    """
    read = replace(preprocessor, tokenizer_file="")
    found = _digests(files) | {
        "chat template": _digest(processor.template),
        "preprocessing": _digest(f"{read!r} {processor.normalise!r}"),
        "shown": f"{preprocessor.frames.max_frames} frames, {preprocessor.visual_tokens} visual tokens",
        "generation": _spelled(generation_tokens, load_config.sampling or "greedy"),
        "dtype": str(dtype).removeprefix("torch."),
        "engine": ENGINE,
        # Also in float32: a compiled part adds in another order.
        "compile": "yes" if load_config.compiled else "no",
    }
    found |= load_config.chat.identity()
    if preprocessor.video_backend != "pyav":  # whose version is always there
        found["video backend"] = f"{preprocessor.video_backend} {version_of(preprocessor.video_backend)}"
    found |= _versions(whole=dtype != torch.float32, adapter=files.adapter is not None)
    if dtype == torch.float32:
        # The engine promises the same text for every batch and device, unless products are cut to fewer bits.
        return found | {"matrix products": torch.get_float32_matmul_precision()}
    return found | _rounding(device, load_config)


def _digests(files: CheckpointFiles) -> dict[str, str]:
    """One hash for each group of files that is there, over their names and contents."""
    every = [path for group in files.groups.values() for path in group]
    try:
        known = dict(zip(every, file_hashes(every), strict=True))
    except OSError as error:
        raise EnvironmentProblem(
            f"`{error.filename or files.folder}` can't be read",
            str(error.strerror),
            "wait until it is written, or fetch the checkpoint again",
        ) from None
    return {
        name: _digest("\n".join(f"{path.name} {known[path]}" for path in group))
        for name, group in files.groups.items()
        if group
    }


def _versions(*, whole: bool, adapter: bool) -> dict[str, str]:
    """Versions of libraries; ``whole`` with the local part, which tells builds for CPU and CUDA apart."""
    names = [*LIBRARIES, *(["peft"] if adapter else [])]
    found = {name: version_of(name) for name in names} | {"torch": torch.__version__}
    return {name: version if whole else version.partition("+")[0] for name, version in found.items()}


def _rounding(device: torch.device, load_config: LoadConfig) -> dict[str, str]:
    """What else changes the last bits of a sum in 16 bits, and with them, now and then, an answer."""
    return {
        # Kernels are chosen by the processor.
        "device": _processor(device),
        # See evalkit.inference.attention: FlashAttention and cuDNN on a GPU, PyTorch's own elsewhere.
        "attention": "sdpa" if device.type == "cpu" else f"varlen, sdpa, cudnn {_cudnn()}",
        # A part of a model on another device is a kernel of its own.
        "device map": load_config.device_map or "none",
        # Which sequences share a matrix product decides on its kernel.
        "batching": ", ".join(load_config.batching) or "default",
    }


def _cudnn() -> str:
    version: Any = torch.backends.cudnn.version
    return str(version())


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _spelled(generation_tokens: GenerationTokens, choice: str) -> str:
    loop = f"{LOOP_REPEATS} times a phrase of up to {LOOP_PERIOD} tokens, {LOOP_TOKENS} at least"
    stop, banned = sorted(generation_tokens.stop_token_ids), generation_tokens.banned_token_ids
    return f"{choice}; stop at {_listed(stop)}; never {_listed(banned)}; loop: {loop}"


def _listed(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids)) or "none"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
