"""TempCompass: three question formats, judged by the official matching rules alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.metrics.base import Answer, MeanMetric, Score, Scored, mean, mean_with_breakdown
from evalkit.metrics.choice_reading import contradiction
from evalkit.metrics.yes_no_reading import read_yes_no

FORMATS = ("multi-choice", "yes_no", "caption_matching")


@dataclass(frozen=True)
class TempCompassAccuracy(MeanMetric):
    """Accuracy by the official rules (``eval_*.py`` with ``--disable_llm``, commit e1b4631).

    What the rules can't match is wrong and a parse failure; the official scripts can ask ChatGPT
    then. A parse failure is also what they match though the answer says something else. The group ``task``
    names the format; the reference is the full text of the right answer.

    >>> groups = {"task": "multi-choice"}
    >>> TempCompassAccuracy().score(Answer("B. up", "B. upwards", groups=groups)).value
    1.0
    """

    name: str = "acc"

    def score(self, answer: Answer) -> Score:
        """Judge one answer.

        Raises:
            ValueError: the format is unknown, or the reference is not of its form.
        """
        kind, right = answer.groups.get("task"), answer.reference
        if kind not in FORMATS:
            raise ValueError(f"the group `task` must be one of {', '.join(FORMATS)}, not {kind!r}")
        if not isinstance(right, str) or (kind == "caption_matching" and ": " not in right) or not right:
            raise ValueError(f"the reference must be an answer's full text, not {right!r}")
        text = answer.prediction.replace("</s>", "").strip()
        if kind == "multi-choice":
            said, accepted = _choice(text, right)
        elif kind == "yes_no":
            said, accepted = _yes_no(text), (right,)
        else:
            name, sentence = right.split(": ")[:2]
            said, accepted = _caption(text, answer.question), (right, name, name.split(" ")[-1], sentence)
        if said is None:
            return Score(0.0, parse_error="the official rules match no answer")
        return Score(float(said in accepted), said, _doubt(kind, answer, text, said), rule="tempcompass")

    def check(self, answer: Answer) -> None:
        """See :class:`~evalkit.metrics.base.ReferenceCheck`."""
        kind, right = answer.groups.get("task"), str(answer.reference)
        if kind == "multi-choice" and right[:1] not in tuple("ABCD"):
            raise ValueError(f"the right answer must begin with its letter, A to D, not {right!r}")
        if kind == "yes_no" and right not in ("yes", "no"):
            raise ValueError(f"the right answer must be yes or no, not {right!r}")
        lines = [line.strip() for line in answer.question.split("\n")[1:]]
        if kind != "yes_no" and right.strip() not in lines:
            raise ValueError(f"the right answer {right!r} is none of the lines of its question")

    def summarise(self, items: Sequence[Scored]) -> dict[str, float]:
        """``acc`` with its breakdown; ``official_acc`` over the answers that a rule matches, with its
        own; and ``match_rate``, the share of these.
        """
        known = [item for item in items if item.score.value is not None]
        matched = [item for item in known if item.score.parsed is not None]
        rate = mean([float(item.score.parsed is not None) for item in known])
        return {
            **mean_with_breakdown(self.name, items),
            **mean_with_breakdown("official_acc", matched),
            "match_rate": rate,
        }


def _doubt(kind: str, answer: Answer, text: str, said: str) -> str | None:
    """Why what a rule matches is in doubt: "Not sure" begins like no, "Based on" like B."""
    if kind == "multi-choice" and len(said) == 1:
        return contradiction(answer, said)
    ours = read_yes_no(text) if kind == "yes_no" else None
    if ours and ours.said != said:
        return f"the official rule reads {said}, the answer {ours.said or 'nothing that can be read'}"
    return None


def _choice(text: str, right: str) -> tuple[str | None, tuple[str, ...]]:
    if text == right:
        return right, (right,)
    letter = text[:1] if text in tuple("ABCD") or text[1:2] in (".", ")") else ""
    return (letter if letter in tuple("ABCD") else None), (right[0],)


def _yes_no(text: str) -> str | None:
    return next((word for word in ("yes", "no") if text.lower().startswith(word)), None)


def _caption(text: str, question: str) -> str | None:
    """The option that a text gives in full, by its sentence, or by its name ("Caption A", "A")."""
    options = question.split("\n")[1:]
    names = [option.split(": ")[0] for option in options]
    names += [name.split(" ")[-1] for name in names]
    sentences = [option.split(": ")[1] for option in options if ": " in option]
    bare = text.split(") ")[1] if ") " in text else text
    # Of several readings the official loops keep the last.
    readings = ((names, (text, text.replace(".", ""))), (sentences, (text, bare)), (options, (text,)))
    for candidates, forms in readings:
        found = [option for option in candidates if option in forms]
        if found:
            return found[-1]
    return None
