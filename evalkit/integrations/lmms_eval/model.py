"""evalkit's models in lmms-eval's own command line.

``lmms_eval --model evalkit --model_args pretrained=CHECKPOINT,rope=mrope-i --tasks ...``; found
through the entry-point group ``lmms_eval.models``. Only lmms-eval imports this module.
"""

from __future__ import annotations

from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from evalkit.core.types import MediaRef, Request, Response
from evalkit.data.cache import cache_root
from evalkit.engine.scheduler import run_requests
from evalkit.integrations.lmms_eval.server import cut, new_tokens, parts_of
from evalkit.integrations.lmms_eval.task import parse_part
from evalkit.models import load_model


def manifest() -> ModelManifest:
    """What lmms-eval's registry wants to know."""
    return ModelManifest("evalkit", chat_class_path=f"{__name__}.EvalkitModel")


class EvalkitModel(lmms):  # type: ignore[misc]
    """A checkpoint with a RoPE variant, answering lmms-eval's requests in evalkit's batches.

    Model arguments: ``pretrained`` (a folder, a hub id or ``tiny``), ``rope``, ``dtype``, ``device``,
    ``processor`` (a model that lends its tokenizer and processor), ``workers`` (preprocessing processes) and
    ``batch_tokens``. ``batch_size`` bounds a batch.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        rope: str = "auto",
        dtype: str = "auto",
        device: str | None = None,
        processor: str | None = None,
        workers: int = 0,
        batch_tokens: int = 16384,
        batch_size: int | str | None = None,
        **others: Any,
    ) -> None:
        super().__init__()
        others.pop("max_batch_size", None)
        if others:
            raise TypeError(f"evalkit's model has no arguments {', '.join(others)}")
        placed = {"dtype": dtype, "device": device or "auto"}
        self.model = load_model(pretrained, rope=rope, processor=processor, **placed)
        self.workers, self.batch_tokens = int(workers), int(batch_tokens)
        self.batch_size = int(batch_size) if batch_size and str(batch_size).isdigit() else None

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Answer requests of chat tasks, greedily."""
        media = str(cache_root() / "lmms")
        asked = {}
        stops = {}
        for place, request in enumerate(requests):
            _, doc_to_messages, generation, doc_id, task, split = request.args
            messages = doc_to_messages(self.task_dict[task][split][doc_id])
            parts = [parse_part(raw) for raw in parts_of(messages, media)]
            found = tuple(part for part in parts if isinstance(part, MediaRef))
            prompt = self.model.info.render(parts)
            key = str(place)
            asked[key] = Request(
                key=key,
                task=task,
                sample_id=str(doc_id),
                prompt=prompt,
                media=found,
                max_new_tokens=new_tokens(generation),
            )
            stops[key] = generation.get("until")
        answers: dict[str, Response] = {}
        run_requests(
            self.model,
            list(asked.values()),
            workers=self.workers,
            batch_tokens=self.batch_tokens,
            batch_size=self.batch_size,
            on_batch=lambda batch: answers.update({each.key: each for each in batch}),
        )
        failed = [each for each in answers.values() if each.error]
        if failed:
            raise RuntimeError(f"{len(failed)} samples failed; the first: {failed[0].error}")
        return [cut(answers[key].text, stops[key]) for key in asked]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Refuse: evalkit generates."""
        raise NotImplementedError("evalkit's model only generates answers")

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        """Refuse: evalkit asks in one turn."""
        raise NotImplementedError("evalkit's model answers in one turn")
