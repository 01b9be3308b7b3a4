"""The pages of docs/: all are listed, links lead somewhere, they build as a site and show in the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evalkit.cli import run_cli
from evalkit.cli.docs import pages

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in [*PAGES, ROOT / "README.md"]}
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """As GitHub and mkdocs make them of headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    for link in LINK.findall(re.sub(r"```.*?```", "", TEXTS[name], flags=re.DOTALL)):
        if link.startswith("http"):
            continue
        target, _, anchor = link.partition("#")
        path = (ROOT if name == "README.md" else ROOT / "docs") / target if target else None
        assert path is None or path.exists(), link
        if name != "README.md" and path is not None:
            assert path.parent == ROOT / "docs", f"{link}: not in the wheel, nor on the site"
        if anchor:
            assert anchor in anchors(TEXTS[Path(target).name if target else name]), link


def test_every_page_is_in_the_overview_and_on_the_site() -> None:
    names = {path.name for path in PAGES}
    assert names - {"index.md"} <= set(LINK.findall(re.sub(r"#[\w-]+\)", ")", TEXTS["index.md"])))
    assert names == set(re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert yaml.safe_load((ROOT / "mkdocs.yml").read_text())["use_directory_urls"] is False


def test_they_build_as_a_site_that_opens_from_disk(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text()
    assert 'href="quickstart.html"' in page
    assert not re.findall(r'(?:src|href)="(?:/|https?://(?!squidfunk))[^"]*\.(?:js|css|png|woff2?)', page)
    assert len(list(tmp_path.glob("*.html"))) >= len(PAGES)


def test_they_are_shown_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["docs", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(re.search(rf"^{path.stem} ", listed, re.MULTILINE) for path in PAGES)
    assert run_cli(["docs"]) == 0
    assert capsys.readouterr().out == TEXTS["index.md"]
    for name in ("train", "train.md", "docs/train.md"):
        assert run_cli(["docs", name]) == 0
        assert capsys.readouterr().out == TEXTS["train.md"]
    assert run_cli(["docs", "train", "--path"]) == 0
    assert Path(capsys.readouterr().out.strip()).read_text() == TEXTS["train.md"]
    assert run_cli(["docs", "trian"]) == 2
    assert "Did you mean `train`" in capsys.readouterr().err
    assert next(iter(pages())) == "index"


def test_a_terminal_gets_a_page_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("LINES", "10000")
    monkeypatch.setenv("COLUMNS", "80")
    assert run_cli(["docs", "train"]) == 0
    drawn = capsys.readouterr().out
    assert "# Training with a variant" not in drawn
    assert "Training with a variant" in drawn
    assert "```" not in drawn
