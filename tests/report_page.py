"""Reading what is in a report page, and opening one in a headless browser."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def unpack_json(text: str) -> Any:
    """JSON, deflated, in base64, as the page's script decodes it."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def browser() -> str:
    """A browser; the test is skipped where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


def started(browser: str, page: Path, fragment: str, *options: str) -> str:
    """What a headless browser prints, with its options."""
    with tempfile.TemporaryDirectory() as profile:
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        words += ["--virtual-time-budget=4000", *options, f"{page.as_uri()}#{fragment}"]
        return subprocess.run(words, capture_output=True, text=True, timeout=120).stdout


def opened(browser: str, page: Path, fragment: str = "", *options: str) -> str:
    """The document after its script has run."""
    dom = started(browser, page, fragment, "--dump-dom", *options)
    return re.sub(r'<script type="application/json".*?</script>', "", dom, flags=re.DOTALL)


def asked(browser: str, page: Path, script: str, fragment: str = "", *options: str) -> Any:
    """What a script's ``answer`` is when the page is drawn, freed of its policy, which forbids that."""
    text = re.sub("<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    probe = (
        "<script>addEventListener('load', () => setTimeout(async () => { let answer; "
        + script
        + "; document.title = JSON.stringify(answer); }, 800));</script></body>"
    )
    changed = page.with_name("asked.html")
    changed.write_text(text.replace("</body>", probe), encoding="utf-8")
    found = re.search(r"<title>(.*?)</title>", started(browser, changed, fragment, "--dump-dom", *options))
    assert found
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
