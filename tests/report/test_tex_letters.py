"""Letters and signs in LaTeX: what it has commands for is set by any engine, and what not is said by name."""

from __future__ import annotations

import re
import shutil
import subprocess
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_layouts import compiled, paper_comparison

from evalkit.core import tex as letters
from evalkit.core.errors import UsageError
from evalkit.core.tex import beyond, tex
from evalkit.report.comparison import Comparison
from evalkit.report.latex import engine_note, latex
from evalkit.report.layout import Layout

PAPER = Layout.of("paper")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("é", r"\'{e}"),
        ("e\u0301", r"\'{e}"),
        ("ậ", r"\d{\^{a}}"),
        ("ï", r"\"{\i}"),
        ("x̄", r"\={x}"),
        ("Łódź ß", r"\L{}\'{o}d\'{z} \ss{}"),
        ("ș", r"\textcommabelow{s}"),
        ("ą", r"{\fontencoding{T1}\selectfont\k{a}}"),
        ("đ", r"{\fontencoding{T1}\selectfont\dj}"),
        ("δ", r"$\delta$"),
        ("δ̂", r"$\hat{\delta}$"),
        ("ΔΘ", r"$\Delta$$\Theta$"),
        ("𝛿", r"$\delta$"),
        ("≥−×µ", r"$\geq$$-$$\times$$\mu$"),
        ("10⁻³, H₂", r"10\textsuperscript{$-$}\textsuperscript{3}, H\textsubscript{2}"),
        ("½ ① ﬁ Ａ", r"1/2 \textcircled{1} fi A"),
        ("“a” – …", "``a'' -- \\ldots{}"),
        ("--fast, ''", r"-{}-fast, '{}'"),
    ],
)
def test_letters_accents_and_signs_are_commands(text: str, command: str) -> None:
    assert tex(text) == command
    assert beyond(command) == []


@pytest.mark.parametrize("text", ["Вера", "λόγος", "中文", "ế", "✓", "👩", "a⃗", "日本（a）"])
def test_what_has_no_command_stays_and_is_named(text: str) -> None:
    found = beyond(tex(text))
    assert found
    assert set(found) <= set(unicodedata.normalize("NFC", text))
    note = engine_note(tex(text))
    assert "lualatex or xelatex" in note
    assert all(f"U+{ord(each):04X} {unicodedata.name(each)}" in note for each in found)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_any_text_is_balanced_harmless_and_the_same_in_both_normal_forms(text: str) -> None:
    found = tex(text)
    bare = re.sub(r"\\[^A-Za-z]", "", found)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set("%#&^_") & set(re.sub(r"\$[^$]*\$", "", bare))
    assert tex(unicodedata.normalize("NFD", text)) == tex(unicodedata.normalize("NFC", text))


def latin() -> list[str]:
    """Every letter of the Latin blocks, and every sign of the tables."""
    blocks = [*range(0xA1, 0x250), *range(0x1E00, 0x1EFA)]
    signs = {**letters._LETTERS, **letters._GREEK, **letters._MATHS}
    return [*dict.fromkeys([*map(chr, blocks), *signs, "²", "₂", "①", "½", "™", "δ̂", "x̄", "j̃", "--", "’’"])]


def test_all_that_has_a_command_compiles_in_pdflatex_in_any_shape(tmp_path: Path) -> None:
    known = [each for each in latin() if not beyond(tex(each))]
    assert len(known) > 550
    assert all(not beyond(tex(each)) for each in "àéîõüçñøåæœßšžğışőűčřěůłąężźńśćþðđŋ")
    text = " ".join(map(tex, known))
    some = tex("é ő ş ậ δ ≥ × − ² ß")
    shapes = rf"\textbf{{{some}}} \textit{{{some}}} \begin{{table}}\caption{{{some}}}\end{{table}}"
    document = "\\documentclass{article}\n\\begin{document}\n\\sloppy " + text + shapes + "\n\\end{document}"
    assert compiled(document, tmp_path) is not None


def table(label: str) -> Comparison:
    found = paper_comparison(("mrope", "mrope-i"), labels=(label,))
    columns = [replace(each, title="Tâche δ ≥ 2") if each.task == "other" else each for each in found.columns]
    return replace(found, columns=columns)


def test_a_document_of_latin_greek_and_signs_compiles_in_pdflatex(tmp_path: Path) -> None:
    text = latex(table("Đặc–α ×2 (naïve)"), PAPER, standalone=True)
    assert re.findall(r"\\usepackage(?:\[.*?\])?\{(.*?)\}", text) == ["booktabs"]
    assert beyond(re.sub("^%.*$", "", text, flags=re.MULTILINE)) == []
    shown = compiled(text, tmp_path)
    assert not shown or "×2" in shown


def engine(*names: str) -> str:
    """An engine; skips without one."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(names)} here")
    return found


def made(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    words = [words[0], "-interaction=nonstopmode", "-halt-on-error", *words[1:]]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")


def test_a_document_that_pdflatex_can_t_set_stops_it_by_name(tmp_path: Path) -> None:
    text = latex(table("Вера 中"), PAPER, standalone=True)
    (tmp_path / "page.tex").write_text(text, encoding="utf-8")
    assert "% pdfLaTeX can't set В (U+0412 CYRILLIC CAPITAL LETTER VE)" in text
    done = made([engine("pdflatex"), "page.tex"], tmp_path)
    assert done.returncode != 0
    said = done.stdout.replace("\n", "")
    assert "pdfLaTeX can't set U+0412" in said
    assert not (tmp_path / "page.pdf").exists()


def test_xelatex_sets_it_in_a_font_that_has_the_letters_or_says_there_is_none(tmp_path: Path) -> None:
    xelatex = engine("xelatex")
    (tmp_path / "page.tex").write_text(latex(table("Вера (ours)"), PAPER, standalone=True), encoding="utf-8")
    done = made([xelatex, "page.tex"], tmp_path)
    if done.returncode:
        assert 'No font here has all of "Вера"' in done.stdout
        pytest.skip("no font here has Cyrillic letters")
    if shutil.which("pdftotext"):
        read = subprocess.run(["pdftotext", "page.pdf", "-"], cwd=tmp_path, capture_output=True, text=True)
        assert "Вера (ours)" in read.stdout
    # Letters of no font: an error, not an empty place.
    (tmp_path / "page.tex").write_text(latex(table("\U00013000"), PAPER, standalone=True), encoding="utf-8")
    none = made([xelatex, "page.tex"], tmp_path)
    assert none.returncode == 0 or "No font here has all of" in none.stdout


def test_words_from_right_to_left_are_refused_in_a_document() -> None:
    with pytest.raises(UsageError, match=r"U\+05D0 HEBREW LETTER ALEF"):
        latex(table("אב"), PAPER, standalone=True)
    assert "HEBREW LETTER ALEF" in latex(table("אב"), PAPER)


def test_a_table_to_paste_names_what_it_needs_in_a_comment_and_the_command_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from evalkit.cli import run_cli
    from evalkit.scoring.finalize import rescore
    from tools.bench.made_runs import generate_run

    run = generate_run(tmp_path / "run", 20, "m", ("chartqa",))
    rescore(run)
    words = ["compare", str(run.path), "--format", "latex"]
    assert run_cli([*words, "--label", "mrope=Вера", "--label", "mrope-i=é ≥ δ"]) == 0
    out, err = capfd.readouterr()
    assert "% pdfLaTeX can't set В (U+0412" in out
    assert r"\'{e} $\geq$ $\delta$" in out
    assert err.startswith("note: pdfLaTeX can't set В (U+0412")
    assert run_cli([*words, "--label", "mrope-i=é ≥ δ"]) == 0
    assert capfd.readouterr().err == ""
