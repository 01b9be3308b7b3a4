"""The process that vLLM runs in: requests come in as messages (:mod:`.protocol`), answers go out.

Started by :mod:`.client` with the interpreter that has vLLM.
What vLLM prints goes to standard error.
"""

from __future__ import annotations

import dataclasses
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import IO, Any

from evalkit.inference.stopping import ReasoningBudget, is_loop
from evalkit.integrations.vllm.plugin import DRAWN_TOKENS
from evalkit.integrations.vllm.protocol import PROTOCOL, Message, read_message, write_message
from evalkit.models.detokenize import Detokenizer

# What evalkit decides, and why a user's value is refused.
RESERVED = {
    "model": "`--model`",
    "tokenizer": "evalkit's preprocessing, which hands over token ids",
    "dtype": "`--dtype`",
    "hf_overrides": "evalkit, to have its own class loaded",
    "skip_tokenizer_init": "evalkit's preprocessing, which hands over token ids",
    "generation_config": "evalkit, whose rules of stopping hold",
    "logprobs_mode": "evalkit, which stores margins",
    "logits_processors": "evalkit, which draws tokens by one (`--temperature`)",
    "mm_processor_cache_gb": "evalkit's preprocessing, which processes each medium once",
    "trust_remote_code": "evalkit: nothing untrusted is executed",
    "model_impl": "evalkit, to have its own class loaded",
}


class Refused(Exception):
    """The engine can't be started as asked."""

    def __init__(self, what: str, why: str, fix: str, *, usage: bool = False) -> None:
        super().__init__(what, why, fix)
        self.usage = usage


class Engine:
    """vLLM with one model, and what is known of its running requests."""

    def __init__(self, start: dict[str, Any]) -> None:
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        known = {each.name for each in dataclasses.fields(EngineArgs)}
        for name in start["engine_args"]:
            if name in RESERVED:
                raise Refused(
                    f"`--engine-args {name}`", f"that is said by {RESERVED[name]}", "leave it out", usage=True
                )
            if name not in known:
                raise Refused(
                    f"`--engine-args {name}`",
                    "this version of vLLM has no such engine argument",
                    "see `vllm serve --help`; names are written with underscores",
                    usage=True,
                )
        self._stop = frozenset(start["stop"])
        self._tokenizer_file, self._control = start["tokenizer"], frozenset(start["control"])
        self._running: dict[str, dict[str, Any]] = {}
        self._engine = LLMEngine.from_engine_args(EngineArgs(**self._arguments(start)))
        self._most = int(self._engine.model_config.max_model_len)

    @cached_property
    def _text(self) -> Detokenizer:
        from tokenizers import Tokenizer

        return Detokenizer(Tokenizer.from_file(self._tokenizer_file), self._control)

    @property
    def busy(self) -> bool:
        """Whether a request is unfinished."""
        return bool(self._running)

    def ready(self) -> dict[str, Any]:
        """What the parent is told when the model is loaded."""
        cache = self._engine.vllm_config.cache_config
        blocks = cache.num_gpu_blocks or 0
        return {
            "op": "ready",
            "kv_tokens": int(blocks) * int(cache.block_size),
            "max_model_len": self._most,
        }

    def _arguments(self, start: dict[str, Any]) -> dict[str, Any]:
        given = {
            "model": start["model"],
            "dtype": start["dtype"],
            "skip_tokenizer_init": True,
            "generation_config": "vllm",
            "logprobs_mode": "processed_logits",
            "mm_processor_cache_gb": 0,
            "disable_log_stats": True,
            "model_impl": "auto",
            "hf_overrides": start["config"],
            "seed": 0,
        }
        if start["draws"]:
            given["logits_processors"] = [DRAWN_TOKENS]
        return {**given, **start["defaults"], **start["engine_args"]}

    def add(self, head: dict[str, Any], arrays: Sequence[Any]) -> Iterator[dict[str, Any]]:
        """Begin the requests of one message; what vLLM rejects is answered at once."""
        described, pixels = head["media"], arrays[: len(head["media"])]
        rest = iter(arrays[len(described) :])
        items = [_item_of(each, patches) for each, patches in zip(described, pixels, strict=True)]
        for request in head["requests"]:
            ids = next(rest).tolist()
            places = [next(rest) for _ in described]
            problem = self._too_long(len(ids), request)
            try:
                if problem is None:
                    self._begin(request, _input_of(ids, described, items, places))
            except (ValueError, TypeError, NotImplementedError, KeyError) as error:
                problem = f"vLLM rejects it: {error}"
            if problem is not None:
                yield {"op": "finished", "id": request["id"], "error": problem}

    def _too_long(self, length: int, request: dict[str, Any]) -> str | None:
        """Why a request is too long: vLLM would cut its answer short without a word."""
        needed = length + request["max_new_tokens"]
        if needed <= self._most:
            return None
        return (
            f"prompt and answer may have {needed} tokens, and vLLM was started for {self._most}: "
            "give more by `--engine-args max_model_len=N`"
        )

    def _begin(self, request: dict[str, Any], prompt: Any) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        choices = request["choices"]
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1 if choices else request["max_new_tokens"],
            stop_token_ids=[] if choices else sorted(self._stop),
            ignore_eos=True,
            detokenize=False,
            logprobs=2,
            allowed_token_ids=sorted(set(choices)) if choices else None,
            output_kind=RequestOutputKind.DELTA,
            extra_args=None if request["draws"] is None else {"evalkit_draws": request["draws"]},
        )
        self._engine.add_request(request["id"], prompt, params)
        budget = self._budget(request)
        self._running[request["id"]] = {
            "token_ids": [],
            "margins": [],
            "choices": bool(choices),
            "budget": budget,
        }

    def _budget(self, request: dict[str, Any]) -> ReasoningBudget | None:
        """The limit of its reasoning, by our own rule: vLLM's ends reasoning with words of its own."""
        tokens = request["reasoning_tokens"]
        if tokens is None:
            return None
        return ReasoningBudget.of(request["prompt"], tokens, request["max_new_tokens"], self._text)

    def abort(self, ids: Sequence[str]) -> None:
        """Drop requests."""
        self._engine.abort_request([each for each in ids if self._running.pop(each, None) is not None])

    def forget(self) -> None:
        """Empty the caches of prompts and of media."""
        self._engine.reset_prefix_cache()
        self._engine.reset_encoder_cache()

    def step(self) -> Iterator[dict[str, Any]]:
        """Generate once for what is running; yields what is finished."""
        for output in self._engine.step():
            state = self._running.get(output.request_id)
            if state is None:
                continue
            finished = self._take(state, output)
            if finished is not None:
                del self._running[output.request_id]
                if not output.finished:
                    self._engine.abort_request([output.request_id])
                yield {"op": "finished", "id": output.request_id, **finished}

    def _take(self, state: dict[str, Any], output: Any) -> dict[str, Any] | None:
        """Append a step's tokens; what is to be said of the request if it has ended."""
        completion = output.outputs[0]
        steps = completion.logprobs or [None] * len(completion.token_ids)
        for token, logits in zip(completion.token_ids, steps, strict=True):
            margin = _margin(logits)
            if margin is None:
                return {"error": _not_finite(len(state["token_ids"]), self._engine.model_config.dtype)}
            state["margins"].append(margin)
            if token in self._stop and not state["choices"]:
                return _ended(state, "stop")
            state["token_ids"].append(int(token))
            if state["choices"]:
                return _ended(state, "stop")
            if is_loop(state["token_ids"]):
                return _ended(state, "loop")
            if state["budget"] is not None and state["budget"].used_up(state["token_ids"]):
                return _ended(state, "length")
        if not output.finished:
            return None
        if completion.finish_reason == "length":
            return _ended(state, "length")
        return {
            "error": f"vLLM gave it up: {completion.finish_reason} {completion.stop_reason or ''}".strip()
        }


def _ended(state: dict[str, Any], reason: str) -> dict[str, Any]:
    return {"token_ids": state["token_ids"], "margins": state["margins"], "reason": reason}


def _margin(logits: Any) -> float | None:
    """By how much the likeliest token was ahead; -1 if that is not known, None if a logit is not finite."""
    if not logits:
        return -1.0
    best, *others = sorted((each.logprob for each in logits.values()), reverse=True)
    if not math.isfinite(best):
        return None
    return round(best - others[0], 6) if others and math.isfinite(others[0]) else -1.0


def _not_finite(place: int, dtype: Any) -> str:
    return (
        f"the logits of token {place + 1} of its answer are not finite in {str(dtype).removeprefix('torch.')}"
    )


def _item_of(described: dict[str, Any], patches: Any) -> Any:
    import torch

    from evalkit.integrations.vllm.processing import item_of

    return item_of(torch.from_numpy(patches), described)


def _input_of(
    ids: list[int], described: Sequence[dict[str, Any]], items: Sequence[Any], places: Sequence[Any]
) -> Any:
    """A prompt as vLLM takes it when nothing is left to be processed."""
    from vllm.inputs.engine import mm_input, tokens_input
    from vllm.multimodal.inputs import MultiModalKwargsItems

    from evalkit.integrations.vllm.processing import range_of

    if not items:
        return tokens_input(ids)
    by_kind: dict[str, list[int]] = {}
    for number, each in enumerate(described):
        by_kind.setdefault(each["kind"], []).append(number)
    return mm_input(
        ids,
        MultiModalKwargsItems({kind: [items[each] for each in own] for kind, own in by_kind.items()}),
        {kind: [described[each]["hash"] for each in own] for kind, own in by_kind.items()},
        {kind: [range_of(places[each]) for each in own] for kind, own in by_kind.items()},
    )


def _read_all(file: IO[bytes], messages: queue.SimpleQueue[Message | None]) -> None:
    """Take messages off the pipe as they come, so that the parent never waits; its end ends this process, and
    those that vLLM started.
    """
    while (message := read_message(file)) is not None:
        messages.put(message)
    os.killpg(0, signal.SIGKILL)


def serve(messages: queue.SimpleQueue[Message | None], replies: IO[bytes]) -> None:
    """Start an engine, and answer until the parent is gone."""
    start, _ = messages.get() or ({}, [])
    try:
        engine = Engine(start)
    except Refused as refused:
        what, why, fix = refused.args
        write_message(
            replies, {"op": "refused", "what": what, "why": why, "fix": fix, "usage": refused.usage}
        )
        return
    except Exception as error:  # noqa: BLE001 - vLLM raises anything on what it can't load
        traceback.print_exc()
        write_message(replies, {"op": "refused", "what": "", "why": _cause(error), "fix": "", "usage": False})
        return
    write_message(replies, engine.ready())
    while True:
        while not (messages.empty() and engine.busy):
            head, arrays = messages.get() or ({"op": "abort", "ids": []}, [])
            if head["op"] == "abort":
                engine.abort(head["ids"])
            elif head["op"] == "forget":
                engine.forget()
            else:
                for reply in engine.add(head, arrays):
                    write_message(replies, reply)
        for reply in engine.step():
            write_message(replies, reply)


def _cause(error: BaseException) -> str:
    """What an error says in one line, with what led to it where that is another."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:600]}"


def main() -> None:
    """Serve the process at the other end of standard input and output."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what vLLM prints must not be taken for a message
    sys.stdout = sys.stderr
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # its children must not read from the pipe
    messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_read_all, args=(requests, messages), daemon=True).start()
    write_message(replies, {"op": "hello", "protocol": PROTOCOL})
    try:
        serve(messages, replies)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent tells it
        traceback.print_exc()  # first: the parent ends this process when it is told
        write_message(replies, {"op": "failed", "why": _cause(error)})


if __name__ == "__main__":
    main()
