"""evalkit: which multimodal RoPE should my vision-language model use?

``from evalkit import evaluate, compare, report, advise, score`` do what the commands of these names do;
``load_model``, ``install_rope`` and ``RopeCallback`` are for training (docs/train.md). Importing the package
loads nothing heavy; torch and transformers come in when a model is loaded.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.api import advise, compare, evaluate, report, score, score_run
    from evalkit.training import RopeCallback, install_rope, load_model

__version__ = "0.1.0"
__all__ = [
    "RopeCallback",
    "__version__",
    "advise",
    "compare",
    "evaluate",
    "install_rope",
    "load_model",
    "report",
    "score",
    "score_run",
]


class _Package(ModuleType):
    """Keeps ``evalkit.report`` the function, although a room of the package has that name, which importing
    one of its modules would make the attribute. ``from evalkit.report import ...`` doesn't look at it.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "report" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `evalkit` has no attribute `{name}`")
    if name in ("RopeCallback", "install_rope", "load_model"):
        from evalkit import training

        return getattr(training, name)
    from evalkit import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
