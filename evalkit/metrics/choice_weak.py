"""The rules for an answer that states no choice: tried one by one, each must find just one option."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evalkit.metrics.choice_context import ChoiceText
from evalkit.metrics.choice_option_texts import LABEL_TEXT, LISTS, leading_text, option_text
from evalkit.metrics.choice_statement import Rule, Statement, of_option
from evalkit.metrics.choice_text import NOUN, Mention, comparable

_BETTER = (
    r"(?:best|better|most \w+|more (?:\w+ly|accurate|likely|precise|similar|suitable|appropriate|plausible|"
    r"consistent|"
    r"probable)|tighter|closest match|the (?:right|correct) (?:answer|choice|option|one|match))"
)
_MORE = (
    r"(?:darker|darkest|lighter|lightest|brighter|brightest|closer|closest|nearer|nearest|more \w+|larger|"
    r"largest|"
    r"bigger|biggest|taller|tallest|longer|longest|wider|widest|higher|highest|stronger|strongest|clearer|"
    r"greater|"
    r"greatest|warmer|hotter|faster|fastest|older|newer|thicker|heavier|heaviest|sharper|deeper|deepest|"
    r"earlier|first|"
    r"farther|farthest|further|furthest|smaller|smallest|shorter|shortest|lower|lowest|less \w+|least \w+|"
    r"worse|"
    r"worst|narrower|weaker|slower|slowest|thinner|fainter|younger|later|last|colder)"
)
# Where neither question nor options are known, only what is asked this way round.
_ASKED_FOR = re.compile(r"(?:closer|closest|nearer|nearest|darker|darkest|lighter|brighter)\b")
_VERB = (
    r"(?:is|are|was|were|looks|appears(?: to (?:be|have))?|seems(?: to (?:be|have))?|has|shows|would be|"
    r"does|provides|"
    r"gives|offers)"
)
_CAREFULLY = r"(?:closely|accurately|tightly|precisely|properly|correctly|perfectly|fully|completely)"
_COMPARED = re.compile(
    r"[)\]]?(?:\s*,[^,.;!?\n]{1,90},)?\s+(?:(?:in fact|also|thus|therefore|clearly)\s+)?"
    rf"(?:{_VERB}\s+(?:(?:\w+ly|the|a|an|much|far|located|one)\s+)*(?P<degree>{_BETTER}|{_MORE})\b|"
    rf"(?P<adverb>(?:{_BETTER}|{_CAREFULLY})\s+\w+)\b|"
    rf"\w+s\b[^.;,!?\n]{{1,60}}?\s(?P<after>(?:more|most) \w+ly|better|best)\b)",
    re.IGNORECASE,
)
_COMPARED_BEFORE = re.compile(
    rf"\b(?P<degree>{_BETTER}|{_MORE})\s+(?:\w+\s+){{0,4}}(?:is|are|would be|"
    rf"seems to be)\s+(?:the\s+)?(?:(?:{NOUN})\s+)?$",
    re.IGNORECASE,
)
_ENDS_CLAUSE = re.compile(r"\s*(?:[.!;:。\n]|,(?!\s*[A-Z]\b)|$)")
_STARTS = re.compile(
    r"[ \t]*(?:[.,:;!)\]。\n]|$|[-–—]\s|\b(?:because|since|as|is|was|for|based|due|seems|looks|appears|would|"
    r"shows?|has|it|\w+[^siu]s)\b)",
    re.IGNORECASE,
)


def _of_options(
    answer: ChoiceText, mentions: Iterator[Mention] | Sequence[Mention], rule: str
) -> Iterator[Statement]:
    for mention in mentions:
        letter = None if answer.several(mention) else answer.option_of(mention)
        yield Statement(letter, mention.start, rule)


# "(A) The first image shows ...": options are gone through one by one, and the text may end at any of them.
_GOES_THROUGH = re.compile(
    r"\b(?:each|every|options|choices|analy[sz]e|consider(?:ing)?|evaluate|examine|compare|look(?:ing)? at|"
    r"go (?:through|over)|let's|let us|following|first)\b|逐一|分析",
    re.IGNORECASE,
)
_DESCRIBED = re.compile(
    r"[)\].:]?\s+(?:(?:the|this|an?)\s+(?:\w+\s+){1,4})?(?:shows?|depicts?|features?|describes?|says|states|"
    r"suggests|illustrates?|"
    r"represents?|contains?|displays?|refers|mentions|is|was|has|would|could|does|might|may)\b",
    re.IGNORECASE,
)


_NEXT_LINE = re.compile(r"\n+[ \t]*")
_HEADS = re.compile(r"\s*[:：–—-]")
_LIST_HEAD = re.compile(r"\b(?:options|choices)\b[^.!?\n]{0,30}:\s*$", re.IGNORECASE)


def _introduced(answer: ChoiceText) -> Iterator[Statement]:
    before = re.compile(
        rf"(?::|\b(?:is|are|be|was|as|select|to|that):?)\s*(?:the\s+)?(?:(?:{NOUN})\s*:?\s*)?$", re.IGNORECASE
    )
    mentions = answer.plain
    for mention in mentions:
        head = answer.text[max(0, mention.start - 60) : mention.start]
        marked = mention.bracketed or re.match(r"[.):]\s", answer.text[mention.end : mention.end + 2])
        described = LISTS.search(answer.text[max(0, mention.start - 150) : mention.start])
        if marked and before.search(head) and not described and not _in_list(answer, mention, mentions):
            yield from _of_options(answer, [mention], "introduced")


def _in_list(answer: ChoiceText, mention: Mention, mentions: Sequence[Mention]) -> bool:
    """Whether another option begins one of the next lines, as in a list of all options."""
    line = answer.text.find("\n", mention.end)
    following = _NEXT_LINE.match(answer.text, line) if line >= 0 else None
    end = following.end() if following else -1
    return any(each.start == end and each.letter != mention.letter for each in mentions)


def _last_line(answer: ChoiceText) -> Iterator[Statement]:
    lines = [line.strip() for line in answer.text.split("\n") if line.strip()]
    if len(lines) < 2 or re.match(r"[(\[]?[A-Z][)\].:]\s", lines[-2]):
        return
    start = answer.text.rindex(lines[-1])
    if LISTS.search(answer.text[max(0, start - 150) : start]):
        return
    letter = of_option(answer, lines[-1])
    shown = [mention for mention in answer.plain if mention.start >= start]
    several = bool(shown) and answer.several(shown[0])
    if letter and (shown or letter in answer.texts) and len(lines[-1]) < 120 and not several:
        yield Statement(letter, start, "last_line")


def _compared(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.plain:
        found = _COMPARED.match(answer.text, mention.end)
        before = _COMPARED_BEFORE.search(answer.text[max(0, mention.start - 120) : mention.start])
        if found and not answer.between(mention.end, found.end()):
            degree = found["degree"] or found["adverb"] or found["after"]
        elif before:
            degree = before["degree"]
        else:
            continue
        if _answers(answer, degree.lower()):
            yield from _of_options(answer, [mention], "compared")


def _answers(answer: ChoiceText, degree: str) -> bool:
    """Whether a comparison is what was asked for: it evaluates, or the question or an option says so too."""
    if re.match(rf"{_BETTER}\b|{_CAREFULLY}", degree):
        return True
    asked = comparable(answer.question + " " + " ".join(answer.texts.values())).split()
    if any(word in asked for word in degree.split() if word not in ("more", "most", "less", "least", "the")):
        return True
    unknown = not answer.question and all(re.fullmatch(LABEL_TEXT, text) for text in answer.texts.values())
    return unknown and _ASKED_FOR.match(degree) is not None


def _compared_text(answer: ChoiceText) -> Iterator[Statement]:
    text = " ".join(answer.text.casefold().split())
    for letter, own in answer.texts.items():
        if own.casefold() not in text:  # a pattern for each option takes milliseconds to compile
            continue
        subject = rf"(?:^|[.!?;:]\s|(?:therefore|thus|so|hence),?\s|that\s|,\s)(?:the\s)?{re.escape(own)}"
        for found in re.finditer(rf"{subject}(?:\s\([a-z]\))?(?={_COMPARED.pattern})", text, re.IGNORECASE):
            compared = _COMPARED.match(text, found.end())
            degree = compared and (compared["degree"] or compared["adverb"] or compared["after"])
            if len(own) > 3 and degree and re.match(rf"{_BETTER}\b", degree, re.IGNORECASE):
                yield Statement(letter, found.start(), "compared_text")


def _named_option(answer: ChoiceText) -> Iterator[Statement]:
    named = [mention for mention in answer.plain if re.match("option|choice", mention.noun, re.IGNORECASE)]
    if any(_gone_through(answer, mention) for mention in named):
        return
    yield from _of_options(answer, named, "named_option")


def _bold(answer: ChoiceText) -> Iterator[Statement]:
    against = {mention.letter for mention in answer.rejected}
    for found in re.finditer(r"(?<![*_])(\*\*|__)(?=\S)([^*_\n]{1,120}?)\1", answer.raw):
        letter = of_option(answer, found[2].rstrip(" :"))
        heads = _HEADS.match(answer.raw, found.end()) or found[2].rstrip().endswith(":")
        if letter and not heads and letter not in against:
            yield Statement(letter, found.start(), "bold")


def _bracketed(answer: ChoiceText) -> Iterator[Statement]:
    for mention in answer.plain:
        before = answer.before(mention)
        begins = not before.strip() and _gone_through(answer, mention)
        if mention.bracketed and not begins and not _LIST_HEAD.search(before):
            yield from _of_options(answer, [mention], "bracketed")


def _gone_through(answer: ChoiceText, mention: Mention) -> bool:
    """Whether an option is described or looked at, as when all are gone through."""
    described = _DESCRIBED.match(answer.text, mention.end)
    return described is not None or _GOES_THROUGH.search(answer.before(mention)) is not None


def _bracketed_at_the_end(answer: ChoiceText) -> Iterator[Statement]:
    start = answer.text.rfind("\n\n")
    return (statement for statement in _bracketed(answer) if statement.place > start >= 0)


def _only_letter(answer: ChoiceText) -> Iterator[Statement]:
    mentions = answer.plain
    if (
        len({mention.letter for mention in answer.mentions if not mention.small} - answer.rejected_letters)
        != 1
    ):
        return
    for mention in mentions:
        ends = _ENDS_CLAUSE.match(answer.text, mention.end)
        starts = (
            mention.start < 10
            and not answer.text[: mention.start].strip(" \n\"'([")
            and _STARTS.match(answer.text, mention.end)
        )
        said = ends and _named_as(answer, mention)
        if said or ((ends or starts) and not _in_passing(answer, mention)):
            yield from _of_options(answer, [mention], "only_letter")


def _in_passing(answer: ChoiceText, mention: Mention) -> bool:
    """Whether a letter is a label, a place, an item of a list, or an option that is looked at."""
    marked = answer.text[mention.end : mention.end + 1] in tuple(".):")
    item = marked and mention.start > 10 and answer.begins_line(mention)
    looked_at = bool(mention.noun) and _gone_through(answer, mention)
    return item or looked_at or mention.thing or _placed(answer, mention)


def _named_as(answer: ChoiceText, mention: Mention) -> bool:
    """Whether a thing's letter is what an option says: "the best one is point C", "is labeled F" (no option's
    letter).
    """
    option = answer.option_of(mention)
    phrase = f"{mention.noun} {mention.letter}".lower() == answer.texts.get(option)
    is_it = re.search(rf"\bis\s+(?:the\s+)?{re.escape(mention.noun)}\s*$", answer.before(mention)) is not None
    return mention.letter not in answer.letters or (phrase and is_it)


def _placed(answer: ChoiceText, mention: Mention) -> bool:
    """Whether a letter names a place or a quantity: "at B", "angle of C", "5 A", "A = 3"."""
    before = re.search(
        r"(?:\b(?:labels?|markers?)\b[^.!?;\n]{0,60}\bis|\b(?:at|in|on|of|from|near|between|behind|above|"
        r"below|beside|under|by|into|toward|towards|through|and|vitamin|"
        r"hepatitis|type|class|grade|plan|section|team|group|angle|triangle|line|marked|labell?ed|called|"
        r"named)|[=+×∠△°\d])\s*$",
        answer.before(mention),
        re.IGNORECASE,
    )
    return not mention.bracketed and (
        before is not None or re.match(r"\s*[=+×≈<>^]", answer.after(mention)) is not None
    )


WEAK: Sequence[Rule] = (
    Rule(
        "introduced",
        'a marked letter after a colon or "is", where no list of the options begins',
        _introduced,
        (
            ("This part corresponds to what is shown at:\n(B) Point B\nPoint C is beside it.", "B"),
            ("We see:\n(A) red\n(B) blue", None),
        ),
    ),
    Rule(
        "last_line",
        "the last line is nothing but an option",
        _last_line,
        (
            ("The car has the colour of the sea, point A that of blood.\n\nB", "B"),
            ("The sea.\n\n(B) blue", "B"),
        ),
    ),
    Rule(
        "compared",
        'the only letter that is "more accurately", "best", or what the question asks for ("closer")',
        _compared,
        (
            ("Box A more accurately encloses it, whereas Box B is too large.", "A"),
            ("While box A is too large, box B more closely fits.", "B"),
            ("Box A, which is on the left, fits the object better than box B.", "A"),
            ("Point A is farther away.", None),
        ),
    ),
    Rule(
        "compared_text",
        'an option whose text is the subject of "is most similar", "fits best"',
        _compared_text,
        (("Blue is most similar, red is not.", "B"),),
    ),
    Rule(
        "named_option",
        'the only letter that is called an option ("matches option B")',
        _named_option,
        (
            ("Label A is the sun. Its colour matches option B, which C lacks", "B"),
            ("Option A shows a sun, option B the sea", None),
        ),
    ),
    Rule("bold", "the only option in bold", _bold, (("Label A shows the sky and C the ground: **B**", "B"),)),
    Rule(
        "bracketed_at_the_end",
        "the only letter in brackets in the last paragraph",
        _bracketed_at_the_end,
        (("(A) shows the sky, (B) the sea.\n\nThis leaves us (B) in the end", "B"),),
    ),
    Rule(
        "bracketed",
        "the only letter in brackets",
        _bracketed,
        (("The sea (B) has this colour, C has not.", "B"),),
    ),
    Rule(
        "only_letter",
        "the only letter in the text, at its beginning or at the end of a clause; no label of the picture",
        _only_letter,
        (
            ("not A but B", "B"),
            ("B is what it looks like.", "B"),
            ("The label A shows the root", None),
            ("either A or B", None),
        ),
    ),
    Rule(
        "leading_text",
        "the text begins with an option's text",
        leading_text,
        (("Blue. The sky is red.", "B"), ("Blue, red and green", None)),
    ),
    Rule(
        "option_text",
        "the only option whose text is in the answer, not denied and not part of a longer option",
        option_text,
        (
            ("It shows a blue car", "B"),
            ("It isn't red but blue.", "B"),
            ("Some are red and some are blue", None),
        ),
    ),
)
