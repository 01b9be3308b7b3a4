"""Models: the door (:mod:`~evalkit.models.base`), the families, and how a name becomes a model."""

from evalkit.models.families import FAMILIES, Family
from evalkit.models.loading import load_model

__all__ = ["FAMILIES", "Family", "load_model"]
