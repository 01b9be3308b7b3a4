"""Policies and baselines that allow anything by mistake are refused by name; they never lead to GO."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalkit.ci import baseline
from evalkit.ci.check import check
from evalkit.ci.policy import read_policy
from evalkit.config.run_spec import load_config
from evalkit.core.errors import UsageError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{each}: &a{each} [{', '.join([f'*a{each - 1}'] * 10)}]\n" for each in range(1, 10)
)


def refused(path: Path, content: bytes | str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        read_policy(path)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("name", ["identical", "flips", "drop", "relative_drop", "relative_below"])
@pytest.mark.parametrize(
    "value",
    [
        ".nan",
        ".inf",
        "-.inf",
        "-1",
        "-0.1",
        "1.5",
        "2e308",
        "9" * 400,
        "1e300",
        "'0.5'",
        "true",
        "null",
        "[1]",
        "{}",
    ],
)
def test_a_limit_that_allows_anything_is_refused_by_name(name: str, value: str, tmp_path: Path) -> None:
    more = "relative_drop: 0.1\n" if name == "relative_below" else ""
    for text in (f"{more}{name}: {value}\n", f"{more}tasks: {{t: {{{name}: {value}}}}}\n"):
        said = refused(tmp_path / "policy.yaml", text)
        assert name in said or "not valid YAML" in said


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("drop: 0.1\ndrop: 0.9\n", "`drop` stands there twice"),
        ("tasks: {a: {drop: 0.1}, a: {drop: 0.9}}\n", "`a` stands there twice"),
        (LAUGHS, "it holds more than"),
        (f"{LAUGHS}tasks: *a9\n", "it holds more than"),
        ("tasks: &a\n  x: *a\n", "a value holds itself"),
        ("[" * 5000, "YAML"),
        ("drop: 0.1\n".encode("utf-16"), "YAML"),
        (b"# caf\xe9\ndrop: 0.1\n", "YAML"),
        ("tasks: [1, 2]\n", "`tasks` is no mapping"),
        ("tasks: {a: 3}\n", "3 are no limits"),
        ("tier: [close]\n", "there is no tier"),
        ("limits: [close]\n", "there are no limits"),
        ("!!python/object/apply:os.system [x]\n", "YAML"),
    ],
)
def test_other_files_are_refused_with_their_reason(content: bytes | str, why: str, tmp_path: Path) -> None:
    assert why in refused(tmp_path / "policy.yaml", content)


def test_a_mark_of_byte_order_and_merges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"\xef\xbb\xbfdrop: 0.1\n")
    assert read_policy(path).default.limits.drop == 0.1
    path.write_text("tasks:\n  a: &a {drop: 0.1, flips: 3}\n  b: {<<: *a, flips: 4}\n")
    found = read_policy(path).of("b").limits
    assert (found.drop, found.flips) == (0.1, 4)


def test_a_run_s_file_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("model: tiny\ntasks: mini\nlimit: 3\nlimit: 300\n")
    with pytest.raises(UsageError, match="`limit` stands there twice"):
        load_config(path)


def test_limits_of_a_task_that_is_not_there_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    (folder / "mock@mrope").mkdir(parents=True)
    (folder / "order.yaml").write_text("models: [mock]\ntasks: [mini_chartqa]\nlimit: 1\n")
    (folder / "policy.yaml").write_text("tasks: {mini_chartq: {drop: 0.1}}\n")
    with pytest.raises(UsageError, match=r"no task `mini_chartq`.*Did you mean `mini_chartqa`"):
        check(folder, workers=0)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('"1"\tnan\t"x"', "no finite number"),
        ('"1"\tinf\t"x"', "no finite number"),
        ('"1"\t1e999\t"x"', "no finite number"),
        ('"1"\t1_0\t"x"', "no finite number"),
        ('"0"\t1.0\t"x"', "stands there twice"),
        ('1\t1.0\t"x"', "no text"),
        ('"1"\t1.0\tNaN', "no text"),
        ('"1"\t1.0', "2 columns instead of 3"),
    ],
)
def test_a_damaged_baseline_is_refused(line: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "arm" / "task.tsv"
    path.parent.mkdir()
    path.write_text(f'sample\tscore\tanswer\n"0"\t1.0\t"x"\n{line}\n')
    with pytest.raises(UsageError, match=why):
        baseline.read(tmp_path, {})
