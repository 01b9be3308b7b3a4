r"""A comparison as a LaTeX table that needs ``\usepackage{booktabs}`` and nothing else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from evalkit.core.console import inline
from evalkit.core.errors import UsageError
from evalkit.core.tex import beyond, named, tex
from evalkit.report.comparison import Comparison
from evalkit.report.grid import BEST, SECOND, TableCell, TableRow, breakdown_rows, table_rows
from evalkit.report.layout import Layout, arranged, heads
from evalkit.report.notes import caption, legend, rates_table

PLAIN = Layout(intervals=False)

# A page as large as its largest table, whatever the engine calls a page's size.
_DOCUMENT = r"""\documentclass{article}
<<letters>>\usepackage{booktabs}
\makeatletter
\providecommand{\CT@arc@}{}
\makeatother
\newsavebox{\evalkitbox}
\newdimen\evalkitwidth \newdimen\evalkitheight \newdimen\evalkitcaption
\newcommand{\evalkitmeasure}[2]{%
  \begin{lrbox}{\evalkitbox}\normalfont\normalsize #2\end{lrbox}%
  \ifdim\wd\evalkitbox>\evalkitwidth \global\evalkitwidth=\wd\evalkitbox \fi
  \ifdim\dimexpr\ht\evalkitbox+\dp\evalkitbox\relax>#1\relax
    \global#1=\dimexpr\ht\evalkitbox+\dp\evalkitbox\relax \fi}
\evalkitwidth=12cm
<<measured>>
\setlength{\textwidth}{\evalkitwidth}
\setlength{\textheight}{\dimexpr\evalkitheight+\evalkitcaption+4\baselineskip\relax}
\setlength{\paperwidth}{\dimexpr\textwidth+2cm\relax}
\setlength{\paperheight}{\dimexpr\textheight+1.5cm\relax}
\ifdefined\pdfpagewidth \pdfpagewidth=\paperwidth \pdfpageheight=\paperheight \fi
\ifdefined\pagewidth \pagewidth=\paperwidth \pageheight=\paperheight \fi
\setlength{\hoffset}{-1in} \setlength{\voffset}{-1in}
\setlength{\oddsidemargin}{1cm} \setlength{\topmargin}{1cm}
\setlength{\headheight}{0pt} \setlength{\headsep}{0pt} \setlength{\footskip}{0pt}
\renewcommand{\topfraction}{1} \renewcommand{\textfraction}{0}
\pagestyle{empty}
\begin{document}
<<body>>
\end{document}"""


# Characters that no command of LaTeX makes: in the first font of a list that has them.
_LETTERS = r"""\ifdefined\Uchar\else
  \errmessage{pdfLaTeX can't set <<names>>: compile this with lualatex or xelatex}
\fi
\usepackage{fontspec}
\newcommand{\evalkitfonts}{<<fonts>>}
\makeatletter
\newif\ifevalkitall
\newcommand{\evalkithas}[1]{\evalkitalltrue
  \@tfor\evalkitletter:=#1\do{\iffontchar\font\expandafter`\evalkitletter\space\else\evalkitallfalse\fi}}
\DeclareRobustCommand{\evalkittext}[1]{{\let\evalkitfont\relax
  \@for\evalkitname:=\evalkitfonts\do{\ifx\evalkitfont\relax
    \IfFontExistsTF{\evalkitname}{\begingroup\fontspec{\evalkitname}\evalkithas{#1}%
      \ifevalkitall\aftergroup\evalkittake\fi\endgroup}{}\fi}%
  \ifx\evalkitfont\relax
    \PackageError{evalkit}{No font here has all of "#1"}{Add one that has it to \string\evalkitfonts.}%
  \else\fontspec{\evalkitfont}\fi #1}}
\newcommand{\evalkittake}{\let\evalkitfont\evalkitname}
\makeatother
"""
# By names with spaces, or as files of TeX Live: for another word XeTeX tries to make a font of that name.
_FONTS = (
    *("Noto Serif", "DejaVu Serif", "CMU Serif", "cmunrm.otf", "FreeSerif.otf", "Times New Roman"),
    *("Noto Serif CJK SC", "Noto Sans CJK SC", "Source Han Serif SC", "FandolSong-Regular.otf", "Songti SC"),
    *("Hiragino Mincho ProN", "ipaexm.ttf", "Apple SD Gothic Neo", "WenQuanYi Zen Hei", "Microsoft YaHei"),
    *("Droid Sans Fallback", "Noto Sans", "DejaVu Sans", "Noto Sans Symbols", "Noto Sans Symbols2"),
    *("Noto Emoji", "Segoe UI Symbol", "Apple Symbols", "Arial Unicode MS"),
)


def latex(
    comparison: Comparison, layout: Layout = PLAIN, breakdown: bool = False, standalone: bool = False
) -> str:
    r"""A ``booktabs`` table to paste: best in bold, second underlined, differences as subscripts.

    The paper's layout is a ``table`` with its caption; ``standalone`` makes a document of it, on pages of the
    table's size. With ``breakdown``, each breakdown is a table of its own below. Characters for which LaTeX
    has no command are named in a comment; a document that has any stops pdfLaTeX, and says why.

    Raises:
        UsageError: a document would have words from right to left.
    """
    comparison = arranged(comparison, layout)
    rows = table_rows(comparison, layout)
    names = heads(comparison)
    tables = [(caption(comparison, rows), "results", _tabular(names, rows, "Type", "Benchmark"))]
    if breakdown:
        tables += [
            (title, f"breakdown-{number}", _tabular(names, found, "", "Label"))
            for number, (title, found) in enumerate(breakdown_rows(comparison, layout), start=1)
        ]
    notes = [f"% {inline(note)}" for note in [*legend(comparison, layout), *_rates(comparison, layout)]]
    if standalone:
        text = _document(tables)
    elif layout.paper:
        text = "\n".join(_float(*table) for table in tables)
    else:
        first, *others = (body for _, _, body in tables)
        titled = [
            f"\n% {inline(title)}\n{body}" for (title, _, _), body in zip(tables[1:], others, strict=True)
        ]
        text = "\n".join([first, *titled])
    lacking = engine_note(text)
    return "\n".join([*notes, *([f"% {lacking}"] if lacking else []), text])


def engine_note(text: str) -> str:
    """Which characters of LaTeX text need another engine than pdfLaTeX; empty if none does."""
    lines = (line for line in text.splitlines() if not line.startswith("%"))
    letters = beyond("\n".join(lines))
    if not letters:
        return ""
    return (
        f"pdfLaTeX can't set {named(letters)}: compile with lualatex or xelatex, and a font that has them "
        "(`--standalone` looks for one; elsewhere by fontspec)"
    )


def _document(tables: Sequence[tuple[str, str, str]]) -> str:
    measured = [rf"\evalkitmeasure{{\evalkitheight}}{{{body}}}" for _, _, body in tables]
    # A caption is set to the width that the tables turned out to have.
    measured += [
        rf"\evalkitmeasure{{\evalkitcaption}}{{\parbox{{\evalkitwidth}}{{Table 1: {tex(title)}}}}}"
        for title, _, _ in tables
    ]
    body = "\n\\clearpage\n".join(_float(*table) for table in tables)
    text = _DOCUMENT.replace("<<measured>>", "\n".join(measured)).replace("<<body>>", body)
    letters = beyond(text)
    if not letters:
        return text.replace("<<letters>>", "")
    backwards = [each for each in letters if unicodedata.bidirectional(each) in ("R", "AL")]
    if backwards:
        raise UsageError(
            f"a LaTeX document with {named(backwards)}",
            "words from right to left need packages that their language's users choose",
            "give it another label, or paste the table (without `--standalone`) into a document of yours",
        )
    names = ", ".join(f"U+{ord(each):04X}" for each in letters[:8]) + (", ..." if len(letters) > 8 else "")
    loaded = _LETTERS.replace("<<names>>", names).replace("<<fonts>>", ",".join(_FONTS))
    return re.sub(r"[^\x00-\x7f]+", r"\\evalkittext{\g<0>}", text).replace("<<letters>>", loaded)


def _float(title: str, label: str, body: str) -> str:
    return "\n".join(
        [
            r"\begin{table}[t]",
            r"\centering",
            rf"\caption{{{tex(title)}}}",
            rf"\label{{tab:evalkit-{label}}}",
            r"\smallskip",
            body,
            r"\end{table}",
        ]
    )


def _tabular(names: Sequence[str], found: Sequence[TableRow], first: str, second: str) -> str:
    """Rows under headings; a category's name stands in its first row."""
    categories = bool(first)
    start = [first, second] if categories else [second]
    rows = [
        rf"\begin{{tabular}}{{{'l' * len(start)}{'r' * len(names)}}}",
        r"\toprule",
        " & ".join([*start, *map(tex, names)]) + r" \\",
    ]
    category = None
    for line in found:
        if line.category != category:
            rows.append(r"\midrule")
        shown = [line.category.capitalize() if line.category != category else ""] if categories else []
        category = line.category
        label = rf"\textit{{{tex(line.label)}}}" if line.mean else tex(line.label)
        rows.append(" & ".join([*shown, label, *map(_entry, line.entries)]) + r" \\")
    return "\n".join([*rows, r"\bottomrule", r"\end{tabular}"])


def _entry(entry: TableCell) -> str:
    score = tex(entry.score)
    score = {BEST: rf"\textbf{{{score}}}", SECOND: rf"\underline{{{score}}}"}.get(entry.rank, score)
    spread = tex(entry.spread)
    interval = rf" {{\footnotesize {tex(entry.interval)}}}" if entry.interval else ""
    marks = "".join(f" {tex(mark)}" for mark in entry.marks)
    difference = f"$_{{{entry.difference}}}$" if entry.difference else ""
    return score + spread + difference + interval + marks


def _rates(comparison: Comparison, layout: Layout) -> list[str]:
    top, rows = rates_table(comparison, layout)
    return [" | ".join(row) for row in (top, *rows)] if rows else []
