"""evalkit: which multimodal RoPE should my vision-language model use?

``from evalkit import evaluate, compare`` does what ``evalkit run`` and ``evalkit compare`` do.
Importing the package loads nothing heavy; torch and transformers come in when a model is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.api import compare, evaluate, score_run

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "evaluate", "score_run"]


def __getattr__(name: str) -> Any:
    if name in ("compare", "evaluate", "score_run"):
        from evalkit import api

        return getattr(api, name)
    raise AttributeError(f"module `evalkit` has no attribute `{name}`")
