"""Names that hold commands of Markdown, LaTeX, spreadsheets and terminals are texts in every table."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from evalkit.benchmarks import submissions
from evalkit.core import escapes
from evalkit.core.console import inline, scrub, visible
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Score
from evalkit.report import tables
from evalkit.report.aggregate import BenchmarkColumn, make_cell
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.latex import latex
from evalkit.report.leaderboard.check import unsupported
from evalkit.report.leaderboard.table import LeaderboardSource, leaderboard_rows, read, write
from evalkit.store import Record

COMMANDS = (
    "a|b",
    "`code` ``x``",
    "<script>alert(1)</script><img src=x>",
    "[click](javascript:alert(1)) ![i](http://evil/x.png)",
    "**bold** _it_ ~~no~~ $x$",
    "https://evil.example www.evil.example",
    "\\input{/etc/passwd} % comment",
    "^^M\\input{x}\r\\input{y}\n\\input{z}",
    "a & b \\\\ \\hline # {x} [2em] ~ \"q\" <y>",
    "=cmd|' /C calc'!A0",
    "+1+2", "-1+2", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1+1", "'=1", "''=1", "'", "it's",
    "> quote", "# head",
    "\x1b[31mred\x1b[0m\x07\x08\u202e\u200b",
)  # fmt: skip


def comparison(names: Sequence[str]) -> Comparison:
    """An arm, a benchmark and a label of each of these names."""
    arms = [Arm(name, name, name, "qwen2_5_vl", "f" * 8, "run") for name in names]
    columns = [BenchmarkColumn(name, "image", name.upper(), name, (0, 1)) for name in names]
    cells = {}
    for arm in arms:
        cells[arm.name] = {}
        for column in columns:
            record = Record(
                arm=arm.name, model=arm.name, rope="mrope", task=column.task, sample_id="1", index=0, key="k",
                cluster_id="1", prompt="?", reference="x", raw="x", finish_reason="stop",
                groups={column.task: arm.name}, score=Score(0.5),
            )  # fmt: skip
            cells[arm.name][column.task] = make_cell(arm.name, column, [record], 1, Anls())
    return Comparison(arms, columns, cells)


@pytest.fixture(scope="module")
def hostile() -> Comparison:
    return comparison(COMMANDS)


def test_markdown_shows_names_as_they_are(hostile: Comparison) -> None:
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(tables.markdown(hostile, breakdown=True))
    inner = [child.type for token in tokens for child in token.children or ()]
    assert {"html_inline", "link_open", "image", "code_inline", "s_open"}.isdisjoint(inner)
    assert {"html_block", "heading_open", "blockquote_open", "fence"}.isdisjoint(each.type for each in tokens)
    heads = [tokens[at + 1] for at, token in enumerate(tokens) if token.type == "th_open"]
    shown = ["".join(child.content for child in head.children or ()) for head in heads]
    # A cell's spaces at either end are not shown.
    assert shown[: len(COMMANDS) + 1] == ["benchmark", *(inline(name).strip() for name in COMMANDS)]
    rows = re.findall("<tr>.*?</tr>", MarkdownIt("gfm-like", {"linkify": False}).render(
        tables.markdown(hostile)), re.S)  # fmt: skip
    assert {row.count("<td") + row.count("<th") for row in rows} == {len(COMMANDS) + 1}


def test_bare_addresses_are_no_links_in_markdown() -> None:
    text = escapes.markdown("https://evil.example www.evil.example http://x")
    assert "https://" not in text
    assert "www." not in text
    assert "http://" not in text


def test_latex_holds_no_command_of_a_name(hostile: Comparison) -> None:
    text = latex(hostile)
    own = ("toprule", "midrule", "bottomrule", "begin", "end", "textit", "textbf", "underline")
    named = ("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar")
    body = [line for line in text.splitlines() if not line.startswith("% ")]
    assert set(re.findall(r"\\([A-Za-z]+)", "\n".join(body))) <= {*own, *named, "textasciigrave", "dagger"}
    # The columns of every row, and no comment within one.
    rows = [line for line in body if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(COMMANDS) + 1}
    assert not re.search(r"(?<!\\)(%|#|\^\^)", "\n".join(rows))
    assert not re.search(r"\\\\\s*\[", "\n".join(body))
    # What comments hold stays in their lines.
    assert len(body) == len(rows) + 5 + text.count("midrule") - 1


def test_a_terminal_gets_no_command_but_of_its_own_style(hostile: Comparison) -> None:
    drawn = io.StringIO()
    Console(file=drawn, force_terminal=True, width=2000).print(tables.terminal(hostile, 2000, breakdown=True))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", drawn.getvalue())
    assert visible(plain) == plain
    assert r"\x1b[31mred" in plain


def test_csv_cells_are_no_formulas_and_numbers_stay_numbers(hostile: Comparison) -> None:
    found = pd.read_csv(io.StringIO(tables.csv(hostile), newline=""))
    texts = [each for name in ("arm", "model", "task", "group", "label") for each in found[name].dropna()]
    assert not any(text[:1] in "=+-@\t\r\n＝" for text in texts if text)
    assert {escapes.csv_text(text) for text in found["arm"]} == set(COMMANDS)
    assert found["value"].dtype == float
    assert pd.api.types.is_integer_dtype(found["n"])
    negative = escapes.csv_table(pd.DataFrame({"difference": [-0.25, None], "label": ["-5", "-x"]}))
    assert negative.splitlines() == ["difference,label", "-0.25,-5", ",'-x"]


@given(st.text())
def test_a_cell_is_read_back_as_it_was(text: str) -> None:
    cell = str(escapes.csv_cell(text))
    assert escapes.csv_text(cell) == text
    assert cell[:1] not in ("=", "@", "\t", "\r", "\n")


@given(st.text())
def test_what_is_shown_stays_as_it_is_when_shown_again(text: str) -> None:
    assert visible(visible(text)) == visible(text)
    assert inline(inline(text)) == inline(text)
    assert scrub(scrub(text)) == scrub(text)


def test_a_leaderboard_keeps_hostile_names(tmp_path: Path) -> None:
    whole = comparison(COMMANDS)
    facts = LeaderboardSource(whole, "full", "0.1.0", "2026-11-27", {})
    path = tmp_path / "board.csv"
    write(path, leaderboard_rows(facts))
    first = path.read_bytes()
    assert set(read(path)["model"]) == set(COMMANDS)
    write(path, leaderboard_rows(facts))
    assert path.read_bytes() == first
    assert unsupported(path, leaderboard_rows(facts)) == []
    raw = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert not any(text[:1] in "=+-@\t\r\n＝" for text in [*raw["model"], *raw.columns] if text)


def test_a_spreadsheet_holds_no_formula() -> None:
    entry = submissions.SubmissionEntry("1", "=1+1", "=HYPERLINK(1)\x07", {"A": "=2"}, {"category": "=3"})
    sheet = openpyxl.load_workbook(io.BytesIO(submissions.MMBENCH.write([entry]))).active
    assert [cell.data_type for row in sheet.iter_rows(min_row=2) for cell in row].count("f") == 0
    ids = submissions.SubmissionEntry('a,"b"\n', "A", "", {"A": "x"})
    lines = pd.read_csv(io.BytesIO(submissions.EGOSCHEMA.write([ids])))
    assert json.loads(lines.to_json(orient="records")) == [{"q_uid": 'a,"b"\n', "answer": 0}]
