"""Groups are handed out until each is answered, however many engines die holding them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.engine.dealer import GIVEN_UP_AFTER, LEAST_HELD, Dealer
from evalkit.engine.planner import Asker, Group
from evalkit.types import Request


def group(name: str, sizes: list[int]) -> Group:
    """Requests, each with as many askers as ``sizes`` says."""
    requests = [Request(f"{name}{number}", "t", name, name, (), 1) for number in range(len(sizes))]
    askers = {
        each.key: [(model, f"{each.key}/{model}") for model in range(size)]
        for each, size in zip(requests, sizes, strict=True)
    }
    return Group(requests, askers)


def asked(found: Group) -> list[Asker]:
    return [asker for each in found.requests for asker in found.askers[each.key]]


shapes = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4), max_size=12)


@given(shapes, st.integers(1, 4), st.data())
def test_every_asker_is_answered_or_given_up_once(
    sizes: list[list[int]], engines: int, data: st.DataObject
) -> None:
    groups = [group(f"g{number}-", each) for number, each in enumerate(sizes)]
    dealer = Dealer(groups, engines)
    held: list[list[Asker]] = [[] for _ in range(engines)]
    lives = [0] * engines
    settled = Counter[Asker]()
    everything = Counter(asker for each in groups for asker in asked(each))
    while settled.total() < everything.total():
        engine = data.draw(st.integers(0, engines - 1))
        action = data.draw(st.sampled_from(["take", "deliver", "deliver", "die"]))
        if action == "take":
            given_out, more = dealer.take(engine, lives[engine])
            if given_out is not None:
                held[engine] += asked(given_out)
            elif more:
                assert held[engine]  # only who holds something has to wait
            else:
                assert dealer.waiting() == 0
        elif action == "deliver":
            some = held[engine][: data.draw(st.integers(0, len(held[engine])))]
            held[engine] = held[engine][len(some) :]
            dealer.delivered(engine, some)
            settled.update(some)
        else:
            settled.update(dealer.lost(engine))
            held[engine] = []
            lives[engine] += 1
    assert settled == everything


def test_engines_hold_their_share_of_what_is_left() -> None:
    dealer = Dealer([group(f"g{number}-", [1]) for number in range(40)], 4)
    first = [dealer.take(0, 0)[0] for _ in range(40)]
    # A share shrinks while it is being taken: 40 // 4, until as many are held as a fourth of the rest.
    taken = sum(each is not None for each in first)
    assert LEAST_HELD <= taken <= 10
    assert dealer.take(0, 0) == (None, True)
    assert dealer.take(1, 0)[0] is not None


def test_the_largest_come_first() -> None:
    groups = [group(f"g{number}-", [1]) for number in range(3)]
    dealer = Dealer(groups, 2)
    assert [dealer.take(0, 0)[0], dealer.take(1, 0)[0], dealer.take(0, 0)[0]] == groups


def test_what_is_answered_is_not_asked_again_when_an_engine_dies() -> None:
    dealer = Dealer([group("g", [2, 1])], 2)
    assert dealer.take(0, 0)[0] is not None
    dealer.delivered(0, [(0, "g0/0")])
    assert dealer.lost(0) == []
    again, _ = dealer.take(1, 0)
    assert again is not None
    assert asked(again) == [(1, "g0/1"), (0, "g1/0")]


def test_the_dead_get_nothing_until_they_live_again() -> None:
    dealer = Dealer([group("g", [1])], 1)
    dealer.take(0, 0)
    dealer.lost(0)
    assert dealer.take(0, 0) == (None, False)
    assert dealer.take(0, 1)[0] is not None


def test_a_killer_is_found_and_takes_nobody_with_it() -> None:
    dealer = Dealer([group("innocent", [1, 1]), group("killer", [1, 1]), group("other", [1])], 1)
    answered: list[Asker] = []
    given_up: list[Asker] = []
    for life in range(GIVEN_UP_AFTER + 1):
        while True:
            held, more = [], True
            while more:
                found, more = dealer.take(0, life)
                held += asked(found) if found else []
                more = more and found is not None
            if not held or (0, "killer1/0") in held:
                break
            dealer.delivered(0, held)
            answered += held
        given_up += dealer.lost(0)
    assert given_up == [(0, "killer1/0")]
    assert Counter(answered).total() == len(set(answered)) == 4


@pytest.mark.parametrize("times", [1, 5])
def test_an_engine_that_lacks_something_is_no_fault_of_a_group(times: int) -> None:
    dealer = Dealer([group("g", [1])], 1)
    for life in range(times):
        assert dealer.take(0, life)[0] is not None
        assert dealer.lost(0, blame=False) == []
    assert dealer.take(0, times)[0] is not None
