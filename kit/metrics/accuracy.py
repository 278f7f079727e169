"""Accuracy: the share of images whose likeliest class is right."""

import numpy as np

from kit.metrics.metric import Metric, likeliest, mean_of


def _is_right(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    return np.asarray(decisions == targets, dtype=float)


ACCURACY = Metric(
    "accuracy", True, ("classes", "ordinal"), ("label",), mean_of(_is_right), likeliest, _is_right,
)  # fmt: skip
