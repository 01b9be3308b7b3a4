"""`evalkit report` in a headless browser."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path

import fork_server
import pytest
import report_page
from report_page import opened

from evalkit.core.registry import load_task

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> "


def evalkit(*words: str) -> subprocess.CompletedProcess[str]:
    done = fork_server.evalkit(*words)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def browser() -> str:
    return report_page.browser()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models: one writes markup around right answers, one is right on half of the questions."""
    folder = tmp_path_factory.mktemp("report")
    names = {}
    for model in ("hostile", "plain"):
        answers = {}
        for task in ("mini_docvqa", "mini_refcoco"):
            for number, sample in enumerate(load_task(task).samples(None)):
                reference = sample.reference[0] if task == "mini_docvqa" else json.dumps(sample.reference)
                wrong = "[0, 0, 1, 1]" if task == "mini_refcoco" else "no idea"
                right = HOSTILE + reference if model == "hostile" and task == "mini_refcoco" else reference
                answers[f"{task}/{sample.id}"] = right if model == "hostile" or number % 2 else wrong
        path = folder / f"{model}.json"
        path.write_text(json.dumps(answers))
        names[model] = f"mock:answers={path}"
    order = ("--tasks", "mini_docvqa,mini_refcoco", "--limit", "60", "--workers", "0", "-q")
    models = (part for name in names.values() for part in ("--model", name))
    evalkit("run", *models, *order, "--output", str(folder / "run"))
    evalkit("report", str(folder / "run"), "-o", str(folder / "report.html"))
    return folder / "report.html"


@pytest.mark.slow
def test_it_opens_from_disk_with_everything_drawn(browser: str, page: Path) -> None:
    dom = opened(browser, page)
    assert "<title>evalkit: run</title>" in dom
    assert "120 of 120 samples, page 1 of 5" in dom
    assert dom.count('class="sample"') == 25
    panels = re.findall(
        r'<figcaption>(\S+) <span>[^<]*</span></figcaption><svg[^>]*role="img" aria-label="([^"]*)"', dom
    )
    titles = [title for title, _ in panels]
    assert {"overall", "mini_docvqa", "mini_refcoco"} <= set(titles)
    assert re.search(r"mock\S* [+−]\d+\.\d significant", dict(panels)["mini_docvqa"])
    assert re.search(
        r"<dt>date</dt><dd>20\d\d-\d\d-\d\d</dd><dt>recipe</dt><dd>paper</dd><dt>samples</dt><dd>limit-60</dd>",
        dom,
    )
    assert re.search(
        r"<dt>versions</dt><dd>evalkit \d[^<]*</dd>.*<dt>command</dt><dd><code>[^<]+</code>", dom
    )
    assert "mini_refcoco by expression" in dom
    assert dom.count("data:image/jpeg") >= 20
    assert "mean of categories" in dom


@pytest.mark.slow
def test_only_the_page_s_own_script_and_style_run(browser: str, page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    assert "unsafe" not in text[: text.index("<body>")]
    slipped = "<script>document.title='owned'</script><p id=slipped style='color:red' onclick='x()'>"
    slipped += "<style>#slipped{width:7px}</style><img src=x onerror=\"document.title='owned'\">"
    asks = "<script>document.title += getComputedStyle(document.getElementById('slipped')).width</script>"
    changed = tmp_path / "slipped.html"
    changed.write_text(text.replace("<h1>", slipped + asks + "<h1>", 1))
    dom = opened(browser, changed)
    assert "<title>evalkit: run</title>" in dom
    # The page's own script and styles do work, also those of single elements.
    assert "120 of 120 samples, page 1 of 5" in dom
    assert re.search(r'style="[^"]*(color-mix|flex)', opened(browser, page))


@pytest.mark.slow
def test_hostile_answers_are_shown_as_text(browser: str, page: Path) -> None:
    dom = opened(browser, page, "task=mini_refcoco")
    assert "<title>evalkit: run</title>" in dom  # nobody's script has changed it
    assert "&lt;script&gt;document.title='owned'" in dom
    assert not re.search(r"<img [^>]*onerror", dom)
    assert HOSTILE.strip() in unescape(dom)


@pytest.mark.slow
def test_filters_sorting_and_boxes(browser: str, page: Path) -> None:
    right_wrong = opened(browser, page, "mode=a%20right%2C%20b%20wrong&task=mini_docvqa")
    found = re.search(r"(\d+) of 120 samples", right_wrong)
    assert found
    assert 10 < int(found[1]) < 50
    assert right_wrong.count('class="wrong"') == right_wrong.count('class="sample"')
    assert "0 of 120 samples" in opened(browser, page, "mode=a%20right%2C%20b%20wrong&a=1&b=0")
    searched = opened(browser, page, "q=NO%20idea&task=mini_docvqa&mode=answers%20differ")
    assert f"{found[1]} of 120 samples" in searched  # texts are searched piece by piece
    assert searched.count("<pre>no idea</pre>") == searched.count('class="sample"') > 0
    grounding = opened(browser, page, "task=mini_refcoco")
    assert grounding.count("<image") == grounding.count('class="sample"')
    assert grounding.count("<rect") == 3 * grounding.count('class="sample"')
    up, down = (opened(browser, page, f"sort=1&down={down}") for down in ("", "1"))
    rows = [re.findall(r'<th scope="row" class="name">(mini_<wbr>\w+)', dom)[:2] for dom in (up, down)]
    assert rows[0] == rows[1][::-1]
    last = opened(browser, page, "page=99")
    assert "page 5 of 5" in last


@pytest.mark.slow
def test_on_a_phone_nothing_is_cut_off(browser: str, page: Path) -> None:
    probe = page.with_name("phone.html")
    script = "<script>addEventListener('load', () => setTimeout(() => { document.title = 'width ' + " \
        "document.documentElement.scrollWidth; }, 500));</script>"  # fmt: skip
    unlocked = re.sub("<meta http-equiv[^>]*>", "", page.read_text())  # of its policy
    probe.write_text(unlocked.replace("</body>", f"{script}</body>"))
    dom = opened(browser, probe, "", "--window-size=500,800")
    width = re.search(r"<title>width (\d+)</title>", dom)
    assert width
    assert int(width[1]) <= 500
