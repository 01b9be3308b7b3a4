"""The context of an option's letter: rejected, compared with another, one of several, or in a refusal."""

from __future__ import annotations

import re
from functools import cached_property
from itertools import zip_longest

from evalkit.metrics.choice_phrases import IF_BEFORE
from evalkit.metrics.choice_text import NOUN, AnswerText, Mention

_REJECTED_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|than|instead of|unlike|except(?: for)?|without|against|(?:any|"
    r"every)thing (?:but|except)|all (?:but|except)|least(?: \w+)?|other than|as opposed to|"
    r"eliminat\w+|rul(?:e|ed|es|ing) out|exclud\w+|reject\w*|discard\w*|dismiss\w*|incorrect|wrong|"
    r"(?:compared|similar|relative|next) (?:to|with)|versus|vs\.?|over|far from|away from)|n't|"
    r"不是|不选|不選|排除|而不是|而非|并非|除了)"
    rf"\s*[:：]?\s*(?:(?:the|both|be|is|are|to|choose|select|pick|either|answers?|options?|"
    rf"choices?)\s+)*(?:(?:{NOUN})s?\s*)?$",
    re.IGNORECASE,
)
_BE = (
    r"(?:is|are|was|were|looks?|seems?(?: to be)?|appears?(?: to be)?|would be|must be|can be|could be|as|be|"
    r"being)"
)
_ADVERBS = r"(?:(?:\w+ly|both|all|also|the|an?|very|as)\s+)*"
_NOT_RIGHT = (
    rf"(?:not|n't) {_ADVERBS}(?:correct|right|answer|accurate|valid|it(?=[.,;!]|$)|applicable|best|suitable|"
    r"appropriate)"
)
_WRONG = rf"(?:wrong|incorrect|inaccurate|eliminated|ruled out|excluded|rejected|{_NOT_RIGHT})"
_UNFIT = (
    r"(?:false|untrue|invalid|impossible|implausible|unlikely|irrelevant|unsupported|distract(?:or|ors|ing)|"
    r"too \w+|out(?=[.,;!]|$)|"
    r"less (?:likely|accurate|plausible))"
)
_REJECTED_AFTER = (
    # "A is clearly wrong", "C, which is incorrect", "Option A, the red one, is wrong"
    re.compile(
        rf"(?:[^.!?;\n。]{{0,60}}?\s)?{_BE}(?:n't)?\s+{_ADVERBS}(?:{_WRONG}|{_UNFIT})\b", re.IGNORECASE
    ),
    re.compile(
        r"[^.!?;\n。]{0,60}?\b(?:can(?:not|'t| not)|could(?:n't| not)) be (?:correct|right|true|the)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"[\s,:\-–—]*\(?(?:which is )?(?:wrong|incorrect|false|not correct|✗|✘|❌|×|✖)(?!\w)", re.IGNORECASE
    ),
    re.compile(
        r"\s*(?:选项|選項|项|項)?[^。,;\n]{0,15}?(?:错误|錯誤|不正确|不正確|不对|不對|错的|不符合|排除)"
    ),
)
# After "A." or "B)" an option's own words may follow, and be about what is wrong in the picture.
_LISTED_AS_WRONG = re.compile(
    rf"(?:[^.!?;\n。]{{0,40}}?\s)?{_BE}\s+{_ADVERBS}{_WRONG}\b|\(?(?:wrong|incorrect|错误|不正确|✗|✘|❌|×|✖)(?!\w)",
    re.IGNORECASE,
)
_NO = re.compile(r"[)\].]?\s*[:\-–—]\s*no(?:t this)?(?=\s*(?:[.;!]|$))", re.IGNORECASE)
# Only for a letter that is the subject itself: after "A." or "B)" an option's own words may follow.
_DENIED_AFTER = re.compile(
    rf"\s+(?:(?:\w+ly|also|on the other hand,|,)\s+)*(?:{_BE}\s+(?:\w+ly\s+)?(?:not\b|too\b)|"
    r"(?:do|does|did|can|could|would|should|has|have|is|are|was|were|may|might)(?:n't|"
    r"\s+(?:\w+ly\s+)?not)\b|cannot\b|"
    r"never\b|lacks?\b|fails?\b|misses\b|cuts off\b)",
    re.IGNORECASE,
)
_AND = r"(?:,?\s*(?:and|or|nor|&|and/or|as well as|以及|和|还是|或者|或|及|与|與|跟)\s*|\s*[/、]\s*)"
_JOINED = re.compile(
    rf"{_AND}(?:(?:both|either|also|possibly|maybe|perhaps|even|the)\s+)*(?:(?:{NOUN})s?\s*)?$", re.IGNORECASE
)
# "A) red or B) blue"
_OR_ITS_TEXT = re.compile(r"[)\].:]\s[^.!?;\n,]{0,40}\bor\s*(?:option\s*)?", re.IGNORECASE)
_COMMA = re.compile(rf"\s*[,、]\s*(?:(?:{NOUN})s?\s*)?$", re.IGNORECASE)
_NEW_CLAUSE = re.compile(
    r"[)\]]?\s*(?:(?:\w+ly|also)\s+)?(?:is|was|has|had|does|did|shows|seems|appears|looks|can|could|would|"
    r"should|may|might|"
    r"cannot|isn't|wasn't|doesn't|being|because|belongs|depicts|represents|refers|only|just|more|"
    r"on the other)\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"\b(?:whereas|while|whilst|although|though|even though|compared (?:to|with)|than|unlike|in contrast to|"
    r"as opposed to|in comparison (?:to|with)|relative to)\b|而(?!是|且)|相比",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:not (?:be )?(?:possible|able|enough|sure|certain|clear)|impossible|unable|unclear|uncertain|"
    r"neither|"
    r"(?:cannot|can't|can not|could not|couldn't) (?:\w+ly )?(?:be |\w+ )?(?:determin\w+|tell|told|"
    r"answer\w*|identif\w+|see|"
    r"assist|help|provide|ascertain|decide|judge|say|conclude|choose)|none of|sorry|which (?:point|one|of|"
    r"option|image|box)|"
    r"whether|no way to|insufficient|don't know|do not know|hard to)\b|无法|不能确定|不确定",
    re.IGNORECASE,
)
_BUT = re.compile(
    r"\b(?:but|however|still|nevertheless|though|if (?:I|i) (?:had|have|must))\b|但", re.IGNORECASE
)


class ChoiceText(AnswerText):
    """An answer's text with the context of every letter in it."""

    @cached_property
    def rejected(self) -> frozenset[Mention]:
        """The mentions that the text speaks against: "not A", "A is wrong", "rather than A or C"."""
        found: set[Mention] = set()
        mentions = self.capitals
        for previous, mention in zip((None, *mentions), mentions, strict=False):
            before = self.before(mention)
            if _REJECTED_BEFORE.search(before) or (previous in found and _joined(self, previous, mention)):
                found.add(mention)
        for mention, following in reversed(list(zip_longest(mentions, mentions[1:]))):
            with_next = (
                following in found
                and _joined(self, mention, following)
                and not _REJECTED_BEFORE.search(self.text[mention.end : following.start])
            )
            if with_next or _speaks_against(self, mention, following):
                found.add(mention)
        return frozenset(found)

    @cached_property
    def rejected_letters(self) -> frozenset[str]:
        """Letters of which no mention is left when the rejected ones are taken out."""
        kept = {mention.letter for mention in self.capitals if mention not in self.rejected}
        return frozenset({mention.letter for mention in self.capitals} - kept)

    @cached_property
    def usable(self) -> tuple[Mention, ...]:
        """The mentions that nothing speaks against."""
        return tuple(mention for mention in self.mentions if mention not in self.rejected)

    @cached_property
    def _together(self) -> frozenset[Mention]:
        pairs = zip(self.usable, self.usable[1:], strict=False)
        joined = (
            pair
            for pair in pairs
            if self.option_of(pair[0]) != self.option_of(pair[1]) and _joined(self, *pair)
        )
        return frozenset(mention for pair in joined for mention in pair)

    def several(self, mention: Mention) -> bool:
        """Whether a letter is given together with another one that isn't rejected ("A and C")."""
        return mention in self._together

    def contrasted(self, mention: Mention) -> bool:
        """Whether a letter stands where another one is compared with it ("..., whereas B is too large")."""
        before = self.before(mention)
        found = list(_CONTRAST.finditer(before))
        return bool(found) and "," not in before[found[-1].end() :]

    def refused(self, mention: Mention) -> bool:
        """Whether a letter stands in a sentence that declines to choose, before any "but"."""
        before = self.before(mention)
        found = _REFUSAL.search(f"{before} {self.after(mention)}")
        if not found:
            return False
        return found.start() > len(before) or not _BUT.search(before, found.end())

    @cached_property
    def plain(self) -> tuple[Mention, ...]:
        """Letters of options that nothing speaks against, compares with, or declines to choose between."""
        return tuple(
            mention
            for mention in self.usable
            if not mention.small and self.option_of(mention) in self.letters
            if not self.contrasted(mention) and not self.refused(mention)
            if not IF_BEFORE.search(self.before(mention))
        )


def _speaks_against(answer: AnswerText, mention: Mention, following: Mention | None) -> bool:
    tail = answer.text[mention.end : following.start if following else mention.end + 300].partition("\n")[0]
    if tail.startswith(".") and (mention.bracketed or not answer.begins_line(mention)):
        return False
    if _NO.match(tail) and not answer.options_are_verdicts:
        return True
    listed = re.match(r"[.):,、]\s*|\s+[-–—:]\s+", tail)
    rest = tail[listed.end() :] if listed else tail.lstrip(" ")
    own = answer.texts.get(answer.option_of(mention), "")
    if own and rest.casefold().startswith(own):
        rest = rest[len(own) :].lstrip(" ,")
        if _NO.match(rest) and not answer.options_are_verdicts:
            return True
    elif listed:
        return _LISTED_AS_WRONG.match(rest) is not None
    return any(pattern.match(rest) for pattern in _REJECTED_AFTER) or _DENIED_AFTER.match(tail) is not None


def _joined(answer: AnswerText, one: Mention | None, other: Mention | None) -> bool:
    """Whether two mentions that follow each other are parts of one list ("A and C", "A, B or C")."""
    if one is None or other is None:
        return False
    gap = answer.text[one.end : other.start]
    if one.bracketed and other.bracketed and not gap.strip(" "):
        return True
    if _OR_ITS_TEXT.fullmatch(gap):
        return True
    if _JOINED.fullmatch(gap):
        return re.search(r"\bn?or\b|或|还是", gap, re.IGNORECASE) is not None or not _NEW_CLAUSE.match(
            answer.text, other.end
        )
    return _COMMA.fullmatch(gap) is not None and not _NEW_CLAUSE.match(answer.text, other.end)
