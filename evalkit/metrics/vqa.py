"""VQA accuracy: TextVQA's metric."""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalkit.metrics.base import Answer, Score, TextMetric, mean, text_references

_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't
    must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've
    somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
    something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
    they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll
    y'all'd've you'd you'd've you'll you're you've
""".split()  # noqa: SIM905 - a list would take a line for each
# A contraction is known with one of its apostrophes left out; one entry is official but the wrong way round.
_RESTORED = {
    full[:place] + full[place + 1 :]: full
    for full in _CONTRACTIONS
    for place, character in enumerate(full)
    if character == "'"
} | {"somebody'd": "somebodyd"}
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(_WORDS)}}
_ARTICLES = ("a", "an", "the")
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_FULL_STOP = re.compile(r"\.(?!\d)")
# The official script passes a flag where the number of replacements belongs.
_FULL_STOPS = int(re.UNICODE)


@dataclass(frozen=True)
class VqaAccuracy(TextMetric):
    """The soft accuracy of the VQA challenges, as EvalAI computes it for TextVQA.

    Prediction and answers are normalised (case, punctuation, articles, number words,
    contractions; mmf's ``m4c_evaluators.py``, commit b0ffc7f). The score is the mean, over each
    person left out in turn, of ``min(1, others who said the same / 3)``.

    >>> answers = ["a stop sign"] * 3 + ["halt"] * 7
    >>> round(VqaAccuracy().score(Answer("Stop sign!", answers)).value, 6)
    0.9
    """

    name: str = "vqa_acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer against the texts that people gave (ten of them in TextVQA).

        Raises:
            ValueError: the reference is neither a text nor a list of texts.
        """
        given = normalise(answer.prediction)
        same = [normalise(text) == given for text in text_references(answer.reference)]
        shares = [min(1.0, (sum(same) - own) / 3) for own in same] if any(same) else [0.0]
        return Score(mean(shares), parsed=given)


def normalise(text: str) -> str:
    """The form in which EvalAI compares answers.

    >>> normalise("The two dogs' names, isnt it?")
    "2 dogs' names isn't it"
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    written = text
    for mark in _MARKS:
        # A mark beside a space is dropped, one within a word becomes a space.
        beside = f"{mark} " in written or f" {mark}" in written
        text = text.replace(mark, "" if beside else " ")
    text = _FULL_STOP.sub("", text, count=_FULL_STOPS)
    words = [_DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(_RESTORED.get(word, word) for word in words if word not in _ARTICLES)
