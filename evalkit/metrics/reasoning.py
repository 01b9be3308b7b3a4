"""Splits a model's text into its reasoning and its final answer, before any metric reads it.

Metrics read the final answer alone. Tags are read in any case, with any white space in
them, and in every notation of :data:`_TAG`; a tag that prose only mentions ("the `<think>` tag") is text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

TAGS, NONE = "tags", "none"
RULES = (TAGS, NONE)
"""Names of the rules: by tags, or the whole text is the answer."""

UNFINISHED = "the reasoning never ended"
"""What is said of an answer of which nothing was read, since it was cut off while reasoning."""

_THINKING = (
    "think",
    "thinking",
    "thought",
    "thoughts",
    "seed:think",
    "thinking_process",
    "scratchpad",
    "cot",
)
_REASONING = frozenset(
    (*_THINKING, "reason", "reasoning", "reasoning_content", "chain_of_thought", "analysis", "reflection")
) | {"self_reflection", "rationale", "rethink", "deliberation", "inner_monologue", "internal_monologue"}
# LLaVA-CoT's stages before its conclusion; in other cases these are words of HTML.
_STAGES = frozenset(("SUMMARY", "CAPTION"))
_ANSWER = frozenset(
    ("answer", "final_answer", "final", "conclusion", "solution", "response", "final_response")
)
_BOX = "box"  # GLM-V: <|begin_of_box|>; the coordinates' <|box_start|> is another thing
_TAG = re.compile(
    r"<\|?\s*(?P<angle>/?\s*[A-Za-z][\w: /-]{1,30}?)"
    r"(?>\s+\w++\s*+=\s*+(?:\"[^\"<>]*\"(?=[\s|>])|'[^'<>]*'(?=[\s|>])|[^\s<>]++))*+\s*+\|?>"
    r"|\[\s*(?P<square>/?\s*(?:THINK|think|Think|THINKING|thinking))\s*\]"
    r"|◁\s*(?P<triangle>/?[A-Za-z]+)\s*▷"
)
_AFFIX = re.compile(r"(begin_of_|start_of_|begin_|start_)|(end_of_|end_)|(_start|_begin)$|(_end)$")
# gpt-oss names each passage's channel; Gemma has one channel of thought; MedGemma unused tokens.
_CHANNEL = re.compile(r"(?:<\|start\|>\s*\w+\s*)?<\|channel\|>\s*(\w++)[^<]*+<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|call)\|>")
_OTHER_NAMES = (
    (re.compile(r"<\|channel>\s*(?:thought|analysis)\b|<unused94>(?:thought\b)?"), "<think>"),
    (re.compile(r"<channel\|>|<unused95>"), "</think>"),
    (re.compile(r"&lt;(/?\w+)&gt;"), r"<\1>"),
)
_BARE_CHANNELS = re.compile(r"\s*analysis(?=[A-Z\s])(?P<reasoning>.*)assistantfinal(?P<final>.*)", re.DOTALL)

_QUOTES = "`\"'“”‘’«»"
_CALLED = re.compile(
    r"(?:\btags?|\btokens?|\belements?|\bmarkers?|\bsymbols?|标签|标记)\s*[\"'`(（]*$", re.IGNORECASE
)
_TAG_WORD = re.compile(
    r"[\"'`)]*[\s-]*(?:tags?\b|tokens?\b|elements?\b|markers?\b|symbols?\b|fields?\b|blocks?\b|标签|标记)",
    re.IGNORECASE,
)
_OPENS_CLAUSE = re.compile(r"(?:^|[\n.!?:;…。！？：；)\]>*_`\"'▷])[^\S\n]*$")
_FULL_STOP = re.compile(r"[\"')。.,;!?]+\s*")
_LINK = re.compile(r"[\s`\"',.…]*(?:and|or|to|/|和|与|…|\.\.\.)?[\s`\"',.…]*")
_PROMPT_END = 200
_LONGEST_TAG = 40
_AROUND = 200  # characters before and after a tag that say what it is
_ASIDE = 120  # a tag within a sentence, with no more than this after it, is being talked about


@dataclass(frozen=True)
class ReasoningSplit:
    """A model's text in two parts: ``final``, the answer, and ``reasoning``, all else without its tags.

    ``truncated``: the reasoning never ended, so that there is no answer (``final`` is empty).
    """

    final: str
    reasoning: str = ""
    truncated: bool = False


@dataclass(frozen=True)
class _Tag:
    name: str
    answer: bool
    closing: bool
    start: int
    end: int


def split_reasoning(text: str, rule: str = TAGS, *, opened: bool = False) -> ReasoningSplit:
    r"""Separate reasoning from the final answer; ``opened`` says that the prompt ended within reasoning.

    Reasoning is what stands in ``<think>...</think>`` and its likes, and everything before a closing tag
    alone. The answer is what follows the last of it (or, if nothing does, what stands between), and of
    that the last ``<answer>...</answer>`` or its likes, where there is one. Reasoning without an end
    leaves no answer. A text without such tags is its own answer, to the letter.

    Raises:
        ValueError: there is no such rule.

    >>> split_reasoning("<think>Is it A? No.</think>\n\nB").final
    'B'
    >>> split_reasoning("so it is A.</think>B").final
    'B'
    >>> split_reasoning("I see a dog. <answer>B</answer>")
    ReasoningSplit(final='B', reasoning='I see a dog.', truncated=False)
    >>> split_reasoning("<think>It may be A, or")
    ReasoningSplit(final='', reasoning='It may be A, or', truncated=True)
    >>> split_reasoning("The <think> tag").final
    'The <think> tag'
    """
    if rule not in RULES:
        raise ValueError(f"the reasoning rule is {rule!r}, none of {', '.join(RULES)}")
    if rule == NONE:
        return ReasoningSplit(text)
    bare = _BARE_CHANNELS.fullmatch(text)
    if bare:
        return ReasoningSplit(bare["final"].strip(), bare["reasoning"].strip())
    return _outside(_plain_tags(text), text, opened)


def opens_reasoning(prompt: str) -> bool:
    r"""Whether a rendered prompt ends in an opening tag of reasoning, as templates of thinking models do.

    >>> opens_reasoning("<|im_start|>assistant\n<think>\n"), opens_reasoning("<think>\n\n</think>\n\n")
    (True, False)
    """
    plain = _plain_tags(prompt[-_PROMPT_END:]).rstrip()
    last = [tag for tag in _tags(plain) if tag.end == len(plain)]
    return bool(last) and not last[0].closing and not last[0].answer


def closes_reasoning(text: str) -> bool:
    r"""Whether the last tag in a piece of text ends reasoning.

    >>> [closes_reasoning(text) for text in ("it is B.</think>\n\n", "<think>Is it", "B</answer>")]
    [True, False, False]
    """
    last = [tag for tag in _tags(_plain_tags(text)) if not tag.answer][-1:]
    return bool(last) and last[0].closing


def may_open_reasoning(text: str) -> bool | None:
    r"""Whether an answer begins with an opening tag of reasoning; None if it is too short to tell.

    >>> may_open_reasoning("<think>\nIs it"), may_open_reasoning("B"), may_open_reasoning("<thi")
    (True, False, None)
    """
    plain = _plain_tags(text.lstrip())
    first = next(_tags(plain), None)
    if first is not None and first.start == 0:
        return not first.closing and not first.answer
    begun = plain[:1] in "<[◁" and len(plain) <= _LONGEST_TAG and not set(plain) & set(">]▷")
    return None if begun else False


def is_tag(token: str) -> bool:
    """Whether a token of a vocabulary is a tag of reasoning or of an answer.

    >>> is_tag("</think>"), is_tag("<|begin_of_box|>"), is_tag("<|box_start|>")
    (True, True, False)
    """
    plain = _plain_tags(token)
    return any(tag.end - tag.start == len(plain) for tag in _tags(plain))


def _outside(text: str, verbatim: str, opened: bool) -> ReasoningSplit:
    """The answer outside of all reasoning; ``text`` has the usual notation of its tags."""
    tags = _used(text, [tag for tag in _tags(text) if not tag.answer])
    if not tags and not opened:
        return _within_answer(text, verbatim)
    outside, depth, start = _walk(text, tags, opened)
    if depth:
        return ReasoningSplit("", _untagged(text), truncated=True)
    last = outside[-1]
    final = last if last.strip() else "\n".join(part.strip() for part in outside if part.strip())
    reasoning = _untagged(text[:start] if last.strip() else text)
    answer = _within_answer(final, final)
    both = [part for part in (reasoning, answer.reasoning) if part]
    return ReasoningSplit(answer.final.strip(), "\n".join(both))


def _walk(text: str, tags: list[_Tag], opened: bool) -> tuple[list[str], int, int]:
    """What stands outside of reasoning, how deep the text ends in it, and where its last part begins."""
    outside: list[str] = []
    open_names: list[str] = ["think"] if opened else []
    count = Counter(open_names)
    start = 0
    for tag in tags:
        if not tag.closing:
            if not open_names:
                outside.append(text[start : tag.start])
            # Written once more right after the template's or its own: the same one.
            elif not text[start : tag.start].strip() and tag.name == open_names[-1]:
                count[open_names.pop()] -= 1
            open_names.append(tag.name)
            count[tag.name] += 1
        elif open_names:
            ended = None
            while open_names and ended != tag.name and (ended is None or count[tag.name]):
                ended = open_names.pop()
                count[ended] -= 1
        else:
            outside.clear()  # its opening tag stood in the prompt: all before is reasoning
        start = tag.end
    outside.append("" if open_names else text[start:])
    return outside, len(open_names), start


def _within_answer(text: str, verbatim: str) -> ReasoningSplit:
    """The last answer that is marked as such, or the text as it is."""
    tags = _used(text, [tag for tag in _tags(text) if tag.answer])
    if not tags:
        return ReasoningSplit(verbatim)
    passages = list(_passages(text, tags))
    start, end = next((each for each in reversed(passages) if _has_text(text, each)), passages[-1])
    around = _untagged(text[:start] + "\n" + text[end:])
    inner = _within_answer(text[start:end], text[start:end])
    return ReasoningSplit(inner.final.strip(), "\n".join(part for part in (around, inner.reasoning) if part))


def _passages(text: str, tags: list[_Tag]) -> Iterator[tuple[int, int]]:
    """Where marked answers begin and end; of nested ones the outer."""
    begun: _Tag | None = None
    for tag in tags:
        if begun is None:
            if tag.closing:  # its opening tag stood in the prompt
                yield 0, tag.start
            else:
                begun = tag
        elif tag.name == begun.name:
            yield begun.end, tag.start
            begun = None if tag.closing else tag
    if begun is not None:
        yield begun.end, len(text)


def _has_text(text: str, passage: tuple[int, int]) -> bool:
    return bool(text[passage[0] : passage[1]].strip())


def _plain_tags(text: str) -> str:
    """Channels and other notations without names of their own, rewritten as the usual tags."""
    if "<|channel|>" in text:
        before, *parts = _CHANNEL.split(text)
        written = [before]
        for place, (channel, passage) in enumerate(zip(parts[::2], parts[1::2], strict=True), start=1):
            ended = _CHANNEL_END.search(passage) or 2 * place < len(parts)
            name = "answer" if channel == "final" else "think"
            written.append(f"<{name}>{_CHANNEL_END.split(passage)[0]}" + (f"</{name}>" if ended else ""))
        text = "\n".join(written)
    for pattern, tag in _OTHER_NAMES:
        text = pattern.sub(tag, text)
    return text


def _tags(text: str) -> Iterator[_Tag]:
    for found in _TAG.finditer(text):
        inner = next(group for group in found.groups() if group is not None).strip()
        closing, name = inner.startswith("/"), inner.strip("/ ")
        if name in _STAGES:
            yield _Tag("reasoning", False, closing, *found.span())
            continue
        name = re.sub(r"[\s-]+", "_", name.lower())
        affix = _AFFIX.search(name)
        bare = _AFFIX.sub("", name) if affix else name
        closing = closing or bool(affix and (affix[2] or affix[4]))
        boxed = bare == _BOX and affix is not None and name.startswith(("begin_of_", "end_of_"))
        if bare in _REASONING or bare in _ANSWER or boxed:
            yield _Tag(bare, bare not in _REASONING, closing, *found.span())


def _used(text: str, tags: list[_Tag]) -> list[_Tag]:
    """The tags that prose doesn't merely speak of."""
    opens = next((place for place, tag in enumerate(tags) if not tag.closing), len(tags))
    closes = max((place for place, tag in enumerate(tags) if tag.closing), default=-1)
    return [tag for place, tag in enumerate(tags) if not _mentioned(text, tags, place, opens, closes)]


def _mentioned(text: str, tags: list[_Tag], place: int, opens: int, closes: int) -> bool:
    """Whether prose speaks of a tag instead of using it; ``opens`` and ``closes`` are the places of the first
    opening and the last closing tag.
    """
    tag = tags[place]
    before, after = text[max(0, tag.start - _AROUND) : tag.start], text[tag.end : tag.end + _AROUND]
    if before[-1:] in _QUOTES and after[:1] in _QUOTES and before[-1:] and after[:1]:
        return True
    line, rest = before.rpartition("\n")[2], after.partition("\n")[0]
    if line.count("`") % 2 and rest.count("`") % 2:
        return True  # within code
    if line.strip() and (_CALLED.search(line) or _TAG_WORD.match(rest)):
        return True
    if _linked(text, tags, place):
        return True
    if tag.closing:
        return opens >= place and line.endswith(" ") and bool(_FULL_STOP.fullmatch(after))
    return not _OPENS_CLAUSE.search(line) and _aside(text, tags[place], ends=closes > place)


def _linked(text: str, tags: list[_Tag], place: int) -> bool:
    """Whether an opening tag within a sentence and its closing tag have but a word such as "and" between."""
    tag = tags[place]
    opening = place if not tag.closing else place - 1
    if opening < 0 or opening + 1 >= len(tags) or tags[opening].closing or not tags[opening + 1].closing:
        return False
    between = text[tags[opening].end : tags[opening + 1].start]
    first = tags[opening].start
    line = text[max(0, first - _AROUND) : first].rpartition("\n")[2]
    short = len(between) <= _AROUND
    return bool(
        line.strip() and short and between.strip() and _LINK.fullmatch(between)
    ) and not _OPENS_CLAUSE.search(line)


def _aside(text: str, tag: _Tag, *, ends: bool) -> bool:
    """Whether an opening tag within a sentence, without an end, is a word of that sentence."""
    after = text[tag.end : tag.end + _AROUND]
    if ends or text[tag.start - 1 : tag.start].isalnum():
        return False
    if tag.answer:
        return re.match(r"\s+[a-z]", after) is not None
    return len(after) <= _ASIDE and "\n" not in after.strip() and not after[:1].isalnum()


def _untagged(text: str) -> str:
    kept, start = [], 0
    for tag in _tags(text):
        kept.append(text[start : tag.start])
        start = tag.end
    return "\n".join(part.strip() for part in (*kept, text[start:]) if part.strip())
