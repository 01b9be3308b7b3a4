"""Baselines of the engine: a short script with transformers, and lmms-eval."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evalkit.core.errors import EnvironmentProblem
from evalkit.core.types import MediaRef, Request, Subtitled, Text
from evalkit.data.images import load_image
from evalkit.data.video import probe
from evalkit.models.hf_model import HfModel
from evalkit.models.preprocess import local_file
from evalkit.rope.variants import parse_variant
from tools.bench.lmms_subprocess import CHAT_CLASSES
from tools.bench.machine import Usage, measured
from tools.bench.workloads import BenchPrompt

WARM_UP_QUESTIONS = 3
"""Questions that lmms-eval answers before it is timed."""


def naive(model: HfModel, requests: Sequence[Request]) -> tuple[Usage, dict[str, str]]:
    """Transformers' own processor and ``generate``, one question at a time, in one thread: every video is
    decoded again for each of its questions, as common harnesses do.
    """
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(model.info.folder, local_files_only=True)
    texts = {}
    with measured(model.info.device) as usage:
        for request in requests:
            prompt = model.info.preprocessor.full_prompt(request)
            inputs = processor(text=[prompt], return_tensors="pt", **_media(model, request.media))
            inputs = inputs.to(model.info.device)
            for name, each in inputs.items():
                if each.is_floating_point():
                    inputs[name] = each.to(model.info.dtype)
            tokens = model.module.generate(
                **inputs, max_new_tokens=request.max_new_tokens, do_sample=False, use_cache=True
            )
            answer = tokens[0, inputs["input_ids"].shape[1] :]
            texts[request.key] = model.detokenize(answer.tolist())
    return usage, texts


def lmms_eval(
    python: str,
    model: HfModel,
    questions: Sequence[BenchPrompt],
    dtype: str,
    *,
    on_vllm: bool = False,
    engine_args: Mapping[str, Any] | None = None,
) -> tuple[Usage, list[str]]:
    """lmms-eval's own chat model (``on_vllm``: the one that asks vLLM, with ``engine_args``), in a process of
    an environment that has it: the same checkpoint, media, prompts and limits; loading isn't counted. Returns
    its usage and the answers in their order.

    Raises:
        EnvironmentProblem: it can't be run there, or has no model for the family.
    """
    if model.info.family not in CHAT_CLASSES:
        raise EnvironmentProblem(
            f"lmms-eval is not measured with {model.info.family}",
            "its chat model of this family adds a system prompt of its own, or there is none",
            f"measure {', '.join(CHAT_CLASSES)}, or leave `--lmms-python` out",
        )
    settings = json.loads((model.info.folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    frames = model.info.preprocessor.frames
    job = {
        "family": model.info.family,
        "on_vllm": on_vllm,
        "model": str(model.info.folder),
        "device": str(model.info.device),
        "dtype": dtype,
        "min_pixels": settings.get("min_pixels", 3136),
        "max_pixels": settings.get("max_pixels", 12845056),
        "max_frames": frames.max_frames,
        "fps": frames.fps,
        "engine_args": dict(engine_args or {}),
        "warm": WARM_UP_QUESTIONS,
        "questions": [_message_parts(question, model) for question in questions],
    }
    script = Path(__file__).with_name("lmms_subprocess.py")
    try:
        done = subprocess.run(  # noqa: S603 - the user's own interpreter
            [python, str(script)], input=json.dumps(job), capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise EnvironmentProblem(
            f"interpreter `{python}`", f"it can't be started: {error.strerror}", "correct `--lmms-python`"
        ) from None
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = {"error": (done.stderr.strip().splitlines() or ["it left without a word"])[-1]}
    if "error" in found:
        raise EnvironmentProblem(
            "lmms-eval could not answer", found["error"], "see `make lmms` for an environment"
        )
    return Usage(seconds=found["seconds"], cpu=found["cpu"]), list(found["texts"])


def lmms_eval_differs(model: HfModel, questions: Sequence[BenchPrompt], *, on_vllm: bool) -> str:
    """What lmms-eval's model does otherwise than it is asked, so that its answers may be others; empty if
    nothing.
    """
    native = model.info.adapter.family.native_rope
    found = []
    if model.info.variant != parse_variant(native):
        found.append(f"it has no RoPE variants, and runs the model as `{native}`")
    videos = any(
        isinstance(part, MediaRef) and part.kind == "video" for each in questions for part in each.parts
    )
    if on_vllm and videos:
        found.append("it shows each frame of a video as an image of its own: twice the visual tokens")
    return "; ".join(found)


def _media(model: HfModel, media: Sequence[MediaRef]) -> dict[str, Any]:
    """Keyword arguments of a processor: images, and the frames of videos as the model's rule chooses them."""
    images = [load_image(ref) for ref in media if ref.kind == "image"]
    videos = [_frames(model, ref) for ref in media if ref.kind == "video"]
    found: dict[str, Any] = {"images": images} if images else {}
    if videos:
        found["videos"] = [frames for frames, _ in videos]
        found["video_metadata"] = [told for _, told in videos]
        found["videos_kwargs"] = {"do_sample_frames": False}
    return found


def _frames(model: HfModel, ref: MediaRef) -> tuple[Any, Any]:
    from transformers.video_utils import VideoMetadata

    known = probe(local_file(ref))
    preprocessor: Any = model.info.preprocessor
    clip = preprocessor.clip(ref, len(known.timestamps))
    rate = (len(known.timestamps) - 1) / (known.timestamps[-1] - known.timestamps[0])
    told = VideoMetadata(
        total_num_frames=len(known.timestamps),
        fps=rate,
        frames_indices=[round(stamp * rate) for stamp in clip.chosen.timestamps],
        duration=known.timestamps[-1],
    )
    return np.stack(list(clip.frames)).transpose(0, 3, 1, 2), told


def _times(question: BenchPrompt, preprocessor: Any) -> list[float]:
    """Timestamps in seconds of the frames that our engine samples from a question's videos."""
    media = [part for part in question.parts if isinstance(part, MediaRef)]
    most = preprocessor.most_frames(len(media))
    clips = [preprocessor.choose(ref, most) for ref in media if ref.kind == "video"]
    return [time for chosen in clips for time in chosen.timestamps]


def _message_parts(question: BenchPrompt, model: HfModel) -> dict[str, Any]:
    """A question as lmms-eval's messages have it."""
    parts = []
    for part in question.parts:
        if isinstance(part, MediaRef):
            parts.append({"type": part.kind, "url": part.path})
        elif isinstance(part, Text):
            parts.append({"type": "text", "text": part.wording(model.info.family)})
        elif isinstance(part, Subtitled):
            parts.append({"type": "text", "text": part.at(_times(question, model.info.preprocessor))})
        else:
            parts.append({"type": "text", "text": model.info.adapter.locate.format(part.phrase)})
    return {"parts": parts, "max_new_tokens": question.max_new_tokens}
