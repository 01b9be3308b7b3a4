r"""Texts as LaTeX without packages: letters, accents and signs that LaTeX has a command for are that command.

It is the same under pdfLaTeX, LuaLaTeX and XeLaTeX. What has none (Cyrillic, Chinese, emoji, ...) stays as it
is; :func:`beyond` names it. Commands are those of LaTeX's kernel since 2020: of the encodings OT1, TS1
(textcomp) and, where a letter is in no other, T1, which every LaTeX knows without ``fontenc``.
"""

from __future__ import annotations

import re
import unicodedata

from evalkit.core.console import inline

_ASCII = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "[": "{[}",
    "]": "{]}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
}
# Accents above a letter, of which a letter can have one: as command in text, and in mathematics.
_ABOVE = {
    "\u0300": ("`", "grave"), "\u0301": ("'", "acute"), "\u0302": ("^", "hat"), "\u0303": ("~", "tilde"),
    "\u0304": ("=", "bar"), "\u0306": ("u", "breve"), "\u0307": (".", "dot"), "\u0308": ('"', "ddot"),
    "\u030a": ("r", "mathring"), "\u030b": ("H", ""), "\u030c": ("v", "check"),
}  # fmt: skip
_BELOW = {"\u0323": "d", "\u0327": "c", "\u0331": "b", "\u0326": "textcommabelow"}
_OGONEK = "\u0328"
_T1 = r"{{\fontencoding{{T1}}\selectfont{}}}"
_LETTERS = {
    **{letter: rf"\{name}{{}}" for letter, name in {
        "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
        "ı": "i", "ȷ": "j", "§": "S", "¶": "P", "©": "copyright", "®": "textregistered", "£": "pounds",
        "€": "texteuro", "¥": "textyen", "¢": "textcent", "•": "textbullet", "…": "ldots",
        "‰": "textperthousand",
    }.items()},
    **{letter: _T1.format(rf"\{name}") for letter, name in {
        "đ": "dj", "Đ": "DJ", "ð": "dh", "Ð": "DH", "þ": "th", "Þ": "TH", "ŋ": "ng", "Ŋ": "NG",
        "„": "quotedblbase", "‚": "quotesinglbase", "«": "guillemotleft", "»": "guillemotright",
        "‹": "guilsinglleft", "›": "guilsinglright",
    }.items()},
    "¿": "?`", "¡": "!`", "“": "``", "”": "''", "‘": "`", "’": "'", "–": "--", "—": "---", "―": "---",
    "‐": "-", "‑": "-", "‒": "--", "⁄": "/",
    "\u00a0": "~", "\u2009": r"\,", "\u202f": r"\,", "\u3000": r"\quad{}",
    "†": r"$^\dagger$", "‡": r"$^\ddagger$", "°": r"$^\circ$", "′": "$'$", "″": "$''$",
}  # fmt: skip
_GREEK = {
    **{chr(ord("α") + place): rf"\{name}" for place, name in enumerate((
        *("alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda"),
        *("mu", "nu", "xi", "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "varphi", "chi"),
        *("psi", "omega"),
    ))},
    "ο": "o", "ϵ": r"\epsilon", "ϑ": r"\vartheta", "ϕ": r"\phi", "ϱ": r"\varrho", "ϖ": r"\varpi",
    **{letter: rf"\{unicodedata.name(letter).split()[-1].capitalize()}" for letter in "ΓΔΘΞΠΣΥΦΨΩ"},
    "Λ": r"\Lambda",
    **{letter: rf"\mathrm{{{latin}}}" for letter, latin in
       zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True)},
}  # fmt: skip
_MATHS = {
    sign: rf"\{name}"
    for sign, name in {
        "±": "pm", "∓": "mp", "×": "times", "÷": "div", "¬": "neg", "·": "cdot", "⋅": "cdot", "∗": "ast",
        "≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx", "≡": "equiv", "≃": "simeq", "≅": "cong",
        "∼": "sim",
        "≪": "ll", "≫": "gg", "≺": "prec", "≻": "succ", "∝": "propto", "∞": "infty", "∂": "partial",
        "∇": "nabla", "∑": "sum", "∏": "prod", "∫": "int", "√": "surd", "∈": "in", "∉": "notin", "∋": "ni",
        "∅": "emptyset", "∀": "forall", "∃": "exists", "∧": "wedge", "∨": "vee", "∩": "cap", "∪": "cup",
        "⊂": "subset", "⊃": "supset", "⊆": "subseteq", "⊇": "supseteq", "⊕": "oplus", "⊖": "ominus",
        "⊗": "otimes", "⊙": "odot", "⊥": "perp", "⊤": "top", "⊢": "vdash", "∥": "parallel", "∣": "mid",
        "∘": "circ", "∠": "angle", "⋆": "star", "★": "star", "●": "bullet", "△": "triangle", "◇": "diamond",
        "♠": "spadesuit", "♣": "clubsuit", "♥": "heartsuit", "♦": "diamondsuit",
        "←": "leftarrow", "→": "rightarrow", "↑": "uparrow", "↓": "downarrow", "↔": "leftrightarrow",
        "↕": "updownarrow", "↦": "mapsto", "↗": "nearrow", "↘": "searrow", "↙": "swarrow", "↖": "nwarrow",
        "⇐": "Leftarrow", "⇒": "Rightarrow", "⇑": "Uparrow", "⇓": "Downarrow", "⇔": "Leftrightarrow",
        "⟨": "langle", "⟩": "rangle", "⌊": "lfloor", "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil",
        "ℓ": "ell", "ℏ": "hbar", "µ": "mu", "ℵ": "aleph", "ℜ": "Re", "ℑ": "Im",
    }.items()
} | {"−": "-"}  # fmt: skip
# What Unicode says a character is a form of, as LaTeX; others of these are of another meaning.
_FORMS = {
    "<super>": r"\textsuperscript{{{}}}", "<sub>": r"\textsubscript{{{}}}", "<circle>": r"\textcircled{{{}}}",
    **dict.fromkeys(("<font>", "<compat>", "<wide>", "<narrow>", "<fraction>", "<square>"), "{}"),
}  # fmt: skip
_MARKS = r"[\u0300-\u036f]*"
_PARTS = re.compile(rf"(?P<greek>(?:[\u0370-\u03ff\u1f00-\u1fff]{_MARKS})+)|(?P<other>.{_MARKS})", re.DOTALL)
_STYLES = re.compile("[\ufe0e\ufe0f]")  # of a character before: as text, or as picture


def tex(text: str) -> str:
    r"""A text within a line or a cell of LaTeX, without packages.

    >>> print(tex("a_b % \\input{x} ^^M"))
    a\_b \% \textbackslash{}input\{x\} \textasciicircum{}\textasciicircum{}M
    >>> print(tex("café, δ ≥ 2×10⁻³"), tex("Вера"))
    caf\'{e}, $\delta$ $\geq$ 2$\times$10\textsuperscript{$-$}\textsuperscript{3} Вера
    """
    return _set(unicodedata.normalize("NFC", _STYLES.sub("", inline(text))))


def beyond(latex: str) -> list[str]:
    """The characters of LaTeX that :func:`tex` made for which LaTeX has no command: pdfLaTeX can't set them.

    >>> beyond(tex("RoPE β, Вы, é"))
    ['В', 'ы']
    """
    return sorted({character for character in latex if ord(character) > 127})


def named(characters: list[str], most: int = 8) -> str:
    """Characters by their names in Unicode, the first of many.

    >>> named(["中"])
    '中 (U+4E2D CJK UNIFIED IDEOGRAPH-4E2D)'
    """
    texts = [f"{each} (U+{ord(each):04X} {unicodedata.name(each, 'without a name')})" for each in characters]
    more = f", and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _set(text: str) -> str:
    parts = [""]
    for found in _PARTS.finditer(text):
        part = found[0]
        made = _greek(part) if found["greek"] else _character(part)
        made = part if made is None else made
        # Two hyphens, or two quotes, would be drawn as one other sign.
        parts += ["{}", made] if made[0] in "-'`" and parts[-1][-1:] == made[0] else [made]
    return "".join(parts)


def _greek(run: str) -> str | None:
    """Greek letters as signs; None for a word with other letters than mathematics has."""
    found = []
    for letter, mark in re.findall(rf"(.)({_MARKS})", run):
        accent = _ABOVE.get(mark, ("", ""))[1] if mark else "mathrm"
        if letter not in _GREEK or not accent:
            return None
        command = _GREEK[letter]
        found.append(rf"$\{accent}{{{command}}}$" if mark else f"${command}$")
    return "".join(found)


def _character(cluster: str) -> str | None:
    """A character with its combining marks; None if LaTeX has no command for it."""
    character, marks = cluster[0], cluster[1:]
    if not marks and character.isascii():
        return _ASCII.get(character, character)
    if not marks and character in _MATHS:
        return f"${_MATHS[character]}$"
    if not marks and character in _LETTERS:
        return _LETTERS[character]
    form, *codes = unicodedata.decomposition(character).split() or [""]
    if form.startswith("<"):
        inner = _set(unicodedata.normalize("NFC", "".join(chr(int(code, 16)) for code in codes)))
        known = form in _FORMS and not marks and inner.isascii()
        return _FORMS[form].format(inner) if known else None
    return _accented(unicodedata.normalize("NFD", cluster))


def _accented(cluster: str) -> str | None:
    """A letter under one accent, with any marks below it; None for other ones."""
    letter, marks = cluster[0], cluster[1:]
    above = [mark for mark in marks if mark in _ABOVE]
    below = [mark for mark in marks if mark in _BELOW or mark == _OGONEK]
    base = letter if letter.isascii() and letter.isalnum() else _LETTERS.get(letter)
    if base is None or not marks or len(above) > 1 or len(above) + len(below) < len(marks):
        return None
    if above:
        # The dot of these makes room.
        base = {"i": r"\i", "j": r"\j"}.get(base, base)
        base = rf"\{_ABOVE[above[0]][0]}{{{base}}}"
    for mark in below:
        base = _T1.format(rf"\k{{{base}}}") if mark == _OGONEK else rf"\{_BELOW[mark]}{{{base}}}"
    return base
