"""``evalkit bench engine``: samples per second of the engine against two baselines, in one run.

* ``batch of one``: the same engine, one sample at a time, with none of its techniques;
* ``naive``: what a short script does: transformers' processor and ``generate``, one sample at a
  time, in one thread (without the variant's engine, so only with the family's native variant).

The text of every sample is compared with that of the batch of one: in float32 all must be equal.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.data.cache import MediaCache, cache_root
from evalkit.data.images import load_image
from evalkit.engine.run import run_requests
from evalkit.engine.techniques import Techniques
from evalkit.models import load_model
from evalkit.provenance import hardware, versions
from evalkit.registry import load_task, resolve
from evalkit.requests import build_request, choose
from evalkit.stats import Stats
from evalkit.types import Request, Response


@dataclass(frozen=True)
class EngineBench:
    """What is measured: names as ``evalkit run`` takes them."""

    model: str = "tiny"
    rope: str = "auto"
    tasks: tuple[str, ...] = ("mini_chartqa", "mini_docvqa", "mini_refcoco")
    limit: int = 60
    dtype: str = "float32"
    device: str = "auto"
    data_root: str | None = None


def bench_engine(options: EngineBench) -> int:
    """Measure and print; exit code 1 if float32 texts depend on the batch."""
    model = load_model(options.model, rope=options.rope, dtype=options.dtype, device=options.device)
    requests = _requests(model, options)
    out = sys.stdout.write
    out(f"{versions()}\n{hardware()}\n{model.name}@{model.variant}, {len(requests)} samples\n")
    run_requests(model, requests, on_batch=lambda responses: None, workers=0)  # warm up
    single, one = _engine(model, requests, Techniques.without("all"), batch_size=1)
    stats = Stats()
    rows = [("batch of one", single, one), ("engine", *_engine(model, requests, stats=stats))]
    rows += [
        (f"engine without {name}", *_engine(model, requests, Techniques.without(name)))
        for name in Techniques.names()
    ]
    rows.append(("engine, 1 worker", *_engine(model, requests, workers=1)))
    if not any(ref.kind == "video" for request in requests for ref in request.media):
        rows.append(("naive generate", *_naive(model, requests)))
    for name, seconds, texts in rows:
        differing = sum(texts[key] != text for key, text in one.items())
        rate = len(requests) / seconds
        ratio = single / seconds
        out(f"{name:24} {rate:8.2f} samples/s  {ratio:5.2f} x batch of one  {differing} texts differ\n")
    out(_described(stats))
    engine = [row for row in rows[1:] if row[0].startswith("engine")]
    return int(options.dtype != "bfloat16" and any(texts != one for _, _, texts in engine))


def _requests(model: Any, options: EngineBench) -> list[Request]:
    cache = MediaCache(cache_root() / "media")
    tasks = [load_task(name) for name in resolve(options.tasks)]
    return [
        build_request(model, task, each.sample)
        for task in tasks
        for each in choose(task.samples(options.data_root), options.limit, cache)
    ]


def _described(stats: Stats) -> str:
    """What the engine did, and where the time went."""
    counts = stats.counts
    parts = [f"{name} {seconds:.2f} s" for name, seconds in stats.seconds.items()]
    return (
        f"engine: {counts['media']} media shown to the vision tower, {counts['visual']} visual tokens, "
        f"{counts['prefill']} tokens read instead of {counts['prompt']} (no padding), "
        f"{counts['decoded']} generated in {counts['steps']} steps\n"
        f"engine: {', '.join(parts)}\n"
    )


def _engine(
    model: Any,
    requests: list[Request],
    techniques: Techniques | None = None,
    *,
    workers: int = 0,
    batch_size: int | None = None,
    stats: Stats | None = None,
) -> tuple[float, dict[str, str]]:
    texts: dict[str, str] = {}

    def note(responses: list[Response]) -> None:
        texts.update({response.key: response.text for response in responses})

    began = time.perf_counter()
    run_requests(
        model,
        requests,
        on_batch=note,
        workers=workers,
        batch_size=batch_size,
        techniques=techniques,
        stats=stats,
    )
    return time.perf_counter() - began, texts


def _naive(model: Any, requests: list[Request]) -> tuple[float, dict[str, str]]:
    """Transformers' own processor and ``generate``, sample by sample."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(Path(model.preprocessor.tokenizer_file).parent)
    texts = {}
    began = time.perf_counter()
    for request in requests:
        images = [load_image(ref) for ref in request.media]
        inputs = processor(text=[request.prompt], images=images or None, return_tensors="pt")
        inputs = inputs.to(model.module.device)
        tokens = model.module.generate(**inputs, max_new_tokens=request.max_new_tokens, do_sample=False)
        answer = tokens[0, inputs["input_ids"].shape[1] :]
        texts[request.key] = str(processor.decode(answer, skip_special_tokens=True))
    return time.perf_counter() - began, texts
