"""Errors of real numbers: root mean squared, and mean absolute."""

import numpy as np

from kit.metrics.metric import Metric, mean_of


def _absolute(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    return np.abs(targets - decisions).mean(axis=1)


RMSE = Metric(
    "rmse",
    False,
    ("number",),
    ("number",),
    measure=lambda targets, decisions: float(np.sqrt(np.mean((targets - decisions) ** 2))),
    spellings=("rootmeansquarederror",),
)
MAE = Metric(
    "mae", False, ("number",), ("number",), mean_of(_absolute), per_image=_absolute, spellings=("meanabsoluteerror",)
)
