"""Yes or no: the rules' own examples, the golden corpus, and the benchmarks that ask so."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics.base import Answer, Scored
from evalkit.metrics.choice_statement import Rule
from evalkit.metrics.hallusion import LINKS, HallusionAccuracy
from evalkit.metrics.tempcompass import TempCompassAccuracy
from evalkit.metrics.yes_no import PopeAccuracy
from evalkit.metrics.yes_no_reading import STATEMENTS, WEAK, read_yes_no

CORPUS = [
    json.loads(line) for line in (Path(__file__).parent / "corpora/yes_no.jsonl").read_text().splitlines()
]
FIGURE = {**dict.fromkeys(LINKS, "1"), "category": "VD", "subcategory": "chart"}


@pytest.mark.parametrize("case", CORPUS, ids=range(len(CORPUS)))
def test_golden_corpus(case: dict[str, Any]) -> None:
    assert read_yes_no(case["prediction"]).said == case["reading"], case["why"]


def test_the_corpus_has_every_form() -> None:
    found = Counter(case["reading"] for case in CORPUS)
    assert found.total() >= 130
    assert min(found["yes"], found["no"]) > 40
    assert found[None] > 30


@pytest.mark.parametrize("rule", [*STATEMENTS, *WEAK], ids=lambda rule: rule.name)
def test_every_rule_has_examples_that_it_reads(rule: Rule) -> None:
    assert rule.examples
    assert rule.reads
    for text, said in rule.examples:
        found = read_yes_no(text)
        assert found.said == said, text
        assert said is None or found.rule == rule.name, text


FORMS = st.sampled_from(
    [
        "{x}",
        "**{x}.** The light is on.",
        "{x}, it is. {y} would be wrong.",
        "The answer is {x}.",
        "The answer is {y}. Wait, actually the answer is {x}.",
        '{{"answer": "{x}"}}',
        "\\boxed{{{x}}}",
        "The light is on.\n\n{x}",
        "The light is on, so {x}.",
    ]
)


@given(
    form=FORMS, said=st.sampled_from(["yes", "no"]), style=st.sampled_from([str.lower, str.upper, str.title])
)
def test_exchanging_yes_and_no_exchanges_the_reading(form: str, said: str, style: Any) -> None:
    other = "no" if said == "yes" else "yes"
    assert read_yes_no(form.format(x=style(said), y=style(other))).said == said


@given(text=st.text() | st.text(alphabet="yesnoYESNO .,\n是不否\\boxed{}"))
def test_any_text_is_read_or_not(text: str) -> None:
    found = read_yes_no(text)
    assert found.said in ("yes", "no", None)
    assert (found.said is None) == (found.rule is None)


@pytest.mark.parametrize(
    ("text", "said", "clear"),
    [
        ("Yes.", "yes", True),
        ("No, there is none.", "no", True),
        ("Yes, there is no other dog.", "no", False),  # the first sentence has a "no"
        ("NO", "yes", False),
        ("不是", "yes", False),
        ("I am not sure.", "no", False),
        ("There isn't any car.", "yes", False),
        ("I'm sorry, I cannot determine that.", "yes", False),
    ],
)
def test_pope_counts_what_its_rule_misreads(text: str, said: str, clear: bool) -> None:
    """The official rule decides the score all the same."""
    score = PopeAccuracy().score(Answer(text, said))
    assert (score.value, score.parsed, score.rule) == (1.0, said, "pope")
    assert (score.parse_error is None) == clear


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Yes, there is no difference.", "yes"),
        ("No. Both circles are of one size, so yes would be wrong.", "no"),
        ("There is no way to tell.", None),
        ("The answer is no.", "no"),
        ("不是。", "no"),
        ("Yes and no.", None),
    ],
)
def test_hallusion_reads_verdicts(text: str, said: str | None) -> None:
    score = HallusionAccuracy().score(Answer(text, "yes", groups=FIGURE))
    assert score.parsed == said
    assert (score.rule is None) == (said is None)
    assert (score.parse_error is None) == (said is not None)


@pytest.mark.parametrize(
    ("kind", "right", "text", "clear"),
    [
        ("yes_no", "no", "No, it isn't.", True),
        ("yes_no", "no", "Not sure.", False),
        ("yes_no", "no", "None of them is seen.", False),
        ("yes_no", "yes", "Yesterday it rained.", False),
        ("multi-choice", "B. up", "B", True),
        ("multi-choice", "C. up", "C. up is wrong. The answer is B.", False),
    ],
)
def test_tempcompass_counts_what_its_rules_misread(kind: str, right: str, text: str, clear: bool) -> None:
    """The official figures stay: what a rule matches is matched, whatever it means."""
    metric = TempCompassAccuracy()
    score = metric.score(Answer(text, right, groups={"task": kind}))
    assert (score.value, score.rule) == (1.0, "tempcompass")
    assert (score.parse_error is None) == clear
    figures = metric.summarise([Scored(score, {"task": kind})])
    assert (figures["official_acc"], figures["match_rate"]) == (1.0, 1.0)
