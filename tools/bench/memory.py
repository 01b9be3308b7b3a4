"""``evalkit bench memory``: peak memory of a long video, against the size of all its frames."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from evalkit.core.console import write
from evalkit.core.errors import UsageError
from evalkit.core.provenance import hardware, versions
from evalkit.core.types import Response
from evalkit.engine.scheduler import run_requests
from evalkit.models import describe_model
from evalkit.models.base import LoadConfig
from evalkit.models.hf_model import HfModel
from tools.bench.machine import GIB, largest_process, measured
from tools.bench.workloads import Workload, random_model, to_requests


@dataclass(frozen=True)
class MemoryBench:
    """What is measured: one question about a video, all of whose frames are shown.

    Attributes:
        frames: of the video, two for every second.
        size: width and height in pixels.
        visual_tokens: upper limit for the video.
    """

    frames: int = 2048
    size: tuple[int, int] = (1280, 720)
    visual_tokens: int = 262_144
    model: str = "random:qwen2_5_vl-thin"
    dtype: str = "float32"
    device: str = "auto"
    folder: str | None = None


def bench_memory(options: MemoryBench) -> int:
    """Measure and print; exit code 1 if the question could not be answered."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        name = random_model(options.model, folder)
        shown = LoadConfig(
            dtype=options.dtype,
            device=options.device,
            max_frames=options.frames,
            visual_tokens=options.visual_tokens,
        )
        model = describe_model(name, load_config=shown).load()
        if not isinstance(model, HfModel):
            raise UsageError(f"model `{name}`", "there is nothing to measure in a mock", "give a checkpoint")
        video = Workload(media=1, questions=1, size=options.size, frames=options.frames, new_tokens=4)
        requests = to_requests(model.info, video.generate(folder))
        before = largest_process()
        responses: list[Response] = []
        with measured(model.info.device) as usage:
            # A process of its own decodes, as in any run with a GPU: what either takes is seen.
            run_requests(model, requests, on_batch=responses.extend, workers=1)
    (response,) = responses
    width, height = options.size
    write(f"{versions()}\n{hardware()}\n{options.model}, {options.dtype}\n")
    write(
        f"{options.frames:,} frames of {width}x{height}, {3 * width * height * options.frames / GIB:.2f} GiB "
        f"at full size: {response.prompt_tokens:,} tokens of prompt, {response.visual_tokens:,} of them "
        f"visual, in {usage.seconds:.0f} s\n"
        f"largest process: {usage.memory / GIB:.2f} GiB, {before / GIB:.2f} GiB before\n"
    )
    if usage.gpu_memory:
        write(f"GPU: {usage.gpu_memory / GIB:.2f} GiB\n")
    if response.error is not None:
        write(f"not answered: {response.error}\n")
    return int(response.error is not None)
