"""The networks."""

from kit.models.registry import Classifier, build_classifier, build_model

__all__ = ["Classifier", "build_classifier", "build_model"]
