"""Area under the ROC curve. Two classes: the second's. More, or labels: the mean over columns with both answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.metrics.metric import Metric
from kit.tasks import Format, Task


def _measure(targets: np.ndarray, probs: np.ndarray) -> float:
    if targets.ndim == 1 and len(np.unique(targets)) < probs.shape[1]:
        return float("nan")
    if targets.ndim == 1:
        targets = targets[:, None] == np.arange(probs.shape[1])
        if probs.shape[1] == 2:
            targets, probs = targets[:, 1:], probs[:, 1:]
    both = (targets.max(axis=0) > 0) & (targets.min(axis=0) <= 0)
    return float(np.mean(_areas(targets[:, both] > 0, probs[:, both]))) if both.any() else float("nan")


def _areas(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """float (C,): the share of pairs of a positive and a negative that each column has in order, ties half (Mann and
    Whitney 1947): by ranks, as an interval takes hundreds of draws."""
    from scipy.stats import rankdata

    count = positive.sum(axis=0)
    above = np.where(positive, rankdata(scores, axis=0), 0).sum(axis=0) - count * (count + 1) / 2
    return np.asarray(above / (count * (len(positive) - count)))


_KIND: tuple[tuple[Task, ...], tuple[Format, ...]] = (("classes", "labels"), ("probability", "probabilities"))
ROC_AUC = Metric("roc_auc", True, *_KIND, _measure)


def partial_roc_auc(options: Mapping[str, Any], _classes: tuple[str, ...]) -> Metric:
    """Two classes: the area under the second's curve and above a true-positive rate of `min_tpr`, from 0 to 1 - min_tpr
    (ISIC 2024: 0.8, so at most 0.2)."""
    least = float(options.get("min_tpr", 0.8))
    if not 0 <= least < 1:
        raise ValueError(f"metric_options.min_tpr: expected 0 to 1, got {least:g}")

    def measure(targets: np.ndarray, probs: np.ndarray) -> float:
        from sklearn.metrics import roc_curve

        if len(np.unique(targets)) < 2:
            return float("nan")
        misses, hits, _ = roc_curve(targets, probs[:, 1], drop_intermediate=False)
        above = np.append(hits[hits <= least][-1:], least).max()  # the curve from where it crosses the rate
        start = np.interp(above, hits, misses) if (hits == above).sum() == 0 else misses[hits == above].max()
        beyond = hits > least
        across, up = np.append(start, misses[beyond]), np.append(least, hits[beyond])
        return float(np.trapezoid(up - least, across))

    return Metric("partial_roc_auc", True, ("classes",), ("probability",), measure, two_classes=True)
