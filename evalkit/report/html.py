"""HTML out of the package's Jinja templates; whatever a template is given is escaped."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Fill one of ``report/templates``.

    A lone surrogate, which UTF-8 can't hold and models and data sets may write, becomes its escape.
    """
    text = _environment().get_template(template).render(values)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("evalkit.report"),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False}
    found.filters["sha256"] = _sha256
    return found


def _sha256(text: str) -> str:
    """The digest in base64 by which a content security policy allows one style or script."""
    return b64encode(sha256(text.encode()).digest()).decode()
