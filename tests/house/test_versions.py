"""Which versions are supported is said once, and a run that meets others says so, or stops."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from evalkit import evaluate
from evalkit.cli import run_cli
from evalkit.core import provenance
from evalkit.core.errors import EnvironmentProblem
from evalkit.models import describe_model

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Have packages installed in other versions."""
    own = importlib.metadata.version

    def change(**versions: str) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: versions.get(name) or own(name))

    return change


def test_bounds_and_pins_are_the_tested_versions() -> None:
    """pip refuses what is older than the oldest; `make test` runs with the newest."""
    pins = dict(re.findall(r"^([a-z]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    for package, (oldest, newest) in provenance.TESTED.items():
        (bound,) = [each for each in PROJECT["dependencies"] if re.match(rf"{package}\b", each)]
        found = re.search(r">=([\d.]+)", bound)
        assert found
        assert provenance._release(found.group(1)) == provenance._release(oldest)
        assert pins[package] == newest


def test_what_runs_here_is_no_older_than_the_oldest() -> None:
    provenance.refuse_untried()


@pytest.mark.parametrize("version", ["5.24.1", "5.25.0", "5.26.0.dev0", "6.0.0", "6.0.0rc1"])
def test_a_newer_version_is_noted_and_not_refused(
    version: str, pretend: Pretend, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(transformers=version, torch="2.15.0+cu130")
    words = ["--model", "mock", "--tasks", "mini_video", "--limit", "2", "--workers", "0"]
    assert run_cli(["run", *words, "--output", str(tmp_path / "run")]) in (
        0,
        3,
    )  # a mock's answers are unreliable
    expected = (
        f"transformers {version} is newer than evalkit was tested with (5.17.0 to 5.24.0): "
        "if in doubt, `pip install transformers==5.24.0` and compare"
    )
    assert expected in " ".join(capfd.readouterr().err.split())
    (command,) = json.loads((tmp_path / "run/manifest.json").read_text())["invocations"]
    assert command["notes"] == [expected]
    assert command["versions"]["transformers"] == version


@pytest.mark.parametrize("version", ["5.17.0", "5.24.0", "5.24"])
def test_tested_versions_are_nothing_to_say(version: str, pretend: Pretend, tmp_path: Path) -> None:
    pretend(transformers=version, torch="2.15.0+cu132")
    evaluate("mock", ["mini_video"], limit=2, output=tmp_path / "run", workers=0)
    (command,) = json.loads((tmp_path / "run/manifest.json").read_text())["invocations"]
    assert command.get("notes", []) == []


@pytest.mark.parametrize(
    ("package", "version"),
    [("transformers", "5.16.4"), ("transformers", "4.57.1"), ("torch", "2.10.0+cu128")],
)
def test_an_older_version_is_refused_before_anything_is_loaded(
    package: str, version: str, pretend: Pretend, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(**{package: version})
    with pytest.raises(EnvironmentProblem, match=re.escape(f"{package} {version} is too old")):
        describe_model("tiny")
    words = ["--model", "tiny", "--tasks", "mini_video", "--limit", "1", "--output", str(tmp_path / "run")]
    assert run_cli(["run", *words]) == 4
    oldest, newest = provenance.TESTED[package]
    said = " ".join(capfd.readouterr().err.split())
    assert (
        f"{package} {version} is too old why: evalkit is tested with {package} {oldest} to {newest}" in said
    )
    assert f"fix: `pip install '{package}>={oldest}'`" in said


def test_releases_that_vendors_build_count_as_what_they_lead_to() -> None:
    assert provenance._release("2.11.0a0+1234abc.nv26.02") == (2, 11, 0)
    assert provenance._release("unknown") == (0, 0, 0)


def test_the_checkout_that_a_package_is_installed_in_is_not_its_own(tmp_path: Path) -> None:
    package = tmp_path / "env/evalkit"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (tmp_path / "mine.txt").write_text("somebody's own")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "mine.txt"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "one"], check=True)
    assert provenance.git_revision(package) is None
    subprocess.run([*git, "add", "env"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "two"], check=True)
    revision = provenance.git_revision(package)
    assert revision is not None
    assert re.fullmatch(r"[0-9a-f]{40}", revision)


def test_every_extra_is_explained() -> None:
    """docs/install.md has a row for each extra of pyproject.toml and for nothing else; README names it."""
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", (ROOT / "docs/install.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(PROJECT["optional-dependencies"])
    assert "docs/install.md" in (ROOT / "README.md").read_text()


def test_the_documented_versions_are_the_tested_ones() -> None:
    text = (ROOT / "docs/install.md").read_text()
    for package, (oldest, newest) in provenance.TESTED.items():
        assert f"{package} {oldest} to {newest}" in text
