"""The rules that read an option's letter out of free text, in the order in which they are tried.

An explicit statement beats everything weaker, and statements that contradict each other choose nothing
unless the last one is a conclusion. ``docs/reading.md`` lists the rules with their examples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from evalkit.metrics.choice_context import ChoiceText
from evalkit.metrics.choice_phrases import (
    ADVERBS,
    ANSWER_IS,
    ANSWER_IS_BEFORE,
    CHOOSE_BEFORE,
    CLAUSE_ENDS,
    CORRECTS_BEFORE,
    FINAL,
    IF_BEFORE,
    IS_RIGHT_AFTER,
    IT_IS_BEFORE,
    OF_OTHERS,
    ONLY_BEFORE,
    SO_BEFORE,
    SUITS_AFTER,
    SUPPOSED,
)
from evalkit.metrics.choice_statement import Rule, Statement, names_another, of_option, option_at
from evalkit.metrics.choice_text import NOUN, OPTION_NOUN, Mention, comparable


def _say(answer: ChoiceText, mention: Mention, rule: str, weight: int = 0) -> Statement:
    letter = None if answer.several(mention) else answer.option_of(mention)
    return Statement(letter, mention.start, rule, weight)


def _supposed(answer: ChoiceText, mention: Mention) -> bool:
    """Whether a letter stands in a condition ("if A is right", "the answer would be A if") or a question."""
    before = answer.before(mention)
    end = answer.sentence_end(mention.end)
    if answer.text[end : end + 1] == "?" and answer.text[end + 1 :].strip():
        return True
    return IF_BEFORE.search(before) is not None or SUPPOSED.search(before + answer.after(mention)) is not None


def _before(answer: ChoiceText, mention: Mention, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """What stands right before a mention, with no other letter in between."""
    start = max(0, mention.start - 200)
    found = pattern.search(answer.text[start : mention.start])
    return found if found and not answer.between(start + found.start(), mention.start) else None


_LETTER_ALONE = re.compile(
    rf"[\s(\[{{⟦\"']*(?:(?:{NOUN})\s*:?\s*)?[(\[{{⟦]*[A-Za-z][)\]}}⟧]*(?:选项|選項|项|項)?[\s.,:;!?)\]}}⟧\"'。]*",
    re.IGNORECASE,
)


def _whole(answer: ChoiceText) -> Iterator[Statement]:
    letter = (
        of_option(answer, answer.text) if "\n" not in answer.text.strip() or len(answer.text) < 4 else None
    )
    spelled = _LETTER_ALONE.fullmatch(answer.text)
    exact = [letter for letter, own in answer.texts.items() if own == comparable(answer.text)]
    spaced = re.fullmatch(r"[(\[]?([A-Z])[)\]]?\s+(.+)", answer.text)
    with_text = spaced is not None and comparable(spaced[2]) == answer.texts.get(spaced[1])
    if letter and (spelled or with_text or len(exact) == 1):
        yield Statement(letter, 0, "whole", 4)


_KEY = (
    r"(?:final[_ ]?answer|correct[_ ]?(?:answer|option|choice)|answer|choice|option|selected[_ ]?option|"
    r"selection|prediction|答案|选项)"
)
_FIELD = re.compile(rf"[\"']{_KEY}[\"']\s*:\s*(\"(?:[^\"\\]|\\.)*\"|'[^']*'|\[[^\[\]]*\])", re.IGNORECASE)


def _json(answer: ChoiceText) -> Iterator[Statement]:
    for found in _FIELD.finditer(answer.raw):
        value = found[1]
        if value.startswith('"'):
            try:
                value = json.loads(value)
            except ValueError:
                value = value.strip('"')
        items = re.findall(r"\"[^\"]*\"|'[^']*'", value) if value.startswith("[") else [value]
        letter = of_option(answer, items[0].strip("'\" ")) if len(items) == 1 else None
        yield Statement(letter, len(answer.text) + found.start(), "json", 3)


def _boxed(answer: ChoiceText) -> Iterator[Statement]:
    for found in re.finditer(r"⟦([^⟦⟧]*)⟧", answer.text):
        letter = of_option(answer, found[1])
        listed = re.fullmatch(r"\s*[A-Z](?:\s*(?:,|and|or|/|&|、)\s*[A-Z])+\s*", found[1])
        if letter or listed:
            spelled = letter in {mention.letter for mention in answer.within(found.start(), found.end())}
            yield Statement(letter, found.start(), "boxed", 2 if spelled or listed else 0)


def _answer_is(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.usable:
        found = _before(answer, mention, ANSWER_IS_BEFORE)
        if found and not OF_OTHERS.search(found[0]) and not _supposed(answer, mention):
            if "\n" in found[0] and _listing(answer, mention):
                continue
            yield _say(answer, mention, "answer_is", 1 if FINAL.search(answer.before(mention)) else 0)


def _answer_is_text(answer: ChoiceText) -> Iterator[Statement]:
    for found in ANSWER_IS.finditer(answer.text):
        after = ADVERBS.match(answer.text, found.end())
        places = {found.end(), after.end() if after else found.end()}
        letters = {letter for place in places if (letter := option_at(answer, place))}
        inside = answer.between(found.start(), found.end()) or OF_OTHERS.search(found[0])
        if len(letters) == 1 and not inside:
            yield Statement(letters.pop(), found.end(), "answer_is_text", 1 if FINAL.search(found[0]) else 0)


def _chosen(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.usable:
        if _before(answer, mention, CHOOSE_BEFORE) and not _supposed(answer, mention):
            yield _say(answer, mention, "chosen")


def _it_is(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.usable:
        ends = CLAUSE_ENDS.match(answer.text, mention.end) is not None
        if (ends or mention.bracketed) and not answer.contrasted(mention) and not answer.refused(mention):
            if _before(answer, mention, IT_IS_BEFORE):
                yield _say(answer, mention, "it_is")
            elif _before(answer, mention, SO_BEFORE):
                yield _say(answer, mention, "it_is", 1)


def _is_right(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.usable:
        found = (
            None
            if mention.small or mention.letter not in answer.letters
            else IS_RIGHT_AFTER.match(answer.text, mention.end)
        )
        if mention.letter in answer.letters and _before(answer, mention, ONLY_BEFORE):
            found = found or SUITS_AFTER.match(answer.text, mention.end)
        if not found or answer.between(mention.end, found.end()):
            continue
        if found.groupdict().get("verdict") and answer.options_are_verdicts:
            continue
        if not _supposed(answer, mention) and not answer.contrasted(mention):
            yield _say(answer, mention, "is_right")


def _corrected(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.usable:
        ends = mention.bracketed or CLAUSE_ENDS.match(answer.text, mention.end)
        if ends and _before(answer, mention, CORRECTS_BEFORE) and not _supposed(answer, mention):
            yield _say(answer, mention, "corrected")


def _heading(answer: ChoiceText, first: Mention) -> bool:
    """Whether "A:" may stand for "Answer:": another option's text follows, and not its own."""
    rest = answer.text[first.end : first.end + 1000].casefold()
    named = {
        letter
        for letter, own in answer.texts.items()
        if len(own) > 1 and re.search(rf"\b{re.escape(own)}\b", rest)
    }
    return rest.startswith(":") and len(named) == 1 and answer.option_of(first) not in named


_AFTER_LEADING = re.compile(
    r"[ \t]*(?:[.):、,!。]|[-–—:](?=\s)|\n|$|\b(?:because|since|as|for|rather|instead|not|over|due|based|"
    r"given)\b|"
    r"(?:The|This|It|In|There|Because|Since|Explanation|Reason)\b)"
)
_PREDICATE = re.compile(
    r"[)\].:]?\s+(?:is|are|was|shows|has|does|did|would|could|can|cannot|looks|seems|appears|only)\b"
)


def _leading(answer: ChoiceText) -> Iterator[Statement]:
    first = next((mention for mention in answer.mentions if not mention.small), None)
    small = re.match(r"([a-z])[.):](?=\s)|\(([a-z])\)", answer.text)
    if small and (small[1] or small[2]).upper() in answer.letters and first is None:
        yield Statement((small[1] or small[2]).upper(), 0, "leading")
    if first is None or first in answer.rejected or not _opens(answer, first):
        return
    rest = answer.text[first.end :]
    # "(B) shows ..." describes an option.
    marked = (first.bracketed and not _PREDICATE.match(rest)) or _AFTER_LEADING.match(rest)
    if marked and not _listing(answer, first):
        several = names_another(answer, first.letter, rest.lstrip(" ):.").strip()) or _heading(answer, first)
        several = (
            several
            or len({each.letter for each in answer.usable if _alone(answer, each)} | {first.letter}) > 1
        )
        yield Statement(None, 0, "leading") if several else _say(answer, first, "leading")


def _alone(answer: ChoiceText, mention: Mention) -> bool:
    """Whether a line holds nothing but this letter."""
    ends = re.match(r"[ \t]*[.)]?[ \t]*(?:\n|$)", answer.text[mention.end : mention.end + 9])
    return ends is not None and answer.begins_line(mention) and not mention.small


def _opens(answer: ChoiceText, first: Mention) -> bool:
    """Whether the text begins with a letter, maybe after "option"; after "point" if its line ends there."""
    before = re.sub(r"^\W+|(?<!\W)\W+$", "", answer.text[: first.start])
    if before and first.thing:
        return (
            before.lower() == first.noun.lower()
            and re.match(r"[ \t]*\.?[ \t]*(?:\n|$)", answer.text[first.end :]) is not None
        )
    return not before or re.fullmatch(rf"(?:the\s+)?(?:{OPTION_NOUN})", before, re.IGNORECASE) is not None


def _listing(answer: ChoiceText, first: Mention) -> bool:
    """Whether the options are listed: several letters begin lines, or follow as in ``A: red, B: blue``."""
    text, against = answer.text, answer.rejected
    if re.match(r"[ \t]*[.)]?[ \t]*(?:\n|$)", text[first.end :]):
        return False
    noun = (
        rf"(?:{OPTION_NOUN})\s+"
        if first.noun and not first.thing and not CLAUSE_ENDS.match(text, first.end)
        else ""
    )
    marks = [
        mention
        for mention in answer.mentions
        if not mention.small and mention not in against and mention != first
        if mention.letter != first.letter
        and not _PREDICATE.match(text, mention.end)
        and (mention.bracketed or re.match(r"[.):]\s", text[mention.end : mention.end + 2]))
    ]
    line = [mention for mention in marks if answer.begins_line(mention)]
    inline = [
        mention
        for mention in marks
        if re.search(
            rf"[,;.]\s*(?:and\s+|or\s+)?{noun}$", text[max(0, mention.start - 24) : mention.start], re.I
        )
    ]
    ends = text.find("\n", first.end)
    same_line = [mention for mention in inline if ends < 0 or mention.start <= ends]
    return bool(line) or bool(same_line and same_line[0].bracketed == first.bracketed)


STATEMENTS: Sequence[Rule] = (
    Rule(
        "whole",
        "the whole text is an option: its letter (with its brackets, its noun) or exactly its text",
        _whole,
        (
            ("B", "B"),
            ("(b)", "B"),
            ("**Option B**", "B"),
            ("$\\boxed{B}$", "B"),
            ("blue", "B"),
            ("Ｂ", "B"),
            ("E", None),
        ),
    ),
    Rule(
        "json",
        'a JSON field "answer" (or choice, option, final_answer, ...)',
        _json,
        (
            ('```json\n{"reason": "A is dark", "answer": "B"}\n```', "B"),
            ('{"answer": "(B) blue"}', "B"),
            ('{"answer": "A or B"}', None),
        ),
    ),
    Rule(
        "boxed",
        r"what stands in \boxed{}: an option's letter, its text, or both",
        _boxed,
        (
            ("(A) is wrong. \\boxed{\\mathrm{B}}", "B"),
            ("$\\boxed{\\text{(B) blue}}$ since A is red", "B"),
            ("\\boxed{blue} and not A", "B"),
        ),
    ),
    Rule(
        "answer_is",
        'a letter after "the answer is", "correct option:", "the best choice to ... would be", 答案是',
        _answer_is,
        (
            ("A man walks past. The answer is B.", "B"),
            ("My answer: B, C being a distractor.", "B"),
            (
                "The correct choice to complete the first image would be:\n\n(B) the third image. A differs.",
                "B",
            ),
            ("答案是B。", "B"),
            ("The answer is A or B.", None),
            ("The answer is A. The answer is B.", None),
            ("The answer is A. Wait, no. The answer is B.", "B"),
        ),
    ),
    Rule(
        "answer_is_text",
        'an option\'s text after "the answer is"',
        _answer_is_text,
        (("The answer is blue, not red.", "B"), ("Answer: blue. Point A is red.", "B")),
    ),
    Rule(
        "chosen",
        'a letter after "I choose", "I would go with", 选',
        _chosen,
        (("A: red, B: blue. I'd go with B", "B"), ("选 B", "B")),
    ),
    Rule(
        "is_right",
        'a letter of which is said that it is correct, the answer, the best; "B best describes", B是正确的',
        _is_right,
        (
            ("Option B is correct because A and C are not shown.", "B"),
            ("B is the right ventricle, A the left.", None),
            ("Option A: No. Option B: No. Option C: Yes. Option D: No.", "C"),
            ("A) ✗\nB) ✓\nC) ✗\nD) ✗", "B"),
        ),
    ),
    Rule(
        "it_is",
        'a letter after "it is", "that must be", "so", "therefore", where the clause ends after it',
        _it_is,
        (
            ("A dog is there, so B", "B"),
            ("Therefore, (B) the sky, as A is red", "B"),
            ("It's B.", "B"),
            ("I'd say (B) since (A) is too dark.", "B"),
        ),
    ),
    Rule(
        "corrected",
        'a letter after "wait, actually", "hmm, no:", "correction", where the clause ends after it',
        _corrected,
        (
            ("It's B. Wait, actually A.", "A"),
            ("B. Hmm, no: C.", "C"),
            ("The answer is B. Wait, the arrow starts at A.", None),
        ),
    ),
    Rule(
        "leading",
        "a letter at the beginning: alone on its line, in brackets, or before a mark; no list of the options",
        _leading,
        (
            ("A\nThe arrow points to C.", "A"),
            ("B. Because the car in image A is red.", "B"),
            ("(B) and not (A)", "B"),
            ("B - it looks like the sea.", "B"),
            ("A. red\nB. blue", None),
            ("C. green is wrong.", None),
        ),
    ),
)
