"""Option letters: the rules' own examples, the golden corpus, and what must hold for any answer."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.metrics import letters, yes_no_reading
from evalkit.metrics.base import Answer, Score, Scored
from evalkit.metrics.blink import BlinkAccuracy
from evalkit.metrics.choice import MultipleChoice, extract_letter
from evalkit.metrics.choice_reading import read_choice
from evalkit.metrics.choice_rules import STATEMENTS
from evalkit.metrics.choice_statement import Rule
from evalkit.metrics.choice_text import AnswerText
from evalkit.metrics.choice_weak import WEAK
from evalkit.metrics.circular import CircularAccuracy
from evalkit.metrics.mmmu import MmmuAccuracy, with_random_choice
from evalkit.scoring.predictions import score_file

COLOURS = {"A": "red", "B": "blue", "C": "green", "D": "black"}
BOXES = {"A": "Box A", "B": "Box B"}
CORPUS = [
    json.loads(line) for line in (Path(__file__).parent / "corpora/letters.jsonl").read_text().splitlines()
]


def read(case: Mapping[str, Any]) -> str | None:
    return extract_letter(case["prediction"], case["options"], case.get("question", ""))


@pytest.mark.parametrize("case", CORPUS, ids=range(len(CORPUS)))
def test_golden_corpus(case: dict[str, Any]) -> None:
    assert read(case) == case["reading"], case["why"]


def test_the_corpus_has_every_form() -> None:
    assert len(CORPUS) >= 200
    assert len({json.dumps([case["prediction"], case["options"]]) for case in CORPUS}) >= len(CORPUS) - 5
    read_or_not = Counter(case["reading"] is None for case in CORPUS)
    assert read_or_not[True] > 50
    assert read_or_not[False] > 120
    assert all(case["why"] for case in CORPUS)


@pytest.mark.parametrize("rule", [*STATEMENTS, *WEAK], ids=lambda rule: rule.name)
def test_every_rule_has_examples_that_it_reads(rule: Rule) -> None:
    assert rule.examples
    assert rule.reads
    for text, letter in rule.examples:
        found = read_choice(text, COLOURS)
        assert found.letter == letter, text
        assert letter is None or found.rule == rule.name, text


def test_rules_have_names_of_their_own() -> None:
    names = [rule.name for rule in (*STATEMENTS, *WEAK)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A\nThe arrow points to the root.", "A"),
        ("B\nThe arrow points to the root.", "B"),
        ("B\nPoint A is farther away than C.", "B"),
        ("Option B is correct because A and C are not shown.", "B"),
        ("The answer should be B rather than A.", "B"),
        ("C. green is wrong. The answer is B.", "B"),
        ("(A) is wrong. \\boxed{\\mathrm{B}}", "B"),
        ("答案是B。", "B"),
        ("The label A shows the root", None),
    ],
)
def test_what_was_misread(text: str, letter: str | None) -> None:
    assert extract_letter(text, COLOURS) == letter


COMPARED = [
    "Box {x} more accurately encloses it, whereas Box {y} is too large.",
    "Box {x} more accurately localizes and encloses the pizza. It fits closely to its edges. Box {y}, on the "
    "other hand, is too small and does not encompass it.",
    "Box {x} more accurately encloses the cake in the image. Box {y} is drawn around a cup, while Box {x} "
    "tightly surrounds the cake.",
    "Box {x} more accurately localizes the train. In contrast, Box {y} only covers a small portion of it.",
    "While Box {y} is too large, Box {x} fits the dog more closely.",
    "Box {x} fits the object better than Box {y}.",
    "Box {x} closely follows the edges, whereas Box {y} includes some background.",
]
STATED = [
    "{x}\nThe arrow points to the leaf.",
    "{x}\n\n{y} would be the sun.",
    "The answer is {x}, not {y}.",
    "The answer is not {y}. It is {x}.",
    "I would choose {x} over {y}.",
    "({y}) is wrong. \\boxed{{{x}}}",
    "{x}. Label {y} marks the stem.",
    "Option {x} is correct because {y} and {z} are not shown.",
    "{y}, {z} and {w} are incorrect. The answer is {x}.",
    "We can rule out {y} and {z}, so {x}.",
    "Point {y} is on the left, point {z} on the right.\n\nTherefore, the correct choice is:\n({x}) Point {x}",
    "({y}) shows a sun.\n({z}) shows the sea.\n\nThe correct answer is ({x}).",
    '{{"reason": "{y} is too dark", "answer": "{x}"}}',
    "答案是{x}，不是{y}。",
    "{y}不正确，{x}正确。",
    "It could be {y}, but the answer is {x}.",
    "At first I thought the answer is {y}. Wait, the answer is {x}.",
    "**{x}.** Since {y} and {z} lie elsewhere.",
    "While {y} is plausible, {x} is the best answer.",
    "If it were dark, the answer would be {y}. As it isn't, the answer is {x}.",
]
UNREAD = [
    "The answer is {x} or {y}.",
    "{x} and {y}",
    "The answer is {x}. The answer is {y}.",
    "\\boxed{{{x}}} or \\boxed{{{y}}}",
    "{x}. red\n{y}. blue\n{z}. green",
    "{x} is wrong.",
    "The answer is not {x}.",
    "Neither {x} nor {y}.",
    "Label {x} marks the sun, label {y} the sea.",
    "It is impossible to tell whether {x} or {y} is closer.",
    "The label {x} shows the root",
    "Both {x} and {y} are correct.",
    "{x}: {y}",
]
LETTERS = "ABCD"


@given(template=st.sampled_from([*STATED, *COMPARED]), order=st.permutations(LETTERS))
def test_exchanging_letters_exchanges_the_reading(template: str, order: list[str]) -> None:
    """In text and options: which letter an option has decides nothing."""
    text = template.format(**dict(zip("xyzw", order, strict=True)))
    options = {letter: f"Box {letter}" for letter in LETTERS} if template in COMPARED else COLOURS
    moved = {
        order[place]: options[letter].replace(letter, order[place]) for place, letter in enumerate(LETTERS)
    }
    assert extract_letter(text, dict(sorted(moved.items()))) == order[0]
    assert extract_letter(text, {}) == order[0]


ALONE = re.compile(r"(?<![A-Za-z0-9_'°-])([A-D])(?![A-Za-z0-9_'-]|\\.[A-Z])")
ARTICLE = re.compile(r"(?<![A-Za-z])[AI] [a-z]")


def test_exchanging_letters_in_the_corpus_exchanges_its_readings() -> None:
    """But where the text begins with an article or a pronoun, or has letters in another writing."""
    for case in CORPUS:
        text, own = case["prediction"], sorted(case["options"])
        other = re.search(r"[Ａ-Ｚ]|(?<![a-z'])[a-d](?![a-z'])|^\{'", text)
        if set(own) - set(LETTERS) or ARTICLE.search(text) or other:
            continue
        for order in itertools.permutations(own):
            moved = {**dict(zip(LETTERS, LETTERS, strict=True)), **dict(zip(own, order, strict=True))}
            turned = ALONE.sub(lambda found, moved=moved: moved[found[1]], text)
            options = {
                moved[letter]: ALONE.sub(lambda found, moved=moved: moved[found[1]], shown)
                for letter, shown in case["options"].items()
            }
            found = extract_letter(turned, dict(sorted(options.items())), case.get("question", ""))
            assert found == moved.get(case["reading"], case["reading"]), turned


@given(template=st.sampled_from(UNREAD), order=st.permutations(LETTERS))
def test_what_is_uncertain_is_unread_whatever_the_letters(template: str, order: list[str]) -> None:
    text = template.format(**dict(zip("xyzw", order, strict=True)))
    assert extract_letter(text, dict.fromkeys(LETTERS, "something else")) is None


# What models put around letters; any text of these pieces keeps its meaning when letters are exchanged.
PIECES = st.sampled_from(
    [
        "The answer is {x}.",
        "{x} is wrong.",
        "not {x}",
        "({x})",
        "\n{x}. ",
        "so {x}.",
        "whereas {x} is too large",
        "option {x}",
        "Point {x} is closer.",
        "{x} or {y}",
        "{x}, {y} and {z}",
        "**{x}**",
        "\\boxed{{{y}}}",
        "because",
        "\n\n",
        "I cannot tell.",
        "rather than {z}",
        "Actually,",
        "正确答案是{x}",
    ]
)


@given(pieces=st.lists(PIECES, min_size=1, max_size=6), order=st.permutations(LETTERS))
def test_any_text_of_such_pieces_is_symmetric(pieces: list[str], order: list[str]) -> None:
    text = "; ".join(pieces)
    shown = {letter: f"option text {number}" for number, letter in enumerate(LETTERS)}
    moved = {new: shown[old] for old, new in zip(LETTERS, order, strict=True)}
    was = read_choice(text.format(**dict(zip("xyz", LETTERS, strict=False))), shown)
    now = read_choice(text.format(**dict(zip("xyz", order, strict=False))), dict(sorted(moved.items())))
    exchanged = dict(zip(LETTERS, order, strict=True))
    assert now.letter == (was.letter and exchanged[was.letter])
    assert now.rule == was.rule


@given(
    noun=st.sampled_from(["dog", "man", "red car", "closer look", "bus", "glass"]),
    letter=st.sampled_from("BCD"),
)
def test_an_article_chooses_nothing_and_hides_no_statement(noun: str, letter: str) -> None:
    assert extract_letter(f"A {noun} can be seen.", {}) is None
    assert extract_letter(f"A {noun} can be seen. The answer is {letter}.", {}) == letter
    assert extract_letter(f"The answer is A.\nA {noun} can be seen.", {}) == "A"
    assert extract_letter(f"A\nA {noun} can be seen.", {}) == "A"


def test_mentions_are_letters_and_no_words() -> None:
    text = AnswerText("A dog, I think; (b), U.S., B-52, 5°C, vitamin-C, A's, Réponse, D.", COLOURS)
    assert [mention.letter for mention in text.mentions] == ["B", "D"]


def test_full_width_letters_and_letters_beyond_d_are_read() -> None:
    options = {letter: f"thing {letter}" for letter in "ABCDEFGH"}
    assert extract_letter("Ｇ", options) == "G"
    assert extract_letter("（Ｈ）", options) == "H"
    assert extract_letter("The answer is G.", COLOURS) is None
    assert extract_letter("The answer is G. The sea is blue.", COLOURS) is None


def test_option_texts_that_are_letters_or_name_them() -> None:
    turned = {"A": "Point B", "B": "Point A"}
    assert extract_letter("Point B", turned) == "A"
    assert extract_letter("The answer is point B.", turned) == "A"
    assert extract_letter("(B) Point A", turned) == "B"
    other = {"A": "F", "B": "G", "C": "H"}
    assert extract_letter("The root is labeled G.", other) == "B"
    assert extract_letter("The answer is both A and B.", {"A": "x", "B": "y", "C": "Both A and B"}) == "C"


def test_a_comparison_must_be_what_the_question_asks() -> None:
    options = {"A": "A", "B": "B"}
    text = "Point {} is farther from the camera."
    for letter in "AB":
        asked = extract_letter(text.format(letter), options, "Which point is farther from the camera?")
        assert asked == letter
        assert extract_letter(text.format(letter), options, "Which point is closer to the camera?") is None


def test_the_rule_is_stored_with_the_score() -> None:
    score = MultipleChoice().score(Answer("The answer is (B).", "B", options=COLOURS))
    assert (score.rule, score.parsed) == ("answer_is", "B")
    assert Score(**json.loads(json.dumps(asdict(score)))) == score
    before = {"value": 1.0, "parsed": "B", "parse_error": None, "detail": {}}
    assert Score(**before).rule is None  # type: ignore[arg-type]
    assert MultipleChoice().score(Answer("no idea", "B", options=COLOURS)).rule is None
    assert MultipleChoice(letters.mmstar).score(Answer("b", "B")).rule == "mmstar"
    assert BlinkAccuracy().score(Answer("(B)", "(B)", options=BOXES)).rule == "blink"
    compared = COMPARED[0].format(x="A", y="B")
    assert BlinkAccuracy().score(Answer(compared, "(A)", options=BOXES)).rule == "compared"
    assert BlinkAccuracy().score(Answer(compared, "(A)")).parsed == "A"
    groups = {"circular_group": "1"}
    assert CircularAccuracy().score(Answer("B", "B", options=COLOURS, groups=groups)).rule == "mmbench"
    assert MmmuAccuracy().score(Answer("B", "B", options=COLOURS)).rule == "mmmu"


@pytest.mark.parametrize(
    ("read", "text", "official", "ours"),
    [
        (letters.video_mme, "Best answer: D", "B", "D"),
        (letters.video_mme, "A person walks, so the answer is C", "A", "C"),
        (letters.mmstar, "(A) is wrong. The answer is B.", "A", "B"),
        (letters.mmstar, "Based on the picture, it is hot.", "B", None),
        (letters.lvbench, "C is wrong, the answer is (A", "A", None),
    ],
)
def test_an_official_reading_that_the_answer_contradicts_counts_as_a_parse_failure(
    read: Any, text: str, official: str, ours: str | None
) -> None:
    """It still decides the score, as officially."""
    score = MultipleChoice(read, answered=True).score(Answer(text, official, options=COLOURS))
    assert (score.value, score.parsed) == (1.0, official)
    assert score.parse_error or ours is None
    if ours:
        assert ours in str(score.parse_error)


def test_a_doubted_official_reading_changes_no_official_figure() -> None:
    metric = MultipleChoice(letters.video_mme, answered=True)
    scores = [metric.score(Answer(text, "B", options=COLOURS)) for text in ("Best answer: D", "B", "none")]
    figures = metric.summarise([Scored(score) for score in scores])
    assert (figures["acc"], figures["official_acc"]) == (2 / 3, 1.0)
    answer = Answer("(B) is wrong. The answer is A.", "B", options=COLOURS)
    score = MmmuAccuracy().score(answer)
    assert score.parse_error
    assert with_random_choice([answer], [score], 0) == [score]


MMBENCH = {"A": "a dog", "B": "a cat", "C": "a horse"}
LONG = " It stands in front of the house, where the sun shines and no tree can be seen from here."


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (f"The answer is **B**.{LONG}", "B"),
        (f"The correct answer is C because of its size.{LONG}", "C"),
        (f"the ANSWER IS b.{LONG}", "B"),
        (f"The answer is B, as A is a dog.{LONG}", "B"),
        (f"The answer is (B).{LONG}", None),  # no bracket is foreseen
        (f"The answer is D.{LONG}", None),  # not among the options
        (
            f"The answer is about the horse.{LONG}",
            "A",
        ),  # odd, but official: nothing need end after the letter
        ("Sorry, I can't help with images of people yet. The answer is B", "Z"),
        ("Failed to obtain answer via API: the answer is B", None),
    ],
)
def test_mmbench_looks_for_answer_is_last(text: str, letter: str | None) -> None:
    assert letters.mmbench(text, MMBENCH) == letter


def test_shared_readings(shared: Path) -> None:
    """As `evalkit score` reads them; reasoning and its markup are another stage's."""
    path = shared / "readings/cases.jsonl"
    if not path.exists():
        pytest.skip("the shared folder has no readings")
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    judged = [case for case in cases if case["kind"] == "mcq" and not re.search(r"<\w+>", case["prediction"])]
    assert len(judged) >= 15
    wrong = [case["prediction"] for case in judged if read(case) != case["reference"]]
    assert wrong == []


def test_shared_readings_are_scored_right(shared: Path, tmp_path: Path) -> None:
    path = shared / "readings/cases.jsonl"
    if not path.exists():
        pytest.skip("the shared folder has no readings")
    lines = [line for line in path.read_text().splitlines() if json.loads(line)["kind"] == "mcq"]
    (tmp_path / "cases.jsonl").write_text("\n".join(lines))
    assert score_file(tmp_path / "cases.jsonl")["ai2d"]["scores"]["acc"] == 1


def test_real_answers_of_a_model_are_read_as_a_language_model_reads_them(shared: Path) -> None:
    """Bard's 540 answers to MathVista's multiple-choice questions, with the extraction that was published."""
    lines = (shared / "parity/mathvista_testmini-bard/cases.jsonl").read_text().splitlines()
    found: Counter[str] = Counter()
    for case in filter(lambda case: case.get("options"), map(json.loads, lines)):
        given_text, options = case["prediction"].strip(), case["options"]
        same = [letter for letter, text in options.items() if text.strip().lower() == given_text.lower()]
        bare = re.sub(r"[()]", "", given_text)
        expected = bare if bare in options else same[0] if len(same) == 1 else None
        letter = extract_letter(case["full_response"], options, case["question"])
        found["same" if letter == expected else "unread" if letter is None else "other"] += 1
    assert found.total() == 540
    assert found["same"] >= 528
    assert found["other"] <= 6


def test_the_documentation_lists_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs/reading.md").read_text()
    rules = [rule.name for rule in (*STATEMENTS, *WEAK)] + [
        rule.name for rule in (*yes_no_reading.STATEMENTS, *yes_no_reading.WEAK)
    ]
    assert [name for name in rules if f"| `{name}` |" not in page] == []
