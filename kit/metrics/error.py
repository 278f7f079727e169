"""Of real numbers: root mean squared and mean absolute error, the share of explained variance, and Spearman's rank
correlation."""

import numpy as np

from kit.metrics.metric import Metric, mean_of
from kit.tasks import Format, Task


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


_KIND: tuple[tuple[Task, ...], tuple[Format, ...]] = (("number",), ("number",))
RMSE = Metric("rmse", False, *_KIND, _root_mean_square)
MAE = Metric("mae", False, *_KIND, mean_of(_absolute), per_image=_absolute)
R2 = Metric("r2", True, *_KIND, _explained)
SPEARMAN = Metric("spearman", True, *_KIND, _rank_correlation)
