"""A server for lmms-eval's tasks: a process that reads requests and writes replies as JSON lines.

It is run by file name with the interpreter that has lmms-eval, and imports nothing of evalkit. A request is
an object with ``op``, the name of a method of :class:`Server`, and its arguments; a reply has ``ok``,
``unsupported``, or ``error`` where the task's code failed or called ``sys.exit``. What tasks print goes to
standard error.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import math
import os
import random
import sys
import tempfile
import types
from collections import defaultdict
from typing import Any

DEFAULT_NEW_TOKENS = 128  # what lmms-eval's own models take where a task says nothing


class Unsupported(Exception):
    """The task needs what evalkit's engine doesn't do."""


def parts_of(messages: list[dict[str, Any]], media: str) -> list[dict[str, Any]]:
    """The one user turn of a conversation as parts; images become files in ``media``, by content."""
    turns = [message for message in messages if message.get("content")]
    if [turn["role"] for turn in turns] != ["user"]:
        roles = ", ".join(turn["role"] for turn in turns)
        raise Unsupported(f"a conversation of {roles or 'nothing'}; evalkit asks in one user turn")
    content = turns[0]["content"]
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(piece, media) for piece in content]


def cut(text: str, until: Any) -> str:
    """The text before the first of a task's stop strings."""
    stops = [until] if isinstance(until, str) else list(until or ())
    for stop in stops:
        if stop:
            text = text.split(stop)[0]
    return text


def new_tokens(generation: dict[str, Any]) -> int:
    """How many tokens a task lets a model generate."""
    return int(generation.get("max_new_tokens") or generation.get("max_gen_toks") or DEFAULT_NEW_TOKENS)


def _part(piece: dict[str, Any], media: str) -> dict[str, Any]:
    kind = piece["type"]
    if kind == "text":
        return {"type": "text", "text": piece["text"]}
    source = piece.get("url", piece.get(kind))
    if kind == "image":
        return {"type": "image", "path": _image_file(source, media)}
    if kind == "video":
        start, end = piece.get("start_time"), piece.get("end_time")
        if isinstance(source, dict):
            start, end = source.get("video_start", start), source.get("video_end", end)
            source = source.get("url") or source.get("path") or source.get("video")
        if not isinstance(source, str):
            raise Unsupported(f"a video given as {type(source).__name__}")
        return {"type": "video", "path": source.removeprefix("file://"), "start": start, "end": end}
    raise Unsupported(f"{kind} in a prompt")


def _image_file(source: Any, media: str) -> str:
    if isinstance(source, str):
        return source.removeprefix("file://")
    buffer = io.BytesIO()
    image = source if source.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I") else source.convert("RGB")
    image.save(buffer, "PNG", compress_level=1)
    data = buffer.getvalue()
    path = os.path.join(media, f"{hashlib.sha256(data).hexdigest()}.png")
    if not os.path.exists(path):
        os.makedirs(media, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=media, delete=False) as file:
            file.write(data)
        os.replace(file.name, path)
    return path


class Server:
    """Holds lmms-eval's tasks and answers requests about them."""

    def __init__(self) -> None:
        self.managers: dict[tuple[str, ...], Any] = {}
        self.tasks: dict[str, Any] = {}

    def handle(self, request: dict[str, Any]) -> Any:
        """Answer one request."""
        return getattr(self, request.pop("op"))(**request)

    def open(self, task: str, include: list[str]) -> dict[str, Any]:
        """Load a task or a group, and return the names of its tasks."""
        from importlib.metadata import version

        from lmms_eval.tasks import TaskManager, get_task_dict

        key = tuple(include)
        if key not in self.managers:
            self.managers[key] = TaskManager(include_path=list(include) or None, model_name="evalkit")
        manager = self.managers[key]
        if task not in manager.all_tasks:
            import difflib

            near = difflib.get_close_matches(task, manager.all_tasks, 1)
            return {"unknown": True, "near": near, "count": len(manager.all_tasks)}
        found = dict(_leaves(get_task_dict([task], manager, "chat")))
        self.tasks |= found
        return {"version": version("lmms-eval"), "tasks": list(found)}

    def describe(self, task: str) -> dict[str, Any]:
        """Return what the task declares."""
        loaded = self.tasks[task]
        config = loaded.config
        return {
            "kind": loaded.OUTPUT_TYPE,
            "docs": len(loaded.eval_docs),
            "metrics": list(loaded.aggregation()),
            "max_new_tokens": new_tokens(config.generation_kwargs or {}),
            "until": (config.generation_kwargs or {}).get("until"),
            "sampled": bool((config.generation_kwargs or {}).get("do_sample")),
            "repo": str(config.dataset_path),
            "config": str(config.dataset_name or ""),
            "split": _split(loaded),
            "version": str(loaded.VERSION),
        }

    def render(self, task: str, docs: list[int], media: str) -> list[dict[str, Any]]:
        """Return the prompts of some documents."""
        loaded = self.tasks[task]
        if loaded.OUTPUT_TYPE != "generate_until":
            raise Unsupported(f"tasks of the kind {loaded.OUTPUT_TYPE}")
        found = []
        for number in docs:
            doc = loaded.eval_docs[number]
            _seed(task, number)
            parts = parts_of(loaded.doc_to_messages(doc), media)
            found.append({"id": number, "parts": parts, "reference": _reference(loaded, doc)})
        return found

    def score(self, task: str, answers: list[list[Any]]) -> dict[str, Any]:
        """Judge and aggregate answers (document number and text), as the evaluator does."""
        loaded = self.tasks[task]
        until = (loaded.config.generation_kwargs or {}).get("until")
        loaded.args = types.SimpleNamespace(
            output_path=tempfile.mkdtemp(prefix="evalkit-lmms-"), log_samples=False
        )
        instances = [_instance(loaded, number, cut(text, until)) for number, text in sorted(answers)]
        loaded._instances = instances
        loaded.apply_filters()
        gathered: dict[tuple[str, str], list[Any]] = defaultdict(list)
        values: dict[int, dict[str, float]] = {}
        for instance in instances:
            for name in instance.filtered_resps:
                _seed(task, instance.doc_id)
                doc = loaded.eval_docs[instance.doc_id]
                for metric, value in loaded.process_results(doc, [instance.filtered_resps[name]]).items():
                    gathered[metric, name].append(value)
                    number = _number(value)
                    if number is None:
                        number = _alone(loaded, metric, value)
                    if number is not None:
                        values.setdefault(instance.doc_id, {})[_figure(metric, name)] = number
        figures = {}
        for (metric, name), items in gathered.items():
            _seed(task, -1)
            found = _number(_aggregate(loaded, metric, items))
            if found is not None:
                figures[_figure(metric, name)] = found
        return {"figures": figures, "values": [[number, found] for number, found in sorted(values.items())]}


def _leaves(tree: dict[Any, Any]) -> Any:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif value is not None:
            task = value[1] if isinstance(value, tuple) else value
            if task is not None:
                yield str(name), task


def _split(task: Any) -> str:
    return str(task.config.test_split if task.has_test_docs() else task.config.validation_split)


def _reference(task: Any, doc: Any) -> str:
    try:
        return str(task.doc_to_target(doc))
    except Exception:  # noqa: BLE001 - a task's own code; some have no target
        return ""


def _instance(task: Any, number: int, text: str) -> Any:
    metadata = {
        "task": task.config.task,
        "doc_id": number,
        "repeats": task.config.repeats,
        "split": _split(task),
    }
    instance = task.construct_requests(doc_id=number, ctx="", metadata=metadata)
    instance.resps = [text]
    return instance


def _aggregate(task: Any, metric: str, items: list[Any]) -> Any:
    function = task.aggregation().get(metric)
    if function is None:
        return None
    if "args" in inspect.signature(function).parameters:
        return function(items, args=task.args)
    return function(items)


def _alone(task: Any, metric: str, value: Any) -> float | None:
    """One document's score, where only the aggregation makes a number of the task's result."""
    try:
        return _number(_aggregate(task, metric, [value]))
    except Exception:  # noqa: BLE001 - a task's own code, made for many documents
        return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _figure(metric: str, name: str) -> str:
    return metric if name == "none" else f"{metric}/{name}"


def _seed(task: str, number: int) -> None:
    """Seed the generators by the document, so that what a task draws depends on it alone."""
    import numpy as np

    seed = int.from_bytes(hashlib.sha256(f"{task}/{number}".encode()).digest()[:4], "big")
    random.seed(seed)
    np.random.seed(seed)


def main() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what tasks print must not be taken for a reply
    sys.stdout = sys.stderr
    server = Server()
    for line in sys.stdin:
        try:
            reply = {"ok": server.handle(json.loads(line))}
        except Unsupported as problem:
            reply = {"unsupported": str(problem)}
        except SystemExit as left:
            reply = {"error": f"the task's code called sys.exit({left.code!r})"}
        except Exception as error:  # noqa: BLE001 - a task's own code
            import traceback

            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
