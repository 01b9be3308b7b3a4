"""Groups are handed out until each is answered, however many engines die holding them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evalkit.core.types import Request
from evalkit.engine.planner import Consumer, RequestGroup, SharedRequest
from evalkit.engine.work_queue import FAIL_AFTER_DEATHS, MIN_LEASED_SAMPLES, WorkQueue


def group(name: str, sizes: list[int]) -> RequestGroup:
    """Requests, each with as many consumers as ``sizes`` says."""
    return RequestGroup(
        tuple(
            SharedRequest(
                Request(
                    key=f"{name}{number}", task="t", sample_id=name, prompt=name, media=(), max_new_tokens=1
                ),
                tuple((model, f"{name}{number}/{model}") for model in range(size)),
            )
            for number, size in enumerate(sizes)
        )
    )


def asked(found: RequestGroup) -> list[Consumer]:
    return [consumer for each in found.members for consumer in each.consumers]


shapes = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), max_size=12)


@settings(max_examples=300)
@given(shapes, st.integers(1, 4), st.integers(0, 2**32))
def test_every_consumer_is_answered_or_given_up_once(sizes: list[list[int]], engines: int, seed: int) -> None:
    """Whatever the engines do: what they do is drawn from a seed, which is faster than by hypothesis."""
    draw = random.Random(seed)
    groups = [group(f"g{number}-", each) for number, each in enumerate(sizes)]
    work_queue = WorkQueue(groups, engines)
    held: list[list[Consumer]] = [[] for _ in range(engines)]
    lives = [0] * engines
    settled = Counter[Consumer]()
    everything = Counter(consumer for each in groups for consumer in asked(each))
    while settled.total() < everything.total():
        engine = draw.randrange(engines)
        action = draw.choice(("take", "deliver", "deliver", "die"))
        if action == "take":
            given_out, more = work_queue.take(engine, lives[engine])
            if given_out is not None:
                held[engine] += asked(given_out)
            elif more:
                assert held[engine]  # only who holds something has to wait
            else:
                assert work_queue.unleased() == 0
        elif action == "deliver":
            some = held[engine][: draw.randint(0, len(held[engine]))]
            held[engine] = held[engine][len(some) :]
            work_queue.complete(engine, some)
            settled.update(some)
        else:
            settled.update(work_queue.release(engine))
            held[engine] = []
            lives[engine] += 1
    assert settled == everything


def test_engines_hold_their_share_of_what_is_left() -> None:
    work_queue = WorkQueue([group(f"g{number}-", [1]) for number in range(40)], 4)
    first = [work_queue.take(0, 0)[0] for _ in range(40)]
    # A share shrinks while it is being taken: 40 // 4, until as many are held as a fourth of the rest.
    taken = sum(each is not None for each in first)
    assert MIN_LEASED_SAMPLES <= taken <= 10
    assert work_queue.take(0, 0) == (None, True)
    assert work_queue.take(1, 0)[0] is not None


def test_the_largest_come_first() -> None:
    groups = [group(f"g{number}-", [1]) for number in range(3)]
    work_queue = WorkQueue(groups, 2)
    assert [work_queue.take(0, 0)[0], work_queue.take(1, 0)[0], work_queue.take(0, 0)[0]] == groups


def test_what_is_answered_is_not_asked_again_when_an_engine_dies() -> None:
    work_queue = WorkQueue([group("g", [2, 1])], 2)
    assert work_queue.take(0, 0)[0] is not None
    work_queue.complete(0, [(0, "g0/0")])
    assert work_queue.release(0) == []
    again, _ = work_queue.take(1, 0)
    assert again is not None
    assert asked(again) == [(1, "g0/1"), (0, "g1/0")]


def test_the_dead_get_nothing_until_they_live_again() -> None:
    work_queue = WorkQueue([group("g", [1])], 1)
    work_queue.take(0, 0)
    work_queue.release(0)
    assert work_queue.take(0, 0) == (None, False)
    assert work_queue.take(0, 1)[0] is not None


def test_a_killer_is_found_and_takes_nobody_with_it() -> None:
    work_queue = WorkQueue([group("innocent", [1, 1]), group("killer", [1, 1]), group("other", [1])], 1)
    answered: list[Consumer] = []
    given_up: list[Consumer] = []
    for life in range(FAIL_AFTER_DEATHS + 1):
        while True:
            held, more = [], True
            while more:
                found, more = work_queue.take(0, life)
                held += asked(found) if found else []
                more = more and found is not None
            if not held or (0, "killer1/0") in held:
                break
            work_queue.complete(0, held)
            answered += held
        given_up += work_queue.release(0)
    assert given_up == [(0, "killer1/0")]
    assert Counter(answered).total() == len(set(answered)) == 4


@pytest.mark.parametrize("times", [1, 5])
def test_an_engine_that_lacks_something_is_no_fault_of_a_group(times: int) -> None:
    work_queue = WorkQueue([group("g", [1])], 1)
    for life in range(times):
        assert work_queue.take(0, life)[0] is not None
        assert work_queue.release(0, count_death=False) == []
    assert work_queue.take(0, times)[0] is not None
