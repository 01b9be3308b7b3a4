"""Reasoning is separated from the final answer before every metric, or nothing is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.cli import run_cli
from evalkit.metrics.anls import Anls
from evalkit.metrics.base import Metric
from evalkit.metrics.boxes import BoxAccuracy
from evalkit.metrics.choice import MultipleChoice
from evalkit.metrics.flags import is_repeating
from evalkit.metrics.mathvista import MathVistaAccuracy
from evalkit.metrics.points import PointInBox
from evalkit.metrics.reasoning import NONE, RULES, UNFINISHED, opens_reasoning, split_reasoning
from evalkit.metrics.spans import SpanIou
from evalkit.metrics.vqa import VqaAccuracy
from evalkit.metrics.yes_no import PopeAccuracy
from evalkit.scoring.predictions import score_file
from evalkit.scoring.score import score_records
from evalkit.store.records import Record

THOUGHT = "First I took it for A, then for (C): 3 of 7, [1, 2, 3, 4], 1 to 2 seconds, no."

# How each notation begins and ends reasoning, and where it is from.
NOTATIONS = {
    "think": ("<think>\n{}\n</think>\n\n", "DeepSeek-R1, Qwen3, GLM"),
    "thinking": ("<thinking>{}</thinking>", "Claude-styled fine-tunes"),
    "thought": ("<thought>{}</thought>", "Reflection-70B's kin"),
    "reasoning": ("<reasoning>{}</reasoning>\n", "GRPO recipes of unsloth and trl"),
    "reflection": ("<think>x</think><reflection>{}</reflection>", "Reflection-70B"),
    "upper": ("<THINK>{}</THINK>", "R1-OneVision"),
    "rethink": ("<think>x</think><rethink>{}</rethink>", "two-pass recipes"),
    "field": ("<reasoning_content>{}</reasoning_content>", "the name of chat APIs' field"),
    "spaced": ("< think >\n{}\n< / think >", "small models"),
    "attribute": ('<think duration="3s">{}</think>', "chat exports"),
    "seed": ("<seed:think>{}</seed:think>", "Seed-OSS"),
    "kimi": ("◁think▷{}◁/think▷", "Kimi-VL-Thinking"),
    "magistral": ("[THINK]{}[/THINK]", "Magistral"),
    "skywork": ("<|begin_of_thought|>{}<|end_of_thought|>", "Sky-T1"),
    "cohere": ("<|START_THINKING|>{}<|END_THINKING|>", "Command A Reasoning"),
    "gpt-oss": (
        "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
        "harmony",
    ),
    "gemma": ("<|channel>thought\n{}<channel|>", "Gemma 4"),
    "medgemma": ("<unused94>thought\n{}<unused95>", "MedGemma"),
    "closing alone": ("{}\n</think>\n\n", "the template opened it"),
    "closing alone, inline": ("{} </think> ", "the same, on one line"),
    "twice": ("<think>\n<think>\n{}</think>", "the template opened it, and so did the model"),
    "several": ("<think>{}</think>\n<think>Again: A.</think>", "interleaved"),
    "nested": ("<think>{} <think>A?</think> A!</think>", "quoting itself"),
    "mixed": ("<think>{}</thinking>", "closed by another name"),
    "empty": ("<think>\n\n</think>\n\n", "Qwen3 without thinking"),
    "within": ("<think>{} <answer>A</answer></think>", "a draft of the answer"),
}
# How each notation marks the answer.
MARKS = {
    "none": "{}",
    "answer": "<answer>{}</answer>",
    "answer, spaced": "<answer>\n{}\n</answer>",
    "answer, unclosed": "<answer>{}",
    "answer, upper": "<Answer>{}</ANSWER>",
    "the last one": "<answer>A</answer> No: <answer>{}</answer>",
    "prose around": "I have seen A.\n<answer>{}</answer>\nThat is not A.",
    "glm": "<|begin_of_box|>{}<|end_of_box|>",
    "glm within": "<answer><|begin_of_box|>{}<|end_of_box|></answer>",
    "sky": "<|begin_of_solution|>{}<|end_of_solution|>",
    "llava-cot": "<CONCLUSION> {} </CONCLUSION>",
    "final": "<final_answer>{}</final_answer>",
    "cohere": "<|START_RESPONSE|>{}<|END_RESPONSE|>",
}
ANSWERS = ("B", "12 May", "[10, 20, 30, 40]", "<|box_start|>(1,2),(3,4)<|box_end|>", "5 < 6 and 7 > 6")


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_notation_leaves_the_answer(notation: str, mark: str) -> None:
    for answer in ANSWERS:
        text = NOTATIONS[notation][0].format(THOUGHT) + MARKS[mark].format(answer)
        found = split_reasoning(text)
        assert (found.final, found.truncated) == (answer, False)
        assert notation == "empty" or "First I took it for A" in found.reasoning


@pytest.mark.parametrize(
    "text",
    [
        "<think>It is A, since",
        "<think>It is A, since <answer>A</answer>",
        "<think>",
        "<think>It is A, since</thin",
        "◁think▷A",
        "[THINK]\nA",
        "<|channel|>analysis<|message|>A",
        "<|channel>thought\nA",
        "<think>done</think>\n<think>\nbut A",
        "A\n<think>\nor rather",
        "The answer is A. <think> Let me check",
        "Okay <think> so " + "the answer may be A, or it may be C. " * 9,
        "<think><reasoning>x</reasoning> so A",
    ],
)
def test_reasoning_that_never_ended_leaves_nothing(text: str) -> None:
    found = split_reasoning(text)
    assert (found.final, found.truncated) == ("", True)


@pytest.mark.parametrize(
    "text",
    [
        "The <think> tag opens it.",
        "The sign says <think> in red.",
        "The page shows `<think>` and `</think>`.",
        'It reads "</think>" at the top.',
        "Use <think> and </think> for that.",
        "He wrote </think>.",
        "The <answer> field is empty",
        "a < b and b > c",
        "<b>bold</b> [12] <image> <box>(1,2),(3,4)</box>",
        "I think the answer is B.",
        "[answer] B",
        " no tag: verbatim \n",
        "```html\n<summary>x</summary>\n```",
    ],
)
def test_an_answer_that_mentions_a_tag_does_not_vanish(text: str) -> None:
    assert split_reasoning(text) == split_reasoning(text, NONE)
    assert split_reasoning(text).final == text


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("R</think>", ""),
        ("B <think>Is it? Yes.</think>", "B"),
        ("<think>R</think>B<think>Yes.</think>", "B"),
        ("Put it into <answer> tags: <answer>B</answer>", "B"),
        ("B</answer>", "B"),
        ("R</think>B</answer>", "B"),
        ("analysisIs it A? No.assistantfinalB", "B"),
        ("<think>I write <think> tags now.</think>B", "B"),
        ("so it is A.</think>.", "."),
        ("<answer></answer>", ""),
        ("&lt;think&gt;A&lt;/think&gt;B", "B"),
    ],
)
def test_odd_forms(text: str, final: str) -> None:
    assert split_reasoning(text).final == final


def test_a_prompt_may_open_the_reasoning() -> None:
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert opens_reasoning("assistant◁think▷")
    assert opens_reasoning("[INST]?[/INST][THINK]")
    assert not opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_reasoning("Answer within <answer> and <think>.<|im_end|>\n<|im_start|>assistant\n")
    assert split_reasoning("It is A or B", opened=True).truncated
    assert split_reasoning("It is A </think> B", opened=True).final == "B"
    assert split_reasoning("<think>\nIt is A</think>B", opened=True).final == "B"


def test_rules_have_names() -> None:
    assert split_reasoning("<think>A</think>B", NONE).final == "<think>A</think>B"
    with pytest.raises(ValueError, match="tags, none"):
        split_reasoning("B", "guess")


PIECES = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<answer>", "</answer>", "A", " ", "\n", "`", ".", "<", "[THINK]", "◁"]
    )
)


@given(pieces=PIECES, rule=st.sampled_from(RULES), opened=st.booleans())
def test_any_text_can_be_separated(pieces: list[str], rule: str, opened: bool) -> None:
    text = "".join(pieces)
    found = split_reasoning(text, rule, opened=opened)
    assert found.truncated <= (found.final == "")
    if "<" not in text and "[" not in text and not opened:
        assert found.final == text


REFERENCES: dict[str, tuple[Metric, object, dict[str, object]]] = {
    "letter": (MultipleChoice(), "B", {"options": {"A": "red", "B": "blue", "C": "green"}}),
    "box": (BoxAccuracy(), [1, 2, 3, 4], {"image_size": [9, 9], "box_space": "abs"}),
    "point": (PointInBox(), [1, 2, 3, 4], {"image_size": [9, 9], "box_space": "abs"}),
    "span": (SpanIou(), [5, 9], {}),
    "number": (
        MathVistaAccuracy(),
        "12",
        {"group": {"question_type": "free_form", "answer_type": "integer"}},
    ),
    "text": (Anls(), ["12 May"], {}),
    "vqa": (VqaAccuracy(), ["12 may"] * 10, {}),
}
SAID = {
    "letter": "B",
    "box": "[1, 2, 3, 4]",
    "point": "(2, 3)",
    "span": "5 to 9",
    "number": "12",
    "text": "12 May",
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_every_kind_of_answer_is_read_after_the_reasoning(tmp_path: Path, kind: str) -> None:
    metric, reference, fields = REFERENCES[kind]
    line = {
        "task": kind,
        "prediction": f"<think>{THOUGHT}</think>\n{SAID.get(kind, '12 May')}",
        "reference": reference,
    }
    path = tmp_path / "p.jsonl"
    path.write_text(
        json.dumps(line | fields) + "\n" + json.dumps(line | fields | {"prediction": f"<think>{THOUGHT}"})
    )
    block = score_file(path, find_metric={kind: metric}.get)[kind]
    assert (block["n"], block["reasoning"], block["scores"][metric.name]) == (2, "tags", 0.5)
    half = {"truncated_in_reasoning": 0.5}
    assert block["rates"] == {"error": 0, "truncated_or_empty": 0.5, **half, "unparsed": 0.5, "repeating": 0}


def record(raw: str, **fields: object) -> Record:
    known = {"arm": "m@v", "model": "m", "rope": "v", "task": "t", "sample_id": "1", "index": 0, "key": "k"}
    known |= {
        "cluster_id": "c",
        "prompt": "?",
        "reference": "B",
        "raw": raw,
        "finish_reason": "stop",
    }
    return Record(**{**known, "meta": {"options": {"A": "x", "B": "y"}}, **fields})  # type: ignore[arg-type]


def scored(raw: str, metric: Metric | None = None, reasoning: str = "tags", **fields: object) -> Record:
    return score_records([record(raw, **fields)], {"t": metric or MultipleChoice()}, reasoning)[0]


def test_a_record_keeps_its_text_and_shows_both_parts() -> None:
    found = scored("<think>A</think>B")
    assert (found.raw, found.reasoning, found.final, found.flags) == ("<think>A</think>B", "A", "B", ())
    assert Record.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.answer().prediction == "B"  # what figures over a whole file look at, too


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_unfinished_reasoning_is_truncated_and_unparsed(finish: str) -> None:
    found = scored("<think>the answer is B", finish_reason=finish)
    assert found.score is not None
    assert (found.score.value, found.score.parsed, found.score.parse_error) == (0.0, None, UNFINISHED)
    assert found.flags == ("truncated", "truncated_reasoning", "unparsed")


def test_a_template_that_opens_reasoning_is_looked_at() -> None:
    opened = "<|im_start|>assistant\n<think>\n"
    assert scored("the answer is B", prompt=opened).flags == ("truncated", "truncated_reasoning", "unparsed")
    assert scored("A?</think>B", prompt=opened).final == "B"
    # With --mc-logits the answer is a letter that was never generated.
    assert scored("B", prompt=opened, token_ids=(66,)).final == "B"


def test_an_unanswered_sample_has_the_official_score() -> None:
    found = scored("<think>no", PopeAccuracy(), reference="yes")
    assert found.score is not None
    assert (found.score.value, found.score.parsed, found.score.parse_error) == (1.0, "yes", UNFINISHED)


def test_flags_look_at_the_right_text() -> None:
    assert scored("<think>A</think>").flags == ("empty", "unparsed")
    assert scored("<think>A</think>", reasoning=NONE).flags != ("empty", "unparsed")
    loop = "1" * 40
    assert is_repeating(loop)
    assert "repeating" in scored(f"<think>x</think><answer>{loop}</answer>").flags
    assert "repeating" in scored(f"<think>{loop}").flags
    assert "repeating" not in scored(f"<think>{loop}</think>B").flags


def test_a_file_can_be_scored_with_the_whole_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.jsonl"
    line = {
        "task": "docvqa_val",
        "prediction": "<think>x</think>12 May",
        "reference": ["12 May"],
    }
    path.write_text(json.dumps(line))
    found = {}
    for rule in RULES:
        assert run_cli(["score", str(path), "--json", "--reasoning", rule]) == 0
        found[rule] = json.loads(capsys.readouterr().out)["docvqa_val"]
    assert (found["tags"]["scores"]["anls"], found["none"]["scores"]["anls"]) == (1.0, 0.0)
    assert [each["reasoning"] for each in found.values()] == ["tags", "none"]


def test_shared_readings_of_reasoning(shared: Path, tmp_path: Path) -> None:
    lines = (shared / "readings" / "cases.jsonl").read_text().splitlines()
    wanted = [line for line in lines if json.loads(line)["kind"] == "reasoning"]
    path = tmp_path / "cases.jsonl"
    path.write_text("\n".join(wanted))
    for task, block in score_file(path).items():
        assert next(iter(block["scores"].values())) == 1.0, task
