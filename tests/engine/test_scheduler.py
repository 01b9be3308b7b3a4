"""The engine on a decoder that answers word by word in a memory of its own: nothing is lost or repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_run import FakePreprocessor

from evalkit.core.errors import OutOfMemory, UsageError
from evalkit.core.types import Generation, MediaRef, Prepared, Request, Response
from evalkit.engine.optimizations import Optimizations
from evalkit.engine.scheduler import run_requests
from evalkit.inference.base import Finished, PrefixGroup
from evalkit.inference.counters import EngineCounters


@dataclass(frozen=True)
class SharingPreprocessor(FakePreprocessor):
    """A prompt about media begins with two tokens for them."""

    def prepare(self, request: Request, shown: None = None) -> Prepared:
        prepared = super().prepare(request)
        prefix = 2 * len(request.media)
        ids = np.concatenate([np.zeros(prefix, np.int64), prepared.input_ids])
        return Prepared(
            request.key, ids, np.zeros(len(ids), np.uint8), (), request.max_new_tokens, prefix=prefix
        )


@dataclass
class WordByWord:
    """Says each prompt's own letters; every token needs memory, ``x`` breaks a call, ``y`` a later one."""

    fits: int
    sequences: list[tuple[Prepared, list[int]]] = field(default_factory=list)
    reads: int = 0
    joined: int = 0

    @property
    def running(self) -> list[Prepared]:
        return [item for item, _ in self.sequences]

    @property
    def tokens(self) -> int:
        return sum(item.length + len(said) for item, said in self.sequences)

    def add(self, prefix_groups: Sequence[PrefixGroup]) -> Finished:
        self._need(sum(prefix_group.tokens + len(prefix_group.items) for prefix_group in prefix_groups))
        if any(ord("x") in item.input_ids for prefix_group in prefix_groups for item in prefix_group.items):
            raise RuntimeError("broken by x")
        self.joined += bool(self.sequences)
        self.reads += sum(prefix_group.tokens for prefix_group in prefix_groups)
        new: list[tuple[Prepared, list[int]]] = [
            (item, []) for prefix_group in prefix_groups for item in prefix_group.items
        ]
        self.sequences += new
        return self._said(new)

    def step(self) -> Finished:
        self._need(len(self.sequences))
        if any(ord("y") in item.input_ids for item in self.running):
            raise RuntimeError("broken by y")
        return self._said(self.sequences)

    def preempt(self, keep: int) -> list[Prepared]:
        forgotten, self.sequences = self.running[keep:], self.sequences[:keep]
        return forgotten

    def _need(self, more: int) -> None:
        if self.tokens + more > self.fits:
            raise OutOfMemory("too much")

    def _said(self, sequences: Sequence[tuple[Prepared, list[int]]]) -> Finished:
        finished: Finished = []
        for item, said in sequences:
            said.append(int(item.input_ids[item.prefix + len(said)]))
            if item.prefix + len(said) == item.length:
                finished.append((item, Generation(bytes(said).decode(), tuple(said), "stop")))
        done = {id(item) for item, _ in finished}
        self.sequences = [each for each in self.sequences if id(each[0]) not in done]
        return finished


@dataclass
class SteppingModel:
    fits: int
    preprocessor: SharingPreprocessor = field(default_factory=SharingPreprocessor)
    decoders: list[WordByWord] = field(default_factory=list)

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
    ) -> WordByWord:
        self.decoders.append(WordByWord(self.fits))
        return self.decoders[-1]


PICTURES = [(), (MediaRef("image", path="a.png"),), (MediaRef("image", path="b.png"),)]
asked = st.lists(
    st.tuples(st.text("abcdexy", min_size=1, max_size=12), st.sampled_from(PICTURES)), max_size=20
)
ways = st.sets(st.sampled_from(Optimizations.names())).map(lambda names: Optimizations.without(*names))


@given(asked, st.integers(1, 120), st.integers(1, 200), st.integers(1, 6) | st.none(), ways)
def test_every_request_is_answered_once(
    questions: list[tuple[str, tuple[MediaRef, ...]]],
    fits: int,
    tokens: int,
    size: int | None,
    optimizations: Optimizations,
) -> None:
    found: list[Response] = []
    requests = [
        Request(
            key=f"k{number}",
            task="t",
            sample_id=str(number),
            prompt=prompt,
            media=media,
            max_new_tokens=len(prompt),
        )
        for number, (prompt, media) in enumerate(questions)
    ]
    run_requests(
        SteppingModel(fits),  # type: ignore[arg-type]
        requests,
        on_batch=found.extend,
        workers=0,
        batch_tokens=tokens,
        batch_size=size,
        optimizations=optimizations,
    )
    assert Counter(response.key for response in found) == Counter(each.key for each in requests)
    responses = {response.key: response for response in found}
    for each in requests:
        response = responses[each.key]
        alone = 2 * len(each.media) + 2 * len(each.prompt)
        if "x" in each.prompt or ("y" in each.prompt and len(each.prompt) > 1):
            assert response.finish_reason == "error"
        elif alone <= fits:
            assert response.text == each.prompt
        else:
            assert response.text == each.prompt or "fit into memory alone" in str(response.error)


def test_a_prefix_is_read_once_for_all_questions() -> None:
    picture = (MediaRef("image", path="a.png"),)
    requests = [
        Request(key=str(n), task="t", sample_id=str(n), prompt="word", media=picture, max_new_tokens=4)
        for n in range(5)
    ]
    for optimizations, expected in ((Optimizations(), 2 + 5 * 4), (Optimizations.without("prefix"), 5 * 6)):
        model = SteppingModel(1000)
        run_requests(model, requests, on_batch=lambda batch: None, workers=0, optimizations=optimizations)  # type: ignore[arg-type]
        assert sum(each.reads for each in model.decoders) == expected


def test_new_questions_enter_while_others_are_answered() -> None:
    requests = [
        Request(key=str(n), task="t", sample_id=str(n), prompt="a" * (1 + n % 8), media=(), max_new_tokens=8)
        for n in range(64)
    ]
    for optimizations in (Optimizations(), Optimizations.without("continuous")):
        model = SteppingModel(10_000)
        run_requests(
            model,  # type: ignore[arg-type]
            requests,
            on_batch=lambda batch: None,
            workers=0,
            batch_size=6,
            optimizations=optimizations,
        )
        assert (model.decoders[0].joined > 0) == optimizations.continuous


def test_a_misspelt_technique() -> None:
    with pytest.raises(UsageError, match="prefix"):
        Optimizations.without("prefx")
    assert not any(vars(Optimizations.without("all")).values())
