"""Reasoning has a budget of its own: what is cut off in it, and what the answer may be after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from test_optimizations import new, put
from tiny_qwen import PROMPTS

from evalkit.inference.base import PrefixGroup, generate_all
from evalkit.inference.stopping import ReasoningBudget


def kept(text: str, prompt: str = "Q", reasoning: int = 8, answer: int = 4, unit: str = " ") -> str:
    """What of a text an answer keeps; a token is a word with its blank, or a letter."""
    tokens = [f"{word} " for word in text.split(" ")] if unit == " " else list(text)

    def written(ids: Sequence[int]) -> str:
        return "".join(tokens[place] for place in ids)

    budget = ReasoningBudget.of(prompt, reasoning, reasoning + answer, written)
    ids: list[int] = []
    for place in range(len(tokens)):
        ids.append(place)
        if budget.used_up(ids) or len(ids) == reasoning + answer:
            break
    return written(ids).strip()


def test_the_answer_has_its_own_limit_after_the_reasoning() -> None:
    assert kept("<think> a b </think> 1 2 3 4 5 6") == "<think> a b </think> 1 2 3 4"
    assert kept("a b </think> 1 2 3 4 5 6", prompt="Q<think>\n") == "a b </think> 1 2 3 4"


def test_reasoning_without_an_end_is_cut_off_at_its_budget() -> None:
    assert kept("<think> a b c d e f g h i j") == "<think> a b c d e f g"
    assert kept("a b c d e f g h i j", prompt="Q<think>\n") == "a b c d e f g h"


def test_an_answer_without_reasoning_has_the_answers_limit() -> None:
    assert kept("1 2 3 4 5 6 7 8 9") == "1 2 3 4"
    assert kept("1 2 3 4 5 6 7 8 9", prompt="Q<think>\n\n</think>\n\n") == "1 2 3 4"
    assert kept("the <think> tag 4 5 6") == "the <think> tag 4"


def test_a_tag_of_several_tokens_is_recognised() -> None:
    assert kept("<think>ab</think>1234567", reasoning=30, unit="") == "<think>ab</think>1234"
    assert kept("[THINK]ab[/THINK]1234567", reasoning=30, unit="") == "[THINK]ab[/THINK]1234"
    assert kept("<thin", reasoning=30, answer=3, unit="") == "<thin"
    assert kept("<box>12", reasoning=30, answer=3, unit="") == "<box>"


def test_a_budget_smaller_than_the_answers_limit() -> None:
    assert kept("<think> a b c d e f", reasoning=3, answer=6) == "<think> a b"
    assert kept("1 2 3 4 5 6 7 8", reasoning=3, answer=6) == "1 2 3 4 5 6"


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_engine_counts_reasoning_and_answer_apart(deterministic: bool) -> None:
    _, model, installed = put("qwen2_5_vl", "mrope")
    item = replace(PROMPTS[0], max_new_tokens=40, prompt="Q<think>\n", reasoning_tokens=30)

    def answered(text: Any) -> tuple[int, str]:
        decoder = new("qwen2_5_vl", model, installed, deterministic=deterministic)
        decoder.text = text
        ((_, found),) = generate_all(decoder, [PrefixGroup((item,), item.prefix)])
        return len(found.token_ids), found.finish_reason

    assert answered(lambda ids: " word" * len(ids)) == (30, "length"), "it was still reasoning"
    # A text whose fifth token ends the reasoning.
    assert answered(lambda ids: "</think>" if len(ids) in (1, 5) else " word") == (15, "length")
