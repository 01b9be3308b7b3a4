"""How a question asks for its answer: Qwen2-VL's words (the paper's protocol), and those of the evaluations
of other families, which name the wording that they use (``Family.wording``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalkit.benchmarks.options import option_lines
from evalkit.core.types import Text

CONCISE = "concise"
"""VLMEvalKit's prompts for Qwen3-VL."""

PLAIN = "plain"
"""LLaVA's evaluation scripts, whose words InternVL's own scripts use too."""

_WORD_OR_PHRASE = "Answer the question using a single word or phrase."
_LETTER = "Answer with the option's letter from the given choices directly."
_CHOOSE = "Please select the correct answer from the options above."
_CHOOSE_CN = "请直接回答选项字母。"
_CHINESE = re.compile("[\u4e00-\u9fff]")


def short_answer(question: str) -> Text:
    """A question to be answered in a few words.

    >>> short_answer("Who?").wording("plain").splitlines()[1]
    'Answer the question using a single word or phrase.'
    """
    plain = f"{question}\n{_WORD_OR_PHRASE}"
    return Text(
        f"{question}\nPlease try to answer the question with short words or phrases if possible.",
        {
            CONCISE: f"{question}\nPlease answer concisely with short words or phrases when possible.",
            PLAIN: plain,
        },
    )


def choice(question: str, options: Mapping[str, str], hint: str = "") -> Text:
    r"""A question with options, to be answered by a letter; Qwen asks in Chinese where it is Chinese.

    >>> print(choice("Which?", {"A": "x", "B": "y"}, hint="Look.").text)
    Hint: Look.
    Question: Which?
    Options:
    A. x
    B. y
    Please select the correct answer from the options above.
    """
    lines = option_lines(options)
    asked = (f"Hint: {hint}\n" if hint else "") + f"Question: {question}\nOptions:\n{lines}\n"
    plain = (f"{hint}\n" if hint else "") + f"{question}\n{lines}\n{_LETTER}"
    chinese = _CHINESE.search(asked) is not None
    return Text(
        asked + (_CHOOSE_CN if chinese else _CHOOSE),
        {
            CONCISE: asked + "Answer with the option letter only.",
            PLAIN: plain,
        },
    )


def yes_or_no(question: str) -> Text:
    """A question to be answered by yes or no.

    >>> yes_or_no("Is it red?").text
    'Is it red? Please answer yes or no.'
    """
    plain = f"{question}\n{_WORD_OR_PHRASE}"
    return Text(f"{question} Please answer yes or no.", {PLAIN: plain})
