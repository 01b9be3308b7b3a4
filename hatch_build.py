"""Metadata that hatchling computes: the README as a package index shows it.

There are no pages beside it there, so that a link into the checkout leads nowhere. It becomes the command
that shows the same page offline.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_CHECKOUT = re.compile(r"<!-- checkout -->.*?<!-- /checkout -->\n*", re.DOTALL)
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)(?:#[^)\s]*)?\)")


class ReadmeHook(MetadataHookInterface):
    """Fills in ``readme``, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the text."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": packaged(text)}


def packaged(readme: str) -> str:
    """The README without what only a checkout has: parts between ``<!-- checkout -->`` marks, and links."""
    text = _LINK.sub(_spoken, _CHECKOUT.sub("", readme))
    return re.sub(r"docs/([\w-]+)\.md", r"evalkit docs \1", text)


def _spoken(link: re.Match[str]) -> str:
    text, target = link["text"], link["target"]
    if "://" in target:
        return link[0]
    page = re.fullmatch(r"docs/([\w-]+)\.md", target)
    if page is None:
        return f"`{target}` (in the source distribution)"
    command = "`evalkit docs`" if page[1] == "index" else f"`evalkit docs {page[1]}`"
    return command if text == target else f"{text} ({command})"
