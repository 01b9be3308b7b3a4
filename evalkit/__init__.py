"""evalkit: which multimodal RoPE should my vision-language model use?

``from evalkit import evaluate, compare, report, advise, score`` do what the commands of these names do;
``load_model``, ``install_rope`` and ``RopeCallback`` are for training (docs/train.md). Importing the package
loads nothing heavy; torch and transformers come in when a model is loaded.
"""

from __future__ import annotations

import sys
from importlib import import_module
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


class _Report(ModuleType):
    """The room ``evalkit.report``, which is also called as the function of that name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from evalkit.api import report

        return report(*args, **kwargs)


class _Package(ModuleType):
    """Makes the room ``evalkit.report`` callable when it is imported; it is then this package's attribute."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "report" and isinstance(value, ModuleType):
            value.__class__ = _Report
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `evalkit` has no attribute `{name}`")
    if name in ("RopeCallback", "install_rope", "load_model"):
        from evalkit import training

        return getattr(training, name)
    if name == "report":
        return import_module("evalkit.report")
    from evalkit import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return __all__
