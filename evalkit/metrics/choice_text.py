"""An answer's text without markup, and the mentions of option letters in it."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from evalkit.metrics.white_space import collapse_white_space

_NO_OPTIONS = "ABCDEFGHIJ"
OPTION_NOUN = r"option|choice|answer|letter|alternative|response|selection|candidate"
# What pictures label with letters: "point A" is a thing that is shown before it is a choice.
_THING_NOUN = (
    r"label|point|dot|marker|position|location|spot|place|box|rectangle|image|picture|photo|photograph|"
    r"figure|"
    r"diagram|panel|frame|graph|plot|chart|map|curve|line|segment|arrow|region|area|zone|part|piece|section|"
    r"object|item|shape|circle|triangle|square|angle|vertex|side|step|stage|group|set|row|column|person|man|"
    r"woman|player|organ|structure|layer|cell|container|beaker|magnet|sample|solution|pair|species|plant"
)
NOUN = rf"(?:{OPTION_NOUN}|{_THING_NOUN})(?:\s+(?:labell?ed|marked|named))?"
# "A dog" chooses nothing, but no noun phrase goes on with one of these words: "A because ...".
_AFTER_LETTER = re.compile(
    r"because|since|as|is|are|was|were|be|being|and|or|but|for|which|that|who|based|has|have|had|does|do|did|can|"
    r"could|will|would|should|may|might|must|cannot|the|this|these|those|it|its|they|there|here|both|all|in|on|at|of|"
    r"with|given|due|where|when|while|whereas|rather|not|instead|if|so|then|than|to|from|by|into|also|appears|only|"
    r"over|under|above|below|between|near|behind|against|without|within|after|before|through|among|along|plus|minus|"
    r"vs|versus|like|unlike|equals|whose|too|again|really|definitely|probably|certainly|maybe|perhaps|best|correctly|accurately|clearly|explanation|reason|reasoning|rationale|justification|answer|note"
)
_LATEX_WRAPPER = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|math(?:rm|bf|it|sf|tt|bb|cal)|mbox|operatorname|bm|boldsymbol|bf|"
    r"rm|displaystyle)"
    r"\s*\{([^{}]*)\}"
)
_BOXED = re.compile(
    r"(?:(?<!\\)\\++(?:boxed|fbox|framebox)|(?<![A-Za-z])boxed(?=\s*\{))\s*(?:\{([^{}]*)\}|([A-Za-z])(?![A-Za-z]))"
)
_QUOTES = str.maketrans(
    {"“": '"', "”": '"', "‘": "'", "’": "'", "「": '"', "」": '"', "『": '"', "』": '"', "【": "[", "】": "]"}
)
_QUOTED_LETTER = re.compile(r"[\"'`]\s*([A-Za-z])\s*([.)]?)\s*[\"'`]")
_INLINE_TAG = re.compile(r"</?(?:b|i|u|em|strong|span|font|sub|sup|code)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,60}>|<\|[^<>|]{0,40}\|>")
_MENTION = re.compile(
    r"(?:(?P<open>[(\[{⟦])\s*(?P<inside>[A-Z]|(?<![A-Za-z0-9][(\[{⟦])[a-z])\s*[)\]}⟧])"
    r"|(?<![A-Za-z0-9_À-ӿ'\-/°\\$])(?<![A-Za-z]\.)(?P<bare>[A-Z]|(?:(?<=[Oo]ption )|(?<=[Cc]hoice ))[a-z])"
    r"(?![A-Za-z0-9_À-ӿ]|['/\-][A-Za-z0-9]|\.[A-Za-z])|(?m:^)(?P<first>[A-Z])(?=\.[A-Za-z]{2})"
)
_SMALL = re.compile(
    r"(?<![A-Za-z0-9_À-ӿ'\-/°\\(\[⟦.])([a-z])(?=\s*(?:[.!?,;:)\]⟧。]|\n|$|because\b|since\b))"
)
# How far rules look from a letter; more would be another thought (and slow, where nothing ends a sentence).
_REACH = 300
_MOST_MARKS = 60
_MARKS = re.compile(rf"(?<![^\w\s\x00-\x7f])[^\w\s\x00-\x7f]{{{_MOST_MARKS},}}")
_NESTED = 20  # LaTeX wrappers within each other that are taken off
_NOUN_BEFORE = re.compile(rf"(?:^|[^A-Za-z])({NOUN})[ \t]*#?[ \t]*$", re.IGNORECASE)
_NEXT_WORD = re.compile(r"[ \t]+([A-Za-z]+)")
_SENTENCE_END = re.compile(r"[!?;。\n]|\.(?=\s|$|[⟧\"')])")


_VERDICTS = frozenset({"yes", "no", "true", "false", "correct", "incorrect", "right", "wrong"})


@dataclass(frozen=True)
class Mention:
    """A letter that stands alone in the text; ``start`` and ``end`` include its brackets.

    ``noun`` is what it belongs to ("point", "option"); ``small`` says that it is a bare lower-case letter.
    """

    letter: str
    start: int
    end: int
    bracketed: bool = False
    small: bool = False
    noun: str = ""

    @property
    def thing(self) -> bool:
        """Whether it names a thing in the picture ("point A") rather than an option."""
        return bool(self.noun) and not re.match(rf"(?:{OPTION_NOUN})\b", self.noun, re.IGNORECASE)


@dataclass(frozen=True)
class AnswerText:
    """A prediction without markup (boxes stand in ``⟦⟧``), with the options and the question."""

    raw: str
    options: Mapping[str, str] = field(default_factory=dict)
    question: str = ""

    @cached_property
    def text(self) -> str:
        return clean(self.raw)

    @cached_property
    def letters(self) -> frozenset[str]:
        """The options' letters; A to J where none are known."""
        return frozenset(letter.upper() for letter in self.options) or frozenset(_NO_OPTIONS)

    @cached_property
    def texts(self) -> dict[str, str]:
        """The options' texts, comparable, without empty ones."""
        found = {letter.upper(): comparable(text) for letter, text in self.options.items()}
        return {letter: text for letter, text in found.items() if text}

    @cached_property
    def mentions(self) -> tuple[Mention, ...]:
        """Every letter that stands alone, articles and pronouns left out, in the text's order."""
        found = [mention for mention in _capitals(self.text) if not _is_word(self.text, mention)]
        return tuple(sorted((*found, *_smalls(self.text)), key=lambda mention: mention.start))

    @cached_property
    def capitals(self) -> tuple[Mention, ...]:
        """The mentions that are no bare lower-case letters."""
        return tuple(mention for mention in self.mentions if not mention.small)

    @cached_property
    def _ends(self) -> list[tuple[int, int]]:
        """Where sentences end, and where the next ones begin."""
        return [found.span() for found in _SENTENCE_END.finditer(self.text)]

    @cached_property
    def options_are_letters(self) -> bool:
        """Whether some option's text is itself the letter of another option."""
        return any(text.strip("()[]").upper() in self.letters - {own} for own, text in self.texts.items())

    @cached_property
    def options_are_verdicts(self) -> bool:
        """Whether some option's text is what could be said of an option ("A: no")."""
        return not _VERDICTS.isdisjoint(self.texts.values())

    @cached_property
    def _cleaned(self) -> dict[str, str]:
        return {letter: clean(text) for letter, text in self.options.items()}

    @cached_property
    def _texts_with_letters(self) -> list[tuple[int, int, str]]:
        """Where option texts stand that name several letters themselves ("both A and B")."""
        named = {
            letter: text for letter, text in self.texts.items() if len(re.findall(r"\b[a-z]\b", text)) > 1
        }
        return [
            (*found.span(), letter)
            for letter, text in named.items()
            for found in re.finditer(re.escape(text), self.text, re.IGNORECASE)
        ]

    def option_of(self, mention: Mention) -> str:
        """The option that a mention means: "point B" may be the text of option A, and so may "(b)"."""
        for start, end, letter in self._texts_with_letters:
            if start <= mention.start < end:
                return letter
        written = self.text[mention.start : mention.end]
        if not written.isupper():
            same = [letter for letter, text in self._cleaned.items() if text == written]
            if len(same) == 1:
                return same[0].upper()
        if mention.noun:
            phrase = f"{mention.noun} {mention.letter}".lower()
            same = [letter for letter, text in self.texts.items() if text == phrase]
            if not same and mention.thing:
                same = [letter for letter, text in self.texts.items() if text == mention.letter.lower()]
            if len(same) == 1:
                return same[0]
        if mention.letter not in self.letters:
            same = [letter for letter, text in self.texts.items() if text == mention.letter.lower()]
            return same[0] if len(same) == 1 else mention.letter
        return mention.letter

    def sentence_start(self, place: int) -> int:
        """Where the sentence begins that ``place`` is in."""
        before = bisect_right(self._ends, place, key=lambda end: end[1])
        return self._ends[before - 1][1] if before else 0

    def sentence_end(self, place: int) -> int:
        """Where the sentence ends that ``place`` is in."""
        before = bisect_left(self._ends, place, key=lambda end: end[0])
        return self._ends[before][0] if before < len(self._ends) else len(self.text)

    def before(self, mention: Mention) -> str:
        """What stands before a mention in its sentence, as far as the rules look."""
        return self.text[max(self.sentence_start(mention.start), mention.start - _REACH) : mention.start]

    def after(self, mention: Mention) -> str:
        """What stands after a mention in its sentence, as far as the rules look."""
        return self.text[mention.end : min(self.sentence_end(mention.end), mention.end + _REACH)]

    def begins_line(self, mention: Mention) -> bool:
        """Whether nothing but marks and blanks stands before a mention in its line."""
        return not self.text[max(0, mention.start - _REACH) : mention.start].rpartition("\n")[2].strip()

    def within(self, start: int, end: int) -> tuple[Mention, ...]:
        """The mentions that begin within a stretch of the text."""
        first, last = (
            bisect_left(self.mentions, place, key=lambda each: each.start) for place in (start, end)
        )
        return self.mentions[first:last]

    def between(self, start: int, end: int) -> bool:
        """Whether a letter is mentioned within a stretch of the text."""
        place = bisect_left(self.capitals, start, key=lambda mention: mention.start)
        return place < len(self.capitals) and self.capitals[place].start < end


def clean(text: str) -> str:
    r"""The text without emphasis, code marks, HTML, LaTeX wrappers and quotes around letters; full-width
    characters become plain ones, and what is boxed stands in ``⟦⟧``.

    >>> clean("**Ｂ．** \\boxed{\\text{(B)}} <b>'C'</b>")
    'B. ⟦(B)⟧ C'
    """
    # Normalising takes the square of the number of marks on one letter.
    text = _MARKS.sub(lambda found: found[0][:_MOST_MARKS], text)
    text = collapse_white_space(unicodedata.normalize("NFKC", text)).translate(_QUOTES)
    text = _TAG.sub("\n", _INLINE_TAG.sub("", re.sub(r"~~.*?~~", "", text)))
    text = re.sub(r"```\w*|~~~", "\n", text)
    text = re.sub(r"\*+|__+|`", "", text)
    text = re.sub(r"(?m)^[ \t]*(?:#+|>+|[-•·◦▪]|\d+[.)])[ \t]+", "", text)
    text = re.sub(r"\\[()\[\],;!]|\\q?quad\b|\$(?!\d)|(?<=[}\w])\$", " ", text)
    for _ in range(_NESTED):
        previous = text
        text = _LATEX_WRAPPER.sub(r"\1", text)
        text = _BOXED.sub(lambda found: f"⟦{(found[1] or found[2] or '').strip()}⟧", text)
        if previous == text:
            break
    text = _QUOTED_LETTER.sub(r"\1\2", text)
    return re.sub(r"[ \t]+", " ", text.replace('"', "")).strip()


def comparable(text: str) -> str:
    """A text without markup, case and outer punctuation.

    >>> comparable(" A  **Dog!** ")
    'a dog'
    """
    return " ".join(clean(text).casefold().split()).strip(" .,;:!?\"'⟦⟧")


def _capitals(text: str) -> Iterator[Mention]:
    for found in _MENTION.finditer(text):
        yield Mention(
            (found["inside"] or found["bare"] or found["first"]).upper(),
            *found.span(),
            bracketed=found["open"] is not None,
            noun=" ".join(_noun(text, found.start()).split()),
        )


def _smalls(text: str) -> Iterator[Mention]:
    for found in _SMALL.finditer(text):
        yield Mention(found[1].upper(), *found.span(), small=True, noun=_noun(text, found.start()))


def _noun(text: str, place: int) -> str:
    """The noun right before a letter, or nothing."""
    before = text[max(0, place - 40) : place]
    if not before.rstrip(" \t#")[-1:].isalpha():
        return ""
    found = _NOUN_BEFORE.search(before)
    return found[1] if found else ""


def _is_word(text: str, mention: Mention) -> bool:
    """Whether a bare A is an article (before a noun on its line) or a bare I a pronoun."""
    if mention.bracketed or mention.letter not in "AI" or mention.noun:
        return False
    following = _NEXT_WORD.match(text, mention.end)
    if not following:
        return False
    word = following[1].lower()
    if mention.letter == "I":
        return word not in ("is", "because")
    # A verb in the third person ends in -s, and no singular noun does but for these endings.
    verb = re.fullmatch(r"[a-z]{2,}[^siu]s", word) and not word.endswith(("lens", "series"))
    return len(word) > 1 and not _AFTER_LETTER.fullmatch(word) and not verb
