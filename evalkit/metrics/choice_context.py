"""What the words around a letter say of it: rejected, compared with, one of several, or in a refusal."""

from __future__ import annotations

import re

from evalkit.metrics.choice_text import NOUN, AnswerText, Mention

_REJECTED_BEFORE = re.compile(
    r"(?:\b(?:not|never|neither|nor|than|instead of|unlike|except(?: for)?|without|against|other than|as opposed to|"
    r"eliminat\w+|rul(?:e|ed|es|ing) out|exclud\w+|reject\w*|discard\w*|dismiss\w*|incorrect|wrong|"
    r"(?:compared|similar|relative|next) (?:to|with)|versus|vs\.?|over|far from|away from)|n't|"
    r"不是|不选|不選|排除|而不是|而非|并非|除了)"
    rf"\s*[:：]?\s*(?:(?:the|both|be|to|choose|select|pick|either|answers?|options?|choices?)\s+)*(?:(?:{NOUN})s?\s*)?$",
    re.IGNORECASE,
)
_BE = r"(?:is|are|was|were|looks?|seems?(?: to be)?|appears?(?: to be)?|would be|must be|can be|could be|as|being)"
_ADVERBS = r"(?:(?:\w+ly|both|all|also|the|an?|very|fully|entirely|as)\s+)*"
_NOT_RIGHT = rf"(?:not|n't) {_ADVERBS}(?:correct|right|answer|accurate|valid|it(?=[.,;!]|$)|applicable|best|suitable|appropriate)"
_WRONG = rf"(?:wrong|incorrect|inaccurate|eliminated|ruled out|excluded|rejected|{_NOT_RIGHT})"
_UNFIT = (
    r"(?:false|untrue|invalid|impossible|implausible|unlikely|irrelevant|unsupported|distract(?:or|ors|ing)|too \w+|"
    r"less (?:likely|accurate|plausible))"
)
_REJECTED_AFTER = (
    # "A is clearly wrong", "C, which is incorrect", "Option A, the red one, is wrong"
    re.compile(rf"(?:[^.!?;\n。]{{0,60}}?\s)?{_BE}(?:n't)?\s+{_ADVERBS}(?:{_WRONG}|{_UNFIT})\b", re.IGNORECASE),
    re.compile(r"[^.!?;\n。]{0,60}?\b(?:can(?:not|'t| not)|could(?:n't| not)) be (?:correct|right|true|the)\b", re.IGNORECASE),
    re.compile(r"[\s,:\-–—]*\(?(?:which is )?(?:wrong|incorrect|false|not correct|✗|✘|❌|×|✖)(?!\w)", re.IGNORECASE),
    re.compile(r"\s*(?:选项|選項|项|項)?[^。,;\n]{0,15}?(?:错误|錯誤|不正确|不正確|不对|不對|错的|不符合|排除)"),
)
# After "A." or "B)" an option's own words may follow, and be about what is wrong in the picture.
_LISTED_AS_WRONG = re.compile(
    rf"(?:[^.!?;\n。]{{0,40}}?\s)?{_BE}\s+{_ADVERBS}{_WRONG}\b|\(?(?:wrong|incorrect|错误|不正确|✗|✘|❌|×|✖)(?!\w)", re.IGNORECASE
)
# Only for a letter that is the subject itself: after "A." or "B)" an option's own words may follow.
_DENIED_AFTER = re.compile(
    rf"\s+(?:(?:\w+ly|also|on the other hand,|,)\s+)*(?:{_BE}\s+(?:\w+ly\s+)?(?:not\b|too\b)|"
    r"(?:do|does|did|can|could|would|should|has|have|is|are|was|were|may|might)(?:n't|\s+(?:\w+ly\s+)?not)\b|cannot\b|"
    r"never\b|lacks?\b|fails?\b|misses\b|cuts off\b)",
    re.IGNORECASE,
)
_AND = r"(?:,?\s*(?:and|or|nor|&|and/or|as well as|以及|和|或者|或|及|与|與|跟)\s*|\s*[/、]\s*)"
_JOINED = re.compile(rf"{_AND}(?:(?:both|either|also|possibly|maybe|perhaps|even|the)\s+)*(?:(?:{NOUN})s?\s*)?$", re.IGNORECASE)
_COMMA = re.compile(rf"\s*[,、]\s*(?:(?:{NOUN})s?\s*)?$", re.IGNORECASE)
_NEW_CLAUSE = re.compile(
    r"[)\]]?\s*(?:(?:\w+ly|also)\s+)?(?:is|was|has|had|does|did|shows|seems|appears|looks|can|could|would|should|may|might|"
    r"cannot|isn't|wasn't|doesn't|being|because|belongs|depicts|represents|refers|only|just|more|on the other)\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"\b(?:whereas|while|whilst|although|though|even though|compared (?:to|with)|than|unlike|in contrast to|"
    r"as opposed to|in comparison (?:to|with)|relative to)\b|而(?!是|且)|相比",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:not (?:be )?(?:possible|able|enough|sure|certain|clear)|impossible|unable|unclear|uncertain|neither|"
    r"(?:cannot|can't|can not|could not|couldn't) (?:\w+ly )?(?:be |\w+ )?(?:determin\w+|tell|told|answer\w*|identif\w+|see|"
    r"assist|help|provide|ascertain|decide|judge|say|conclude|choose)|none of|sorry|which (?:point|one|of|option|image|box)|"
    r"whether|no way to|insufficient|don't know|do not know|hard to)\b|无法|不能确定|不确定",
    re.IGNORECASE,
)
_BUT = re.compile(r"\b(?:but|however|still|nevertheless|though|if (?:I|i) (?:had|have|must))\b|但", re.IGNORECASE)


def rejected(answer: AnswerText) -> frozenset[Mention]:
    """The mentions that the text speaks against: "not A", "A is wrong", "rather than A or C"."""
    found: list[Mention] = []
    mentions = [mention for mention in answer.mentions if not mention.small]
    for place, mention in enumerate(mentions):
        before = answer.text[answer.sentence_start(mention.start) : mention.start]
        with_previous = place > 0 and mentions[place - 1] in found and joined(answer, mentions[place - 1], mention)
        if _REJECTED_BEFORE.search(before) or with_previous:
            found.append(mention)
    for place in reversed(range(len(mentions))):
        mention = mentions[place]
        with_next = (
            place + 1 < len(mentions)
            and mentions[place + 1] in found
            and joined(answer, mention, mentions[place + 1])
            and not _REJECTED_BEFORE.search(answer.text[mention.end : mentions[place + 1].start])
        )
        if with_next or _speaks_against(answer, mention, mentions[place + 1 : place + 2]):
            found.append(mention)
    return frozenset(found)


def _speaks_against(answer: AnswerText, mention: Mention, following: list[Mention]) -> bool:
    tail = answer.text[mention.end : following[0].start if following else len(answer.text)].partition("\n")[0]
    begins_line = not answer.text[: mention.start].rpartition("\n")[2].strip()
    if tail.startswith(".") and (mention.bracketed or not begins_line):
        return False
    listed = re.match(r"[.):,、]\s*|\s+[-–—:]\s+", tail)
    rest = tail[listed.end() :] if listed else tail.lstrip(" ")
    own = answer.texts.get(answer.option_of(mention), "")
    if own and rest.casefold().startswith(own):
        rest = rest[len(own) :].lstrip(" ,")
    elif listed:
        return _LISTED_AS_WRONG.match(rest) is not None
    return any(pattern.match(rest) for pattern in _REJECTED_AFTER) or _DENIED_AFTER.match(tail) is not None


def joined(answer: AnswerText, one: Mention, other: Mention) -> bool:
    """Whether two mentions that follow each other are parts of one list ("A and C", "A, B or C")."""
    gap = answer.text[one.end : other.start]
    if _JOINED.fullmatch(gap):
        return "or" in gap.lower() or not _NEW_CLAUSE.match(answer.text, other.end)
    return _COMMA.fullmatch(gap) is not None and not _NEW_CLAUSE.match(answer.text, other.end)


def several(answer: AnswerText, mention: Mention) -> bool:
    """Whether a letter is given together with another one that isn't rejected ("A and C")."""
    mentions = [each for each in answer.mentions if each not in rejected(answer)]
    if mention not in mentions:
        return False
    place = mentions.index(mention)
    neighbours = mentions[max(0, place - 1) : place + 2]
    pairs = zip(neighbours, neighbours[1:], strict=False)
    return any(
        answer.option_of(one) != answer.option_of(other) and joined(answer, one, other) for one, other in pairs
    )


def contrasted(answer: AnswerText, mention: Mention) -> bool:
    """Whether a letter stands where something else is compared with it ("..., whereas B is too large")."""
    start = answer.sentence_start(mention.start)
    before = answer.text[start : mention.start]
    found = list(_CONTRAST.finditer(before))
    if not found:
        return False
    return "," not in before[found[-1].end() :]


def refused(answer: AnswerText, mention: Mention) -> bool:
    """Whether a letter stands in a sentence that declines to choose, before any "but"."""
    start, end = answer.sentence_start(mention.start), answer.sentence_end(mention.end)
    found = _REFUSAL.search(answer.text, start, end)
    if not found:
        return False
    but = _BUT.search(answer.text, found.end(), end)
    return not but or mention.start < but.start()
