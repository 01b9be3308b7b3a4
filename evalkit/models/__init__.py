"""Models: their protocols (:mod:`~evalkit.models.base`), the families, and how a name becomes a model."""

from evalkit.models.families.family import Family
from evalkit.models.families.registry import FAMILIES
from evalkit.models.loading import describe_model, load_model

__all__ = ["FAMILIES", "Family", "describe_model", "load_model"]
