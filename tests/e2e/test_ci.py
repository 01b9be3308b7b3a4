"""`evalkit ci` as a CI job uses it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import fork_server
import pytest

from evalkit.core.registry import load_task

ROOT = Path(__file__).resolve().parents[2]


def evalkit(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return fork_server.evalkit(*words, cwd=cwd)


def answers(path: Path, wrong: int, failing: bool = False) -> str:
    """A mock model that is right but for the first ``wrong`` questions."""
    found = {
        f"mini_chartqa/{sample.id}": "nothing" if number < wrong else sample.reference
        for number, sample in enumerate(load_task("mini_chartqa").samples(None))
    }
    path.write_text(json.dumps(found))
    return f"mock:answers={path}"


@pytest.mark.slow
def test_a_change_is_found_named_and_accepted_on_purpose(tmp_path: Path) -> None:
    model = answers(tmp_path / "answers.json", wrong=0)
    order = ("--model", model, "--tasks", "mini_chartqa")
    made = evalkit("ci", "update", "base", *order, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "100 answers are stored" in made.stdout
    files = {path.name: path.read_bytes() for path in (tmp_path / "base").rglob("*.tsv")}

    same = evalkit("ci", "check", "base", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith("## GO")

    answers(tmp_path / "answers.json", wrong=3 * 240 // 100)
    words = ("ci", "check", "base", "--junit", "junit.xml", "--summary", "summary.md")
    worse = evalkit(*words, cwd=tmp_path)
    assert worse.returncode == 1, worse.stdout
    assert "samples got worse, 0 may" in worse.stdout
    assert "-> 'nothing' (0)" in worse.stdout
    assert (tmp_path / "summary.md").read_text() == worse.stdout
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().attrib["failures"] == "1"

    (tmp_path / "base/policy.yaml").write_text("limits: loose\n")
    assert evalkit("ci", "check", "base", cwd=tmp_path).returncode == 0
    (tmp_path / "base/policy.yaml").unlink()
    again = evalkit("ci", "update", "base", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "base").rglob("*.tsv")} != files
    assert evalkit("ci", "check", "base", cwd=tmp_path).returncode == 0


def test_what_can_t_be_told_is_inconclusive(tmp_path: Path) -> None:
    order = ("--model", "mock:fixed=A", "--tasks", "mini_docvqa", "--limit", "5")
    assert evalkit("ci", "update", "base", *order, cwd=tmp_path).returncode == 0
    (path,) = (tmp_path / "base").rglob("*.tsv")
    path.write_text("\n".join([*path.read_text().splitlines()[:-2], ""]))
    done = evalkit("ci", "check", "base", "--json", cwd=tmp_path)
    assert done.returncode == 3
    assert json.loads(done.stdout)["verdict"] == "INCONCLUSIVE"
    nothing = evalkit("ci", "check", cwd=tmp_path)
    assert nothing.returncode == 2
    assert "evalkit ci update" in nothing.stderr


def test_github_annotates_regressions_and_advisory_ones_fail_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = answers(tmp_path / "answers.json", wrong=0)
    order = ("--model", model, "--tasks", "mini_chartqa", "--limit", "8")
    assert evalkit("ci", "update", "base", *order, cwd=tmp_path).returncode == 0
    answers(tmp_path / "answers.json", wrong=240)
    plain = evalkit("ci", "check", "base", cwd=tmp_path)
    assert plain.returncode == 1
    assert "::error" not in plain.stderr
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    worse = evalkit("ci", "check", "base", "--json", cwd=tmp_path)
    assert worse.returncode == 1
    assert json.loads(worse.stdout)["tasks"][0]["tier"] == "critical"
    (line,) = [each for each in worse.stderr.splitlines() if each.startswith("::")]
    assert re.match(r"::error file=base/mock[^,]*/mini_chartqa\.tsv,line=2,title=NO-GO%3A mock", line)
    assert "8 samples got worse, 0 may%0A" in line
    (tmp_path / "base/policy.yaml").write_text("tasks: {mini_chartqa: {tier: advisory}}\n")
    advisory = evalkit("ci", "check", "base", cwd=tmp_path)
    assert advisory.returncode == 0
    assert advisory.stdout.startswith("## GO")
    assert "1 advisory" in advisory.stdout
    assert "::warning file=base/" in advisory.stderr


def test_the_pytest_fixture(tmp_path: Path) -> None:
    order = ("--model", "mock:fixed=A", "--tasks", "mini_docvqa", "--limit", "5")
    assert evalkit("ci", "update", "base", *order, cwd=tmp_path).returncode == 0
    (tmp_path / "test_it.py").write_text(
        "def test_scores(evalkit_baseline):\n    evalkit_baseline('base', workers=0)\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 0
    (path,) = (tmp_path / "base").rglob("*.tsv")
    path.write_text(path.read_text().replace('"A"', '"B"'))
    broken = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert broken.returncode == 1
    assert "0.0% of the answers are the same" in broken.stdout
    (tmp_path / "base/policy.yaml").write_text("tier: advisory\n")
    reported = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert reported.returncode == 0
    assert "1 warning" in reported.stdout
    assert "0.0% of the answers are the same" in reported.stdout


@pytest.mark.slow
def test_the_zoo_answers_as_its_baseline_says() -> None:
    """A change that alters any score of the zoo fails here until the baseline is updated on purpose."""
    done = evalkit("ci", "check", "results/baselines/zoo", cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_a_model_that_is_gone_is_never_go(tmp_path: Path) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.json"
    models = f"{answers(one, wrong=0)},{answers(two, wrong=0)}"
    words = ("--model", models, "--tasks", "mini_chartqa", "--limit", "4")
    assert evalkit("ci", "update", "base", *words, cwd=tmp_path).returncode == 0
    assert evalkit("ci", "check", "base", cwd=tmp_path).returncode == 0
    two.unlink()
    done = evalkit("ci", "check", "base", cwd=tmp_path)
    assert done.returncode == 3, done.stdout
    assert done.stdout.startswith("## INCONCLUSIVE")
    assert "nothing of it was run now, 4 samples are in the baseline" in done.stdout
    assert "two.json" in done.stdout


def test_commands_update_one_baseline_at_once(tmp_path: Path) -> None:
    model = answers(tmp_path / "answers.json", wrong=0)
    words = ["ci", "update", "base", "--model", model]
    orders = [[*words, "--tasks", "mini_chartqa", "--limit", str(limit)] for limit in (2, 3)]
    running = [fork_server.start(*order, cwd=tmp_path) for order in orders]
    assert [process.wait() for process in running] == [0, 0]
    assert evalkit("ci", "check", "base", cwd=tmp_path).returncode == 0  # one of them, not a mixture
