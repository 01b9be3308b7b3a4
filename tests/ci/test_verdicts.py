"""What a check says of changed answers, and the files that it reads and writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.ci import baseline
from evalkit.ci.baseline import BaselineAnswer
from evalkit.ci.policy import PRESETS, Limits, Policy, TaskPolicy, Tier, read_policy
from evalkit.ci.reports import markdown, write_junit
from evalkit.ci.verdict import judge, overall
from evalkit.config.run_spec import RunSpec
from evalkit.core.errors import UsageError

PLACE = ("tiny@mrope", "docs")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed loses nothing that it wrote; only a power cut does."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
SAMPLES = st.dictionaries(
    TEXT, st.builds(BaselineAnswer, st.sampled_from([None, 0.0, 0.5, 1.0]), TEXT), min_size=1
)


def samples(*scores: float | None, text: str = "x") -> dict[str, BaselineAnswer]:
    return {str(n): BaselineAnswer(score, text) for n, score in enumerate(scores)}


def verdict(
    before: dict[str, BaselineAnswer], after: dict[str, BaselineAnswer], **limits: float
) -> tuple[str, str]:
    policy = Policy(TaskPolicy(Limits(**limits)))  # type: ignore[arg-type]
    (found,) = judge({PLACE: before}, {PLACE: after}, policy)
    return found.outcome, "; ".join(found.reasons)


def test_nothing_changed() -> None:
    assert verdict(samples(1, 0, 1), samples(1, 0, 1)) == ("GO", "")


@pytest.mark.parametrize(
    ("after", "limits", "outcome", "why"),
    [
        (samples(1, 0, 0), {}, "NO-GO", "1 samples got worse, 0 may"),
        (samples(1, 0, 0), {"flips": 1, "identical": 0.5, "drop": 0.4}, "GO", ""),
        (samples(1, 0, 0), {"flips": 1, "identical": 0.5, "drop": 0.3}, "NO-GO", "fell by 33.3 points"),
        (samples(1, 1, 1), {}, "NO-GO", "66.7% of the answers are the same"),
        (samples(1, 1, 1), {"identical": 0.6}, "GO", ""),
        (samples(1, 0, 1, text="y"), {}, "NO-GO", "0.0% of the answers are the same"),
        (samples(1, 0, 1, text="y"), {"identical": 0.0}, "GO", ""),
        (samples(1, 0, None), {}, "INCONCLUSIVE", "1 samples failed"),
        (samples(0, 0, None), {}, "NO-GO", "1 samples got worse"),
        (samples(1, 0), {}, "INCONCLUSIVE", "3 samples in the baseline, 2 now"),
    ],
)
def test_limits(after: dict[str, BaselineAnswer], limits: dict[str, float], outcome: str, why: str) -> None:
    found = verdict(samples(1, 0, 1), after, **limits)
    assert found[0] == outcome
    assert why in found[1]


def test_without_a_baseline_nothing_is_known() -> None:
    (found,) = judge({}, {PLACE: samples(1)}, Policy())
    assert found.outcome == "INCONCLUSIVE"
    assert overall([found]) == "INCONCLUSIVE"
    assert overall([]) == "INCONCLUSIVE"


@given(before=SAMPLES, after=SAMPLES)
def test_a_looser_policy_never_objects_to_more(
    before: dict[str, BaselineAnswer], after: dict[str, BaselineAnswer]
) -> None:
    ranks = {"GO": 0, "INCONCLUSIVE": 1, "NO-GO": 2}
    baseline_answers = [
        ranks[judge({PLACE: before}, {PLACE: after}, Policy(TaskPolicy(PRESETS[name])))[0].outcome]
        for name in ("exact", "close", "loose")
    ]
    assert baseline_answers == sorted(baseline_answers, reverse=True)


@given(found=st.dictionaries(st.tuples(st.sampled_from(["a@b", "c@d(x=1)"]), st.sampled_from("tu")), SAMPLES))
def test_a_baseline_reads_back(
    found: dict[tuple[str, str], dict[str, BaselineAnswer]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("baseline")
    spec = RunSpec(models=("tiny",), tasks=("mini",), ropes=("mrope", "mrope-i"), subset="ci", device="cpu")
    baseline.write(folder, spec, found)
    assert baseline.read(folder, found) == found
    again = baseline.read_run_spec(folder, device="cuda")
    assert (again.models, again.ropes, again.tasks, again.subset) == (
        spec.models,
        spec.ropes,
        spec.tasks,
        "ci",
    )
    assert again.device == "cuda"
    for path in folder.glob("*/*.tsv"):
        assert path.read_text().count("\n") == 1 + len(found[_place(path, found)])


def _place(path: Path, found: object) -> tuple[str, str]:
    return (path.parent.name, path.stem)


def test_a_damaged_baseline_is_named(tmp_path: Path) -> None:
    baseline.write(tmp_path, RunSpec(models=("tiny",), tasks=("mini",)), {PLACE: samples(1)})
    path = tmp_path / "tiny@mrope/docs.tsv"
    path.write_text(path.read_text() + "broken\n")
    with pytest.raises(UsageError, match="line 3"):
        baseline.read(tmp_path, {PLACE: {}})
    with pytest.raises(UsageError, match=r"order\.yaml"):
        baseline.read_run_spec(tmp_path / "nowhere")


class Killed(BaseException):
    """What a kill is to the code: nothing handles it."""


CALLS = ("open", "fsync", "replace", "unlink", "mkdir", "rmdir")


@contextmanager
def killed_at(point: int) -> Iterator[list[str]]:
    """Let so many calls that change the disk happen, and no more."""
    done: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*words: Any, **options: Any) -> Any:
            if len(done) >= point:
                raise Killed
            done.append(name)
            return call(*words, **options)

        return counting

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        yield done


def test_an_update_that_is_killed_at_any_point_is_all_or_nothing(tmp_path: Path) -> None:
    """Of tasks and arms that go, that stay, and that come."""
    old = {("a@m", "docs"): samples(1, 0), ("a@m", "gone"): samples(1), ("b@m", "docs"): samples(0)}
    new = {("a@m", "docs"): samples(0, 1), ("a@m", "came"): samples(1), ("c@m", "docs"): samples(0)}
    before, after = RunSpec(models="a", tasks=("docs", "gone")), RunSpec(models="a", tasks=("docs", "came"))
    point, seen = 0, set()
    while True:
        folder = tmp_path / str(point) / "base"
        baseline.write(folder, before, old)
        (folder / "policy.yaml").write_text("limits: loose\n")
        with killed_at(point) as done, suppress(Killed):
            baseline.write(folder, after, new)
        found = baseline.read(folder, new)
        seen.add(found == new)
        assert (found, baseline.read_run_spec(folder).tasks) in ((old, before.tasks), (new, after.tasks))
        assert baseline.baselines_in(folder.parent) == [folder]
        baseline.write(folder, after, new)
        assert (baseline.read(folder, new), baseline.read_run_spec(folder).tasks) == (new, after.tasks)
        assert {path.name for path in folder.iterdir()} <= {
            "order.yaml", "policy.yaml", ".lock", "a@m", "b@m", "c@m",
        }  # fmt: skip
        assert sorted(path.stem for path in folder.glob("*/*.tsv")) == ["came", "docs", "docs"]
        if len(done) < point:
            break
        point += 1
    assert seen == {True, False}
    assert point > 30


def test_policies(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    assert read_policy(path) == Policy(TaskPolicy(PRESETS["exact"], "critical"))
    path.write_text("limits: close\ntasks:\n  a: {flips: 5}\n  b: {limits: loose, drop: 0.1}\n")
    policy = read_policy(path)
    assert policy.of("other") == TaskPolicy(PRESETS["close"])
    assert policy.of("a").limits == Limits(identical=0.95, flips=5, drop=0.02)
    assert policy.of("b").limits == Limits(identical=0.0, flips=10, drop=0.1)


def test_a_task_has_the_policy_s_limits_then_its_tier_s_then_its_own(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "flips: 1\ntier: supporting\n"
        "tiers: {supporting: {drop: 0.03}, advisory: {limits: loose, flips: 20}}\n"
        "tasks: {a: {tier: critical}, b: {flips: 7}, c: {tier: advisory, drop: 0.2}}\n"
    )
    policy = read_policy(path)
    assert policy.of("other") == TaskPolicy(Limits(flips=1, drop=0.03), "supporting")
    assert policy.of("a") == TaskPolicy(Limits(flips=1), "critical")
    assert policy.of("b") == TaskPolicy(Limits(flips=7, drop=0.03), "supporting")
    assert policy.of("c") == TaskPolicy(Limits(identical=0.0, flips=20, drop=0.2), "advisory")


@pytest.mark.parametrize("where", ["tier: close\n", "tasks: {a: {tier: close}}\n"])
def test_a_policy_of_old_never_silently_means_something_else(where: str, tmp_path: Path) -> None:
    """`tier` was the name of what is `limits` now."""
    (tmp_path / "policy.yaml").write_text(where)
    with pytest.raises(UsageError, match=r"`tier: close` is now written `limits: close`"):
        read_policy(tmp_path / "policy.yaml")


WORSE = (samples(1, 0, 1), samples(1, 0, 0))


@pytest.mark.parametrize(
    ("tiers", "outcome"),
    [
        (("critical", "critical"), "NO-GO"),
        (("critical", "supporting"), "NO-GO"),
        (("critical", "advisory"), "GO"),
        (("advisory", "advisory"), "GO"),
    ],
)
def test_an_advisory_task_is_reported_and_fails_nothing(
    tiers: tuple[Tier, Tier], outcome: str, tmp_path: Path
) -> None:
    """The first task stays as it is, the second gets worse."""
    places = (PLACE, ("tiny@mrope", "charts"))
    before, after = (dict(zip(places, (WORSE[0], side), strict=True)) for side in WORSE)
    tasks = {task: TaskPolicy(Limits(), tier) for (_, task), tier in zip(places, tiers, strict=True)}
    verdicts = judge(before, after, Policy(tasks=tasks))
    assert [each.outcome for each in verdicts] == ["GO", "NO-GO"]
    assert overall(verdicts) == outcome
    text = markdown(verdicts)
    assert text.startswith(f"## {outcome}\n")
    assert "1 samples got worse" in text
    assert ("only reported: 1 advisory" in text) == (outcome == "GO")
    write_junit(tmp_path / "junit.xml", verdicts)
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot().attrib
    assert (suite["failures"], suite["skipped"]) == (("0", "1") if outcome == "GO" else ("1", "0"))


def test_an_advisory_task_that_could_not_be_run_is_not_inconclusive_for_all() -> None:
    before = {PLACE: samples(1), ("tiny@mrope", "charts"): samples(1)}
    verdicts = judge(before, {PLACE: samples(1)}, Policy(tasks={"charts": TaskPolicy(tier="advisory")}))
    assert (overall(verdicts), verdicts[1].outcome) == ("GO", "INCONCLUSIVE")
    assert overall(judge(before, {PLACE: samples(1)}, Policy())) == "INCONCLUSIVE"


ANY = {"identical": 0.0, "flips": 1000, "drop": 1.0}


@pytest.mark.parametrize(
    ("right", "limits", "why"),
    [
        ((10, 9), {"relative_drop": 0.1}, ""),
        ((10, 8), {"relative_drop": 0.1}, "fell by 20.0% of the baseline's 10.0, 10.0% are allowed"),
        ((80, 78), {"relative_drop": 0.1}, ""),
        ((80, 60), {"relative_drop": 0.1, "relative_below": 0.5}, ""),
        ((40, 30), {"relative_drop": 0.1, "relative_below": 0.5}, "fell by 25.0% of the baseline's 40.0"),
        ((50, 40), {"relative_drop": 0.1, "relative_below": 0.5}, ""),
        ((10, 12), {"relative_drop": 0.0}, ""),
        ((80, 60), {"relative_drop": 0.5, "drop": 0.1}, "fell by 20.0 points"),
    ],
)
def test_a_fall_may_be_limited_as_a_share_of_the_baseline(
    right: tuple[int, int], limits: dict[str, float], why: str
) -> None:
    before, after = (samples(*(float(n < count) for n in range(100))) for count in right)
    found = verdict(before, after, **{**ANY, **limits})
    assert found[0] == ("NO-GO" if why else "GO")
    assert why in found[1]


def test_a_fall_from_nothing_is_over_any_relative_limit() -> None:
    """Scores that may be negative, with a mean of 0."""
    found = verdict(samples(1, -1), samples(1, -2), **{**ANY, "relative_drop": 1.0})
    assert found[0] == "NO-GO"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("limits: clos", "Did you mean `close`"),
        ("tier: critcal", "Did you mean `critical`"),
        ("tiers: {critcal: {drop: 0.1}}", "Did you mean `critical`"),
        ("tiers: {critical: {tier: advisory}}", "unknown key `tier`"),
        ("tiers: {critical: 3}", "no limits"),
        ("tiers: [critical]", "`tiers` is no mapping"),
        ("relative_below: 0.2", "there is none"),
        ("flip: 3", "Did you mean `flips`"),
        ("flips: many", "must be a whole number"),
        ("drop: -1", "greater than or equal to 0"),
        ("- a", "no mapping"),
        ("tasks: {a: 3}", "no limits"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_bad_policy_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(UsageError, match=why):
        read_policy(tmp_path / "policy.yaml")


def test_reports_name_the_samples_and_survive_any_text(tmp_path: Path) -> None:
    before = samples(1, 0, 1) | {"odd|<id>": BaselineAnswer(1.0, "\x00<b>&" + "long " * 50)}
    after = samples(1, 0, 0, text="z") | {"odd|<id>": BaselineAnswer(0.0, "\ud7ff\x1b")}
    verdicts = judge({PLACE: before}, {PLACE: after}, Policy())
    text = markdown(verdicts)
    assert text.startswith("## NO-GO")
    assert "worse: `2` 'x' (1) -> 'z' (0)" in text
    assert "odd|<id>" in text
    assert len(max(text.splitlines(), key=len)) < 400
    write_junit(tmp_path / "out/junit.xml", verdicts)
    suite = ElementTree.parse(tmp_path / "out/junit.xml").getroot()
    assert suite.attrib["failures"] == "1"
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "2 samples got worse" in failure.attrib["message"]
