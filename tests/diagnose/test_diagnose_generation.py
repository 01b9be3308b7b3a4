"""`evalkit diagnose generation`: what is found in answers, and where the report shows it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import asked, browser, opened

import evalkit.zoo
from evalkit.cli import run_cli
from evalkit.diagnose.formats import change_of_script, format_of, script_of
from evalkit.diagnose.generation import RULES, Usual, finding
from evalkit.metrics.base import Score
from evalkit.metrics.flags import find_loop, is_repeating
from evalkit.store import Record

USUAL = Usual(("words",), ("Latin",), 10)


def answered(raw: str, finish: str = "stop", flags: tuple[str, ...] = ()) -> Record:
    return Record(
        arm="m@a",
        model="m",
        rope="a",
        task="t",
        sample_id="1",
        index=0,
        key="k",
        cluster_id="1",
        prompt="",
        reference="",
        raw=raw,
        finish_reason=finish,  # type: ignore[arg-type]
        score=Score(0.0),
        flags=flags,
        final=raw,
        token_ids=(1, 2),
    )


@given(st.text("ab1 ,", max_size=12), st.text("ab1 ,", min_size=1, max_size=9), st.integers(1, 80))
def test_a_loop_is_found_exactly_where_the_flag_is_set(head: str, piece: str, times: int) -> None:
    text = head + piece * times
    loop = find_loop(text)
    assert (loop is not None) == is_repeating(text)
    if loop:
        stripped = text.rstrip()
        whole = loop.piece * (int(loop.times) + 2)
        assert stripped == stripped[: loop.start] + whole[: len(stripped) - loop.start]
        assert loop.start <= len(head) + len(piece)
        assert not loop.start or stripped[loop.start - 1] != loop.piece[-1]


def test_the_loop_and_where_it_starts_are_said() -> None:
    found = finding("r", answered("Total: 5" + "1" * 4200, "loop", ("repeating",)), USUAL)
    assert found is not None
    assert found.loop is not None
    assert (found.kinds, found.loop.piece, found.loop.start) == (("loop",), "1", 8)
    assert found.what == ("`1` 4,200 times from character 8 on (0% of the answer)",)
    hidden = finding("r", answered("a", "loop", ("repeating",)), USUAL)
    assert hidden is not None
    assert hidden.what == ("one phrase of tokens over and over, which its text does not show",)


@pytest.mark.parametrize(
    ("raw", "flags", "kinds", "what"),
    [
        ("a red car", (), (), ""),
        ("", ("empty",), ("empty",), "white space"),
        ("a red", ("truncated",), ("truncated",), "2 tokens"),
        ("42", (), ("format",), "number, where answers are words"),
        ("a red car and then some", (), ("format",), "sentence, where"),
        ("abcdefghijabcdefghijabcdefghijk", (), ("format",), "31 characters, where 99%"),
        ("машинакрасная", (), ("language",), "Cyrillic, where answers are Latin"),
        ("the red car 红色的汽车停在路边的树下", (), ("language", "format"), "Latin, then Han"),
    ],
)
def test_what_an_answer_has(raw: str, flags: tuple[str, ...], kinds: tuple[str, ...], what: str) -> None:
    found = finding("r", answered(raw, flags=flags), USUAL)
    assert (found.kinds if found else ()) == kinds
    if found:
        assert what in found.what[0]


def test_too_few_answers_say_nothing_of_what_is_usual() -> None:
    assert finding("r", answered("42"), Usual()) is None


def test_scripts_and_formats() -> None:
    assert script_of("東京タワーはどこですか") == "Japanese"
    assert script_of("abc") == ""
    assert change_of_script("これは東京の写真です。東京都庁舎前駅") is None  # kanji are Japanese there
    assert format_of("红色的汽车停在路边的树下") == "sentence"
    assert [format_of(text) for text in ("{}", "A.", "12:30", " ".join("a" * 61))] == [
        *("structure", "letter", "number", "long"),
    ]
    assert set(RULES) == {"loop", "truncated", "empty", "language", "format", "error"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two systems: one answers `ABC`, the other does everything wrong somewhere."""
    folder = tmp_path_factory.mktemp("generation")
    from evalkit.core.registry import load_task

    ids = [sample.id for sample in load_task("mini_docvqa").samples(None)]
    wrong = dict.fromkeys(ids, "ABC")
    answers = folder / "answers.json"
    plain = folder / "plain.json"
    plain.write_text(json.dumps(wrong))
    wrong |= dict(zip(ids, ("1" * 50, " ", "The code is red.", "АБВГДЕЖЗИК"), strict=False))
    answers.write_text(json.dumps(wrong))
    models = ["--model", f"mock:answers={plain}", "--model", f"mock:answers={answers}"]
    assert run_cli(
        ["run", *models, "--tasks", "mini_docvqa", "--workers", "0", "--output", str(folder / "run")]
    ) in (0, 3)
    return folder / "run"


def test_a_run_by_task_and_system(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run_cli(["diagnose", "generation", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    good, bad = found["cells"]
    assert (good["answers"], sum(good[kind] for kind in RULES)) == (240, 0)
    expected = {
        "loop": 1,
        "empty": 1,
        "format": 2,
        "language": 1,
    }  # the long word in Cyrillic is too long as well
    assert {kind: bad[kind] for kind in RULES} == dict.fromkeys(RULES, 0) | expected
    assert found["usual"]["mini_docvqa"]["formats"] == ["words"]
    assert {kind for each in found["findings"] for kind in each["kinds"]} >= {
        "loop",
        "empty",
        "format",
        "language",
    }
    assert run_cli(["diagnose", "generation", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "`1` 50 times from character 0 on" in printed
    assert "Cyrillic, where answers are Latin" in printed


def test_links_lead_to_the_sample_in_the_page(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    capsys.readouterr()
    assert run_cli(["diagnose", "generation", str(run), "--report", str(page), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    loop = next(each for each in found if "loop" in each["kinds"])
    target, _, fragment = loop["link"].partition("#")
    assert Path(target) == page
    assert parse_qs(fragment) == {"task": ["mini_docvqa"], "q": [loop["sample_id"]]}
    shown = opened(browser(), page, fragment)
    assert shown.count('<article class="sample"') >= 1
    assert f"mini_docvqa · {loop['sample_id']} ·" in shown
    assert loop["text"] in shown
    window = "--window-size=900,400"
    assert asked(browser(), page, "answer = scrollY", "", window) == 0
    assert asked(browser(), page, "answer = scrollY", fragment, window) > 0


def test_a_diagonal_layout_at_inference_is_looked_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real model on documents, as docs/diagnose.md does with all of them: counts are those of the flags."""
    checkpoint = Path(evalkit.zoo.__file__).parent / "checkpoints/tiny-mrope-i"
    ropes = ("mrope-i", "position=diagonal,frequency=interleave")
    models = [word for rope in ropes for word in ("--model", f"{rope}={checkpoint}")]
    options = ["--tasks", "mini_docvqa", "--limit", "12", "--workers", "0", "--output", str(tmp_path / "run")]
    assert run_cli(["run", *models, *options]) in (0, 3)
    capsys.readouterr()
    assert run_cli(["diagnose", "generation", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["arm"].partition("@")[2] for each in found["cells"]] == list(ropes)
    records = [json.loads(line) for line in (tmp_path / "run/records.jsonl").open()]
    for cell in found["cells"]:
        flags = [flag for each in records if each["arm"] == cell["arm"] for flag in each["flags"]]
        for kind, flag in (
            ("loop", "repeating"),
            ("truncated", "truncated"),
            ("empty", "empty"),
            ("error", "error"),
        ):
            assert cell[kind] == flags.count(flag)
