"""Reading what is in a report page."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any


def unpack_json(text: str) -> Any:
    """JSON, deflated, in base64, as the page's script decodes it."""
    return json.loads(zlib.decompress(base64.b64decode(text)))
