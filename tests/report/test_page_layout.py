"""The report page of 11 systems and 25 benchmarks in a browser: nothing cut, nothing on top of each other."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import report_page as tools
from test_comparison import make_cell, record

from evalkit.core.types import Category
from evalkit.metrics.anls import Anls
from evalkit.report.about import RunAbout
from evalkit.report.aggregate import BenchmarkColumn
from evalkit.report.comparison import Arm, Comparison
from evalkit.report.differences import with_differences
from evalkit.report.leaderboard.page import leaderboard_page
from evalkit.report.leaderboard.table import LeaderboardSource, leaderboard_rows, write
from evalkit.report.page import report_page
from evalkit.store import Record

COUNTS: dict[Category, int] = {"image": 11, "video": 6, "grounding": 8}
ARMS = [
    Arm(f"vl-7b-{rope}@{rope}", f"vl-7b-{rope}", rope, "qwen2_5_vl", rope, "run")
    for rope in ("mrope", "vanilla", "mrope-i", "mhrope", "circlerope", "videorope", "hope", "il-rope",
                 "omni-rope", "rope-tie", "v2pe")
]  # fmt: skip
SIZES = {"desktop": 1440, "phone": 390}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> str:
    return tools.browser()


@pytest.fixture(scope="module")
def wide() -> Comparison:
    """The score of one is unreliable."""
    tasks = [
        (f"{category}_benchmark_{n}", category) for category, count in COUNTS.items() for n in range(count)
    ]
    columns = [
        BenchmarkColumn(task, category, task, "relaxed_accuracy_of_all", (0.0, 1.0))
        for task, category in tasks
    ]
    records = {
        arm.name: {
            task: [
                record(
                    n,
                    float((n * (place + 3)) % 7 < 4),
                    arm=arm.name,
                    task=task,
                    visual_tokens=100 + 50 * (n % 8),
                )
                for n in range(40)
            ]
            for task, _ in tasks
        }
        for place, arm in enumerate(ARMS)
    }
    cells = {
        name: {each.task: make_cell(name, each, found[each.task], 40, Anls()) for each in columns}
        for name, found in records.items()
    }
    name = ARMS[4].name
    cells[name]["image_benchmark_3"] = replace(
        cells[name]["image_benchmark_3"], unreliable=("30% truncated",)
    )
    made = with_differences(Comparison(ARMS, columns, cells), records, lambda *_: Anls(), "mrope")
    RECORDS.update(records)
    return made


RECORDS: dict[str, dict[str, list[Record]]] = {}


@pytest.fixture(scope="module")
def page(wide: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    about = [
        RunAbout("run", (("date", "2026-11-20"), ("command", "evalkit run " + "--model a/long/name " * 30)))
    ]
    path = tmp_path_factory.mktemp("wide") / "report.html"
    path.write_text(report_page(wide, RECORDS, {}, "evalkit: run", (about, [])), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def board(wide: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    revisions = {each.task: "main" for each in wide.columns}
    write(
        folder / "board.csv",
        leaderboard_rows(LeaderboardSource(wide, "full", "0.1.0", "2026-11-23", revisions)),
    )
    (folder / "board.html").write_text(leaderboard_page(folder / "board.csv"), encoding="utf-8")
    return folder / "board.html"


LAYOUT = """
for (const each of document.querySelectorAll('details')) each.open = true;
const cut = [], over = [];
let texts = 0;
for (const svg of document.querySelectorAll('figure > svg')) {
  const view = svg.viewBox.baseVal;
  const found = [...svg.querySelectorAll('text')].filter(each => each.textContent);
  const boxes = found.map(each => each.getBBox());
  texts += found.length;
  found.forEach((each, n) => {
    const box = boxes[n], right = box.x + box.width, bottom = box.y + box.height;
    if (Math.min(box.x, box.y, view.width - right, view.height - bottom) < -0.5) cut.push(each.textContent);
    for (let m = n + 1; m < found.length; m++) {
      const wide = Math.min(right, boxes[m].x + boxes[m].width) - Math.max(box.x, boxes[m].x);
      const high = Math.min(bottom, boxes[m].y + boxes[m].height) - Math.max(box.y, boxes[m].y);
      if (wide > 1 && high > 3) over.push([each.textContent, found[m].textContent]);
    }
  });
}
const tight = each => each.scrollWidth > each.clientWidth + 1;
const cells = [...document.querySelectorAll('th, td')].filter(tight);
const box = document.getElementById('table'), at = name => box.querySelector(name).getBoundingClientRect();
box.scrollTop = 300;
box.scrollLeft = 400;
const frame = box.getBoundingClientRect(), corner = at('thead th'), head = at('thead th:last-child');
answer = {
  width: document.documentElement.scrollWidth, shown: innerWidth, cut, over, texts,
  cells: cells.map(each => each.textContent), moved: [box.scrollTop, box.scrollLeft],
  left: [corner.left - frame.left, at('tbody tr:last-child th').left - frame.left],
  top: [corner.top - frame.top, head.top - frame.top],
};
"""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["page", "board"])
def test_nothing_is_cut_or_overlaps_and_heads_stay(
    size: str, kind: str, browser: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    found = tools.asked(browser, path, LAYOUT, "", f"--window-size={SIZES[size]},900")
    assert found["shown"] <= max(SIZES[size], 500)
    assert found["width"] <= found["shown"]
    assert found["cut"] == []
    assert found["over"] == []
    assert found["cells"] == []
    assert (found["texts"] > 500) == (kind == "page")
    assert max(found["moved"]) > 0
    assert all(abs(each) <= 2 for each in (*found["left"], *found["top"])), found


def test_systems_and_benchmarks_are_seen_at_once(browser: str, page: Path) -> None:
    dom = tools.opened(browser, page)
    assert dom.count("<figure>") >= 25 + 4
    assert dom.count('aria-pressed="true">') == 4  # of eleven, in the plot of sizes
    assert dom.count('aria-pressed="false">') == 7
    assert dom.count(">UNRELIABLE<") >= 2  # in the table, and among the differences
    assert dom.count('class="whisker') >= 25 * 4 * 3


def test_a_keyboard_keeps_its_place_and_a_reader_hears_the_order(browser: str, page: Path) -> None:
    script = """
    const all = name => [...document.querySelectorAll(name)];
    const press = async name => {
      const found = document.querySelector(name);
      found.focus();
      found.click();
      await new Promise(done => setTimeout(done, 200));
      return document.activeElement;
    };
    const now = await press('[data-key="sort 2"]');
    const sorted = [now.dataset.key, now.closest('th').getAttribute('aria-sort'), now.isConnected];
    const toggled = await press('[data-key="sizes 9"]');
    const place = await press('nav a[href="#failures"]');
    const silent = all('figure > svg').filter(each => !each.getAttribute('aria-label'));
    const unnamed = all('button, input, select').filter(each => !(each.textContent || each.labels?.length));
    const regions = all('.scroll[tabindex="0"]:not([aria-label])');
    const counts = [silent.length, unnamed.length, regions.length];
    answer = [sorted, toggled.getAttribute('aria-pressed'), place.id, location.hash, ...counts];
    """
    order, pressed, place, kept, *missing = tools.asked(browser, page, script)
    assert order == ["sort 2", "descending", True]
    assert (pressed, place) == ("true", "failures")
    assert "sort=2" in kept
    assert missing == [0, 0, 0]


def test_on_paper_all_is_there_and_the_heads_on_each_sheet(browser: str, page: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "page.pdf"
        tools.started(browser, page, "", f"--print-to-pdf={made}", "--no-pdf-header-footer")
        assert made.read_bytes().startswith(b"%PDF")
        try:
            done = subprocess.run(
                ["pdftotext", "-layout", made, "-"], capture_output=True, text=True, check=True
            )
        except FileNotFoundError:
            pytest.skip("pdftotext (poppler-utils) is not installed")
    sheets = done.stdout.split("\f")
    assert len(sheets) < 25
    for rope in ("circlerope", "omni-rope"):
        assert sum(rope in sheet for sheet in sheets) > 4
    assert "95% intervals" in done.stdout
    assert "visual tokens" in done.stdout
    assert "Keys: j and k" not in done.stdout


def test_dark_and_light_are_both_drawn_in_their_colours(browser: str, page: Path) -> None:
    script = """
    const own = name => getComputedStyle(document.querySelector(name));
    answer = [own('body').backgroundColor, own('.mark.c2').fill];
    """
    light = tools.asked(browser, page, script)
    dark = tools.asked(browser, page, script, "", "--blink-settings=preferredColorScheme=0")
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(20, 23, 28)"
    assert light[1] != dark[1]
