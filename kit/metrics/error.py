"""Errors of real numbers: root mean squared, and mean absolute."""

import numpy as np

from kit.metrics.metric import Metric, mean_of
from kit.tasks import Format, Task


def _absolute(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    return np.abs(targets - decisions).mean(axis=1)


def _root_mean_square(targets: np.ndarray, decisions: np.ndarray) -> float:
    return float(np.sqrt(np.mean((targets - decisions) ** 2)))


_KIND: tuple[bool, tuple[Task, ...], tuple[Format, ...]] = (False, ("number",), ("number",))
RMSE = Metric("rmse", *_KIND, _root_mean_square, spellings=("rootmeansquarederror",))
MAE = Metric("mae", *_KIND, mean_of(_absolute), per_image=_absolute, spellings=("meanabsoluteerror",))
