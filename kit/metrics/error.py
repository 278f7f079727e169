"""Of real numbers, one or several an image: root mean squared error (over all, or the mean over columns), mean absolute
error, and, as means over columns, the share of explained variance and Spearman's rank correlation."""

from collections.abc import Callable

import numpy as np

from kit.metrics.metric import Metric, mean_of
from kit.tasks import Format, Task

Measure = Callable[[np.ndarray, np.ndarray], float]


def _absolute(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    return np.abs(targets - decisions).mean(axis=1)


def _root_mean_square(targets: np.ndarray, decisions: np.ndarray) -> float:
    return float(np.sqrt(np.mean((targets - decisions) ** 2)))


def _explained(targets: np.ndarray, decisions: np.ndarray) -> float:
    spread = float(np.sum((targets - targets.mean()) ** 2))
    return 1 - float(np.sum((targets - decisions) ** 2)) / spread if spread else float("nan")


def _rank_correlation(targets: np.ndarray, decisions: np.ndarray) -> float:
    from scipy.stats import spearmanr

    if np.ptp(targets) == 0 or np.ptp(decisions) == 0:
        return float("nan")
    return float(spearmanr(targets[:, 0], decisions[:, 0]).statistic)


def _by_column(measure: Measure) -> Measure:
    """Its mean over the columns."""

    def mean(targets: np.ndarray, decisions: np.ndarray) -> float:
        return float(np.mean([measure(targets[:, [c]], decisions[:, [c]]) for c in range(targets.shape[1])]))

    return mean


_KIND: tuple[tuple[Task, ...], tuple[Format, ...]] = (("number",), ("number", "numbers"))
RMSE = Metric("rmse", False, *_KIND, _root_mean_square)
MCRMSE = Metric("mcrmse", False, *_KIND, _by_column(_root_mean_square))
MAE = Metric("mae", False, *_KIND, mean_of(_absolute), per_image=_absolute)
R2 = Metric("r2", True, *_KIND, _by_column(_explained))
SPEARMAN = Metric("spearman", True, *_KIND, _by_column(_rank_correlation))
