"""Annotations of GitHub Actions: one for each regression, in its form, whatever a model wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.ci import baseline
from evalkit.ci.baseline import BaselineAnswer
from evalkit.ci.github import in_github_actions, workflow_commands
from evalkit.ci.policy import Limits, Policy, TaskPolicy, Tier
from evalkit.ci.verdict import TaskVerdict, judge
from evalkit.config.run_spec import RunSpec

# How the runner takes a command apart: actions/runner, src/Runner.Common/ActionCommand.cs, TryParseV2.
COMMAND = re.compile(r"::(?P<name>\w+) (?P<properties>.*?)::(?P<data>.*)", re.DOTALL)


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """Level, properties and message of a command, as the runner reads them."""
    assert "\n" not in line
    assert "\r" not in line
    found = COMMAND.fullmatch(line)
    assert found
    pairs = (part.split("=", 1) for part in found["properties"].split(","))
    own = {"%3A": ":", "%2C": ","}
    return found["name"], {name: decoded(value, own) for name, value in pairs}, decoded(found["data"], {})


def decoded(text: str, more: dict[str, str]) -> str:
    for escape, character in {**more, "%0D": "\r", "%0A": "\n", "%25": "%"}.items():
        text = text.replace(escape, character)
    return text


EXACT = Limits()


def judged(
    tier: Tier = "critical",
    arm: str = "tiny@mrope",
    task: str = "docs",
    text: str = "x",
    limits: Limits = EXACT,
) -> list[TaskVerdict]:
    before = {str(n): BaselineAnswer(1.0, text) for n in range(12)}
    after = {**before, "7": BaselineAnswer(0.0, text), "3": BaselineAnswer(1.0, "other")}
    return judge({(arm, task): before}, {(arm, task): after}, Policy(TaskPolicy(limits, tier)))


def stored(folder: Path, verdicts: list[TaskVerdict]) -> Path:
    answers = {str(n): BaselineAnswer(1.0, "x") for n in range(12)}
    places = {(each.arm, each.task): answers for each in verdicts}
    baseline.write(folder, RunSpec(models=("tiny",), tasks=("docs",)), places)
    return folder


def test_a_regression_is_annotated_at_the_line_of_its_first_worse_sample(tmp_path: Path) -> None:
    verdicts = judged()
    folder = stored(tmp_path / "repo" / "base", verdicts)
    (line,) = workflow_commands([(folder, verdicts[0])], tmp_path / "repo")
    level, properties, message = parsed(line)
    assert level == "error"
    assert properties["file"] == "base/tiny@mrope/docs.tsv"
    lines = (folder / "tiny@mrope/docs.tsv").read_text().splitlines()
    assert lines[int(properties["line"]) - 1].startswith('"7"')
    assert properties["title"] == "NO-GO: tiny@mrope on docs (critical)"
    assert message.splitlines()[0] == "1 samples got worse, 0 may"
    assert "worse: 7 'x' (1) -> 'x' (0)" in message


def test_each_regression_has_one_the_critical_first_and_advisory_ones_are_warnings(tmp_path: Path) -> None:
    found = [*judged("advisory", task="a"), *judged("supporting", task="b"), *judged("critical", task="c")]
    good = judged(limits=Limits(identical=0, flips=5, drop=0.5), task="d")
    lines = [parsed(line) for line in workflow_commands([(tmp_path, each) for each in [*found, *good]])]
    assert [level for level, *_ in lines] == ["error", "error", "warning"]
    assert [properties["title"].split(" on ")[1] for _, properties, _ in lines] == [
        "c (critical)",
        "b (supporting)",
        "a (advisory)",
    ]


def test_what_was_not_run_is_annotated_without_a_line(tmp_path: Path) -> None:
    verdicts = judge({("a@b", "t"): {"1": BaselineAnswer(1.0, "x")}}, {}, Policy(), ["a@b (no such folder)"])
    ((level, properties, message),) = map(parsed, workflow_commands([(tmp_path, verdicts[0])]))
    assert (level, set(properties)) == ("error", {"file", "title"})
    assert properties["title"].startswith("INCONCLUSIVE")
    assert "no such folder" in message


PIECES = (*"ab:,%=\n\r;#[]0ADéx ", "::error::", "%0A", "%25")
ODD = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)


@given(arm=ODD, task=ODD, text=ODD)
def test_any_name_and_answer_arrives_as_it_is(arm: str, task: str, text: str) -> None:
    verdicts = judged(arm=arm, task=task, text=text)
    ((level, properties, message),) = map(parsed, workflow_commands([(Path("base"), verdicts[0])]))
    assert level == "error"
    assert set(properties) == {"file", "title"}
    assert properties["title"] == f"NO-GO: {arm} on {task} (critical)"
    assert f"worse: 7 {text!r} (1) -> {text!r} (0)" in message


def test_a_secret_is_hidden() -> None:
    verdicts = judged(arm="m@b", text="HF_TOKEN=abcdefgh")
    (line,) = workflow_commands([(Path("base"), verdicts[0])])
    assert "abcdefgh" not in line


@pytest.mark.parametrize(("value", "inside"), [("true", True), ("false", False), ("", False), (None, False)])
def test_only_github_s_log_has_them(value: str | None, inside: bool) -> None:
    assert in_github_actions({} if value is None else {"GITHUB_ACTIONS": value}) is inside
