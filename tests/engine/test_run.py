"""The engine loses and repeats nothing, whatever goes wrong, and results don't depend on batching."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.core.errors import MediaError, OutOfMemory
from evalkit.core.types import Generation, MediaRef, Prepared, Request, Response
from evalkit.engine.planner import media_groups, prefix_groups_of
from evalkit.engine.scheduler import run_requests
from evalkit.inference.counters import EngineCounters
from evalkit.inference.one_shot_decoder import OneShotDecoder


@dataclass(frozen=True)
class FakePreprocessor:
    """A prompt is its own length; some prompts fail or kill the worker."""

    def estimate(self, request: Request) -> int:
        return len(request.prompt)

    def process_media(self, media: Sequence[MediaRef]) -> None:
        pass

    def prepare(self, request: Request, shown: None = None) -> Prepared:
        if "corrupt" in request.prompt:
            raise MediaError("image `x.png`", "truncated", "fetch it again")
        if "surprise" in request.prompt:
            raise ZeroDivisionError("surprise")
        if "die" in request.prompt:
            os._exit(1)
        ids = np.frombuffer(request.prompt.encode(), np.uint8).astype(np.int64)
        return Prepared(request.key, ids, np.zeros(len(ids), np.uint8), (), request.max_new_tokens)


@dataclass
class FakeModel:
    """Echoes; batches over ``fits`` tokens don't fit; a prompt with ``poison`` breaks its batch."""

    fits: int = 10**9
    preprocessor: FakePreprocessor = field(default_factory=FakePreprocessor)
    sizes: list[int] = field(default_factory=list)
    largest: int = 0
    most: int = 0

    @property
    def info(self) -> Self:
        return self

    def device_problem(self) -> None:
        pass

    def token_budget(self, models: int) -> None:
        pass

    def decoder(
        self,
        stats: EngineCounters | None = None,
        *,
        uncached_vision: bool = False,
        graphs: bool = True,
        deterministic: bool = False,
    ) -> OneShotDecoder:
        return OneShotDecoder(self.generate)

    def generate(self, batch: Sequence[Prepared]) -> list[Generation]:
        if sum(item.length + item.max_new_tokens for item in batch) > self.fits:
            raise OutOfMemory("too much")
        texts = [item.input_ids.astype(np.uint8).tobytes().decode() for item in batch]
        if any("poison" in text for text in texts):
            raise RuntimeError("poisoned")
        self.sizes.append(len(batch))
        if len(batch) > 1:
            self.largest = max(self.largest, sum(item.length + item.max_new_tokens for item in batch))
        self.most = max(self.most, len(batch))
        return [Generation(text.upper(), (1,), "stop") for text in texts]


def request(number: int, prompt: str) -> Request:
    return Request(
        key=f"k{number}", task="t", sample_id=str(number), prompt=prompt, media=(), max_new_tokens=4
    )


def answer(model: FakeModel, prompts: Sequence[str], **options: int | None) -> dict[str, Response]:
    found: list[Response] = []
    requests = [request(number, prompt) for number, prompt in enumerate(prompts)]
    run_requests(model, requests, on_batch=found.extend, **{"workers": 0, **options})  # type: ignore[arg-type]
    counts = Counter(response.key for response in found)
    assert counts == Counter(each.key for each in requests), "every request exactly once"
    return {response.key: response for response in found}


words = st.lists(st.text("abc", min_size=1, max_size=40), min_size=1, max_size=30)


@given(words, st.integers(1, 300), st.integers(1, 10) | st.none(), st.integers(5, 200))
def test_batching_and_memory_change_no_answer(
    prompts: list[str], tokens: int, size: int | None, fits: int
) -> None:
    plain = answer(FakeModel(), prompts, batch_size=1)
    model = FakeModel(fits=fits)
    found = answer(model, prompts, batch_tokens=tokens, batch_size=size)
    for number, prompt in enumerate(prompts):
        response = found[f"k{number}"]
        if len(prompt) + 4 <= fits:
            assert response.text == plain[f"k{number}"].text == prompt.upper()
        else:
            assert response.finish_reason == "error"
            assert "fit into memory alone" in str(response.error)
    assert all(each <= (size or 10**9) for each in model.sizes)


@given(words, st.integers(1, 300))
def test_batches_keep_to_the_budget(prompts: list[str], tokens: int) -> None:
    model = FakeModel()
    answer(model, prompts, batch_tokens=tokens)
    assert model.most == 1 or model.largest <= tokens


def test_questions_about_the_same_media_are_a_group() -> None:
    picture = (MediaRef("image", path="a.png"),)
    asked = [
        Request(
            key=str(n),
            task="t",
            sample_id=str(n),
            prompt="?",
            media=picture if n % 2 else (),
            max_new_tokens=4,
        )
        for n in range(6)
    ]
    groups = media_groups(asked)
    assert [[each.key for each in group] for group in groups] == [["0"], ["1", "3", "5"], ["2"], ["4"]]
    ids = [[1, 2, 3, 9], [1, 2, 3, 8, 7], [1, 5, 3, 9]]
    items = [
        Prepared(str(n), np.array(each), np.zeros(len(each), np.uint8), (), 4, prefix=3)
        for n, each in enumerate(ids)
    ]
    assert [[item.key for item in prefix_group.items] for prefix_group in prefix_groups_of(items, None)] == [
        ["0", "1"],
        ["2"],
    ]
    assert [prefix_group.tokens for prefix_group in prefix_groups_of(items, None)] == [6, 4]
    assert [len(prefix_group.items) for prefix_group in prefix_groups_of(items, 1)] == [1, 1, 1]
    assert [len(prefix_group.items) for prefix_group in prefix_groups_of(items, None, shared=False)] == [
        1,
        1,
        1,
    ]


def test_an_out_of_memory_error_makes_later_batches_smaller() -> None:
    model = FakeModel(fits=40)
    answer(model, ["aaaa"] * 64, batch_tokens=512)
    assert max(model.sizes) <= 5
    assert model.sizes.count(max(model.sizes)) > 8  # and it stays there, instead of trying again


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failure_stays_with_its_sample(workers: int) -> None:
    found = answer(FakeModel(), ["fine", "corrupt", "good", "surprise", "poison", "last"], workers=workers)
    assert [found[f"k{n}"].text for n in (0, 2, 5)] == ["FINE", "GOOD", "LAST"]
    assert "truncated" in str(found["k1"].error)
    assert "fetch it again" in str(found["k1"].error)
    assert "ZeroDivisionError: surprise" in str(found["k3"].error)
    assert "RuntimeError: poisoned" in str(found["k4"].error)


def test_a_worker_that_dies_costs_one_sample() -> None:
    prompts = [f"prompt {n}" for n in range(12)] + ["die"]
    found = answer(FakeModel(), prompts, workers=2)
    assert "worker died" in str(found["k12"].error)
    assert all(found[f"k{n}"].text == f"PROMPT {n}" for n in range(12))


def test_workers_change_no_answer() -> None:
    prompts = [f"{n} " * (n % 7 + 1) for n in range(30)]
    assert answer(FakeModel(), prompts, workers=2).keys() == answer(FakeModel(), prompts).keys()


def test_an_interrupt_ends_the_run_at_once() -> None:
    def interrupt(responses: list[Response]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_requests(FakeModel(), [request(n, "a" * n) for n in range(1, 9)], on_batch=interrupt, workers=1)  # type: ignore[arg-type]


@settings(max_examples=20)
@given(words)
def test_longest_first(prompts: list[str]) -> None:
    seen: list[int] = []
    requests = [request(number, prompt) for number, prompt in enumerate(prompts)]

    def note(responses: list[Response]) -> None:
        seen.extend(len(response.text) for response in responses)

    run_requests(FakeModel(), requests, on_batch=note, workers=0, batch_size=1)  # type: ignore[arg-type]
    assert seen == sorted(seen, reverse=True)
