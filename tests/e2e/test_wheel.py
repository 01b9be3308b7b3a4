"""What is built can be installed and used in an empty folder, far from any checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Sequence
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(source: Path, folder: Path, *kinds: str) -> None:
    """Build with hatchling itself, which pyproject.toml names: nothing is fetched for an isolated build."""
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    words += [word for kind in kinds for word in ("-t", kind)]
    subprocess.run(words, cwd=source, check=True, capture_output=True, timeout=500)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder, "wheel", "sdist")
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("evalkit-*-py3-none-any.whl")
    return found


def test_an_index_shows_a_readme_without_links_into_a_checkout(built: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (each for each in opened.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(opened.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = str(metadata.get_payload())
    assert text.startswith("# evalkit\n")
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []
    assert not {"docs/", "checkout -->", ".png"} & set(re.findall(r"docs/|checkout -->|\.png", text))
    named = set(re.findall(r"`evalkit docs ([\w-]+)`", text))
    assert (
        {"quickstart", "cli", "statistics"} <= named <= {path.stem for path in (ROOT / "docs").glob("*.md")}
    )
    (source,) = built.glob("evalkit-*.tar.gz")
    with tarfile.open(source) as archive:
        (info,) = (each for each in archive.getnames() if each.endswith("/PKG-INFO"))
        member = archive.extractfile(info)
        assert member is not None
        assert "`evalkit docs cli`" in member.read().decode()
        assert any(each.endswith("/hatch_build.py") for each in archive.getnames())


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; it borrows its dependencies, but no evalkit, from the one that tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv:
        words = [uv, "pip", "install", "--python", str(python)]
    else:
        words = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    words += ["--quiet", "--offline" if uv else "--no-index", "--no-deps", str(wheel)]
    subprocess.run(words, check=True, timeout=500)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # A folder on the path, whose own .pth files (an editable evalkit) are not read.
    lenders = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    Path(site, "borrowed.pth").write_text("\n".join(lenders) + "\n")
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


def call(environment: Path, empty: Path, words: Sequence[str]) -> str:
    """Output of a program of the environment, in the empty folder, with none of the settings around it."""
    around = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    around["HOME"] = str(empty.parent)
    done = subprocess.run(
        [environment / "bin" / words[0], *words[1:]],
        cwd=empty,
        env=around,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_commands_work_in_an_empty_folder(environment: Path, empty: Path) -> None:
    where = call(environment, empty, ["python", "-c", "import evalkit; print(evalkit.__file__)"])
    assert Path(where.strip()).is_relative_to(environment)
    tasks = call(environment, empty, ["evalkit", "tasks"])
    assert "mini_docvqa" in tasks
    assert "docvqa_val" in tasks
    run = ["evalkit", "run", "--model", "tiny", "--tasks", "mini", "--limit", "2", "--output", "results/one"]
    table = call(environment, empty, run)
    assert all(
        name in table
        for name in ("mini_docvqa", "mini_chartqa", "mini_refcoco", "mini_video", "95% intervals")
    )
    manifest = json.loads((empty / "results/one/manifest.json").read_text())
    (command,) = manifest["invocations"]
    assert command["status"] == "complete"
    assert command["revision"] is None
    reference = ["evalkit", "compare", "results/one", "--reference", "paper-qwen2.5-vl-7b"]
    assert "paper" in call(environment, empty, reference)
    call(environment, empty, ["evalkit", "report", "results/one", "-o", "report.html"])
    assert "mini_docvqa" in (empty / "report.html").read_text()
    assert sorted(path.name for path in empty.iterdir()) == ["report.html", "results"]
    page = call(environment, empty, ["evalkit", "docs", "train", "--path"])
    assert Path(page.strip()).is_relative_to(environment)
    assert call(environment, empty, ["evalkit", "docs", "train"]) == (ROOT / "docs/train.md").read_text()


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_package_its_tasks_its_pages_and_the_published_tables(wheel: Path) -> None:
    expected = tracked("evalkit")
    expected |= {name.replace("tasks/", "evalkit/_tasks/", 1) for name in tracked("tasks")}
    expected |= {name.replace("docs/", "evalkit/_docs/", 1) for name in tracked("docs")}
    references = tracked("results/reference")
    expected |= {name.replace("results/reference/", "evalkit/_reference/", 1) for name in references}
    found = names(wheel)
    assert expected <= found
    # Files that are not committed yet may be there, but nothing that was made by running.
    assert not [name for name in found - expected if "__pycache__" in name or not name.startswith("evalkit/")]


def test_the_source_distribution_builds_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    (source,) = built.glob("evalkit-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert (folder / "constraints.txt").is_file()
    assert not [path for path in folder.iterdir() if path.name.startswith(".venv")]
    build(folder, tmp_path / "dist", "wheel")
    (again,) = (tmp_path / "dist").glob("*.whl")
    assert names(again) == names(wheel)
