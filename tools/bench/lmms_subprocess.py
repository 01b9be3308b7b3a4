"""lmms-eval's own chat model on a bench's questions, in a process of its own.

Run by file name with an interpreter that has lmms-eval; nothing of evalkit is imported. Reads one object from
standard input and writes one to standard output; whatever lmms-eval prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import psutil  # a requirement of accelerate, and so of lmms-eval

CHAT_CLASSES = {"qwen2_5_vl": "Qwen2_5_VL"}
LOADED = {"qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration"}


def messages_of(question: dict[str, Any]) -> list[dict[str, Any]]:
    """One user turn, as a chat task of lmms-eval gives it."""
    return [{"role": "user", "content": question["parts"]}]


def loaded(job: dict[str, Any]) -> Any:
    """lmms-eval's model. It always loads bfloat16, so that is replaced by the dtype that is asked for."""
    family = job["family"]
    if job["on_vllm"]:
        return _on_vllm(job)
    simple = importlib.import_module(f"lmms_eval.models.simple.{family}")
    kind = getattr(simple, LOADED[family])
    load = kind.from_pretrained

    def in_dtype(*words: Any, **options: Any) -> Any:
        return load(*words, **options | {"torch_dtype": job["dtype"]})

    kind.from_pretrained = in_dtype
    chat = importlib.import_module(f"lmms_eval.models.chat.{family}")
    model = getattr(chat, CHAT_CLASSES[family])(
        pretrained=job["model"],
        device=job["device"],
        device_map=job["device"],
        attn_implementation="sdpa",
        min_pixels=job["min_pixels"],
        max_pixels=job["max_pixels"],
        max_num_frames=job["max_frames"],
    )
    # Checkpoints may keep the template with the tokenizer alone.
    model.processor.chat_template = model.processor.chat_template or model.tokenizer.chat_template
    return model


def _on_vllm(job: dict[str, Any]) -> Any:
    """lmms-eval's model on vLLM, with a batch as large as vLLM takes, and on a processor in one process, as
    evalkit starts it there. Its own limits are for servers: it takes the larger one of a request's new tokens
    and its own, and 32 frames of every video.
    """
    if job["device"] == "cpu":
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    from vllm import LLM  # noqa: F401 - lmms-eval goes on without a word where there is none

    chat = importlib.import_module("lmms_eval.models.chat.vllm")
    on_cpu = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 30} if job["device"] == "cpu" else {}
    return chat.VLLM(
        model=job["model"],
        batch_size=256,
        max_frame_num=job["max_frames"],
        fps=job["fps"],
        max_pixels=job["max_pixels"],
        max_new_tokens=1,
        trust_remote_code=False,
        dtype=job["dtype"],
        **{**on_cpu, **job["engine_args"]},
    )


def _forget(model: Any) -> None:
    """Empty vLLM's caches of prompts and media: what was seen in the warm-up doesn't count."""
    engine = model.client.llm_engine
    engine.reset_prefix_cache()
    engine.reset_mm_cache()
    engine.reset_encoder_cache()


def instances(questions: list[dict[str, Any]]) -> list[Any]:
    """lmms-eval's requests, one for each question."""
    from lmms_eval.api.instance import Instance

    found = []
    for number, question in enumerate(questions):
        until = {"max_new_tokens": question["max_new_tokens"], "temperature": 0}
        arguments = (str(number), messages_of, until, number, "bench", "test")
        metadata = {"task": "bench", "doc_id": number, "repeats": 1}
        found.append(Instance("generate_until", arguments, number, metadata))
    return found


def answered(job: dict[str, Any]) -> dict[str, Any]:
    """Load, warm up, and time ``generate_until``."""
    model, questions = loaded(job), job["questions"]
    model.task_dict = {"bench": {"test": questions}}
    model.generate_until(instances(questions)[: job["warm"]])
    if job["on_vllm"]:
        _forget(model)
    cpu, began = _cpu(), time.perf_counter()
    results = model.generate_until(instances(questions))
    seconds, cpu = time.perf_counter() - began, _cpu() - cpu
    texts = [getattr(each, "text", each) for each in results]
    return {"seconds": seconds, "cpu": cpu, "texts": texts}


def _cpu() -> float:
    """Processor seconds of this process and of those that it started."""
    here = psutil.Process()
    return sum(sum(each.cpu_times()[:2]) for each in (here, *here.children(recursive=True)))


def main() -> None:
    """Answer one job."""
    job = json.load(sys.stdin)
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what lmms-eval, vLLM and its processes print must not be taken for the answer
    try:
        found = answered(job)
    except Exception as error:  # noqa: BLE001 - whatever it is, the bench tells it
        found = {"error": f"{type(error).__name__}: {error}"}
    json.dump(found, replies)
    replies.flush()


if __name__ == "__main__":
    main()
