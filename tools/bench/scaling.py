"""``evalkit bench scaling``: how the time grows with samples, questions about a video, and variants."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from evalkit.core.atomic_files import atomic_path
from evalkit.core.console import write
from evalkit.core.errors import EnvironmentProblem, UsageError
from evalkit.core.provenance import hardware, versions
from evalkit.engine.config import EngineConfig
from evalkit.engine.executors.base import ModelSpec
from evalkit.engine.executors.local import LocalExecutor
from evalkit.models.base import LoadConfig
from evalkit.models.hf_model import HfModel
from tools.bench.workloads import WORKLOADS, Workload, random_model, to_requests

VARIANTS = ("mrope", "mrope-i", "mhrope", "vanilla", "videorope", "circlerope", "hope", "v2pe")
MAX_GROWTH = 1.3
"""Cost of a sample in the largest run over that in the smallest that still counts as linear growth."""

REPEATS = 3


@dataclass(frozen=True)
class ScalingBench:
    """What is measured; see ``evalkit bench scaling --help``."""

    samples: tuple[int, ...] = (10, 20, 40)
    questions: tuple[int, ...] = (1, 2, 5, 10)
    variants: tuple[int, ...] = (1, 2, 4)
    model: str = "random:qwen2_5_vl"
    dtype: str = "float32"
    device: str = "auto"
    folder: str | None = None
    plot: Path | None = None


@dataclass(frozen=True)
class Curve:
    """Seconds by a count, each the best of some runs."""

    of: str
    counts: tuple[int, ...]
    seconds: tuple[float, ...]

    def growth(self) -> list[float]:
        """Seconds against those of linear growth from the first."""
        return [
            (seconds / self.seconds[0]) / (count / self.counts[0])
            for count, seconds in zip(self.counts, self.seconds, strict=True)
        ]


def bench_scaling(options: ScalingBench) -> int:
    """Measure, print and draw; exit code 1 if samples cost more the more there are, or if questions and
    variants don't get cheaper.
    """
    _check(options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        name = random_model(options.model, folder)
        curves = _curves(replace(options, model=name), folder)
    write(f"{versions()}\n{hardware()}\n{options.model}, {options.dtype}\n")
    for curve in curves:
        for count, seconds, growth in zip(curve.counts, curve.seconds, curve.growth(), strict=True):
            write(f"{count:5} {curve.of:24} {seconds:8.2f} s  {growth:5.2f} x linear growth\n")
    if options.plot is not None:
        _draw(curves, options.plot)
        write(f"drawn in {options.plot}\n")
    samples, questions, variants = (curve.growth()[-1] for curve in curves)
    return int(samples > MAX_GROWTH or questions >= 1 or variants >= 1)


def _check(options: ScalingBench) -> None:
    for counts in (options.samples, options.questions, options.variants):
        if len(counts) < 2 or list(counts) != sorted(set(counts)) or counts[0] < 1:
            raise UsageError(
                f"counts {','.join(map(str, counts))}",
                "growth needs at least two numbers, each larger than the one before",
                "give a list such as 1,2,4",
            )
    if options.variants[-1] > len(VARIANTS):
        raise UsageError(
            f"{options.variants[-1]} variants",
            f"the bench has {len(VARIANTS)} variants",
            "give smaller numbers",
        )
    if options.plot is not None and find_spec("matplotlib") is None:
        raise EnvironmentProblem(
            "a plot needs matplotlib", "it is not installed", "pip install 'evalkit[plots]'"
        )


def _curves(options: ScalingBench, folder: Path) -> list[Curve]:
    images = replace(WORKLOADS["images"], size=(224, 224))
    video = replace(WORKLOADS["video"], media=2)

    def timed(variants: int, workload: Workload) -> float:
        return _seconds(options, VARIANTS[:variants], workload, folder)

    return [
        _curve("images", options.samples, lambda count: timed(1, replace(images, media=count))),
        _curve(
            "questions a video", options.questions, lambda count: timed(1, replace(video, questions=count))
        ),
        _curve(
            "variants in lockstep", options.variants, lambda count: timed(count, replace(images, media=16))
        ),
    ]


def _curve(of: str, counts: Sequence[int], seconds: Callable[[int], float]) -> Curve:
    return Curve(of, tuple(counts), tuple(seconds(count) for count in counts))


def _seconds(options: ScalingBench, ropes: Sequence[str], workload: Workload, folder: Path) -> float:
    """Best of some runs; loading isn't counted."""
    where = LoadConfig(dtype=options.dtype, device=options.device)
    questions = workload.generate(folder)
    found = []
    with closing(LocalExecutor()) as executor:
        model_infos = executor.load([ModelSpec(options.model, rope, where) for rope in ropes], lockstep=True)
        if len(model_infos) < len(ropes):
            raise EnvironmentProblem(
                f"{len(ropes)} models side by side",
                f"`{options.model}` can't be loaded as {ropes[len(model_infos)]} beside the others",
                "measure fewer variants, or a model whose heads all of them fit",
            )
        requests = [to_requests(model_info, questions) for model_info in model_infos]
        for _ in range(REPEATS):
            for model in executor.models:
                if isinstance(model, HfModel):
                    model.vision_encoder.release()
            began = time.perf_counter()
            for _ in executor.generate(requests, EngineConfig(workers=0)):
                pass
            found.append(time.perf_counter() - began)
    return min(found)


def _draw(curves: Sequence[Curve], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(curves), 3.2), layout="constrained")
    for number, curve in enumerate(curves, 1):
        axes = figure.add_subplot(1, len(curves), number)
        linear = [curve.seconds[0] * count / curve.counts[0] for count in curve.counts]
        axes.plot(curve.counts, linear, linestyle="--", color="0.6", label="linear growth")
        axes.plot(curve.counts, curve.seconds, marker="o", label="measured")
        axes.set(xlabel=curve.of, ylabel="seconds", ylim=(0, None), xlim=(0, None))
        axes.legend(frameon=False)
    with atomic_path(path) as place:
        figure.savefig(place, dpi=120)
