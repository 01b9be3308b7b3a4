"""Texts for the terminal and for files: secrets are hidden, and control characters escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import click

HIDDEN = "***"

# Invisible characters: control characters (C0 but tab and line feed, C1), line separators, surrogates, and
# what Unicode lists as default ignorable, such as direction marks and zero-width characters.
_SHAPELESS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_INLINE = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}

# Special tokens of tokenizers, whose names are no secrets.
_TOKENIZER = ("eos", "bos", "pad", "unk", "sep", "cls", "mask", "image", "video", "vision", "audio", "stop")
_NOT_THESE = "".join(f"(?<!{word}_)(?<!{word}-)" for word in _TOKENIZER)
_WORD = (
    rf"(?:{_NOT_THESE}token|api[-_]?key|(?:access|secret|private|account|storage|shared)[-_]?key(?:[-_]?id)?|"
    r"secret|password|passwd|pwd|passphrase|credentials?|signature|\bsig)"
)
_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s&;,'"`()\[\]{}<>\\]+)"""
_SECRETS = (
    # Keys in the formats of known services.
    (
        re.compile(
            r"(?<![A-Za-z0-9])(?:"
            r"hf_(?:[A-Za-z0-9]{16,}|(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{8,})|"
            r"sk-(?:[A-Za-z0-9_-]{20,}|(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{8,})|"
            r"gh[pousr]_[A-Za-z0-9]{8,}|github_pat_\w{8,}|glpat-[\w-]{8,}|xox[abeoprs]-[\w-]{8,}|"
            r"A[KS]IA[A-Z0-9]{12,}|AIza[\w-]{20,}|pypi-[\w-]{16,}|npm_[A-Za-z0-9]{16,}|"
            r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?)"
        ),
        HIDDEN,
    ),
    (re.compile(r"(?<=://)[^\s/?#]+@"), f"{HIDDEN}@"),
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/-]{8,}=*"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)({_WORD}=)(?!\*\*\*){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(rf"([A-Z0-9]_KEY=|[?&](?i:key|auth|code)=)(?!\*\*\*){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(rf"(?i)((?<![\w-])--?[a-z0-9_-]{{0,40}}{_WORD}\s+)(?!-){_VALUE}"), rf"\1{HIDDEN}"),
)


def scrub(text: str) -> str:
    """Hide what looks like a secret: keys of services, passwords in addresses, values of options, variables
    and query strings that are called a token, key, password, secret or signature.

    >>> scrub("HF_TOKEN=abc run --token abc --model hf_ABCDEFGHIJ --batch-tokens 512")
    'HF_TOKEN=*** run --token *** --model *** --batch-tokens 512'
    >>> scrub("https://me:pass@host/model?signature=1f&n=2")
    'https://***@host/model?signature=***&n=2'
    """
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def scrubbed(value: Any) -> Any:
    """A value of JSON with every text in it scrubbed, names of its fields too.

    >>> scrubbed({"model": "hf_ABCDEFGHIJ", "n": [1, "sk-12345678"]})
    {'model': '***', 'n': [1, '***']}
    """
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {scrubbed(name): scrubbed(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(map(scrubbed, value))
    return list(map(scrubbed, value)) if isinstance(value, list) else value


def visible(text: str) -> str:
    r"""A text of several lines with every invisible character escaped.

    >>> print(visible("\x1b[31mred\x9b0m \u202eabc\u200b\r"))
    \x1b[31mred\x9b0m \u202eabc\u200b\x0d
    """
    return _SHAPELESS.sub(lambda found: _escape(found.group()), text)


def inline(text: str) -> str:
    r"""A name or a cell as one line; see :func:`visible`.

    >>> print(inline("two\nlines\tand\a"))
    two\nlines\tand\x07
    """
    for character, instead in _INLINE.items():
        text = text.replace(character, instead)
    return visible(text)


def _escape(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print on stdout, or on stderr. All output of the command line passes here, except for tables and bars
    drawn by rich, whose texts are escaped by :func:`inline` before.
    """
    click.echo(visible(scrub(text)), err=err, nl=nl)  # noqa: TID251 - the one place


def write(text: str) -> None:
    """As :func:`say`, without a line feed at the end."""
    say(text, nl=False)
