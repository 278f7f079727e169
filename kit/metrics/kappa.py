"""Quadratic weighted kappa of grades. Fitted for it: cut points of the mean class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.metrics.metric import GRID, Metric, Params, same_share


def mean_class(probs: np.ndarray) -> np.ndarray:
    """(..., C) -> (...): the expected class of an ordinal prediction."""
    return probs @ np.arange(probs.shape[-1])


def _decide(predictions: np.ndarray, _labels: bool, params: Mapping[str, Any]) -> np.ndarray:
    cuts = params.get("cuts", np.arange(predictions.shape[1] - 1) + 0.5)
    return np.searchsorted(np.asarray(cuts), mean_class(predictions), side="right").astype(np.int64)


def _measure(targets: np.ndarray, decisions: np.ndarray) -> float:
    from sklearn.metrics import cohen_kappa_score

    grades = np.arange(max(targets.max(), decisions.max()) + 1)  # absent ones too: the distance is in grades
    return float(cohen_kappa_score(targets, decisions, weights="quadratic", labels=grades))


def _fit(targets: np.ndarray, predictions: np.ndarray, _plain: Mapping[str, Any]) -> Params:
    """Cut points on a grid of quantiles, each in turn moved to its best place until none moves."""
    num_classes = predictions.shape[1]
    means = mean_class(predictions)
    grid = np.unique(np.quantile(means, np.linspace(0, 1, 2 * GRID)))
    below = np.array([[np.sum((means < cut) & (targets == c)) for cut in grid] for c in range(num_classes)])
    totals = np.bincount(targets, minlength=num_classes)[:, None]
    weights = np.subtract.outer(np.arange(num_classes), np.arange(num_classes)) ** 2

    def kappa(places: list[int]) -> float:
        edges = np.hstack([np.zeros((num_classes, 1)), below[:, places], totals])
        seen = np.diff(edges, axis=1)  # (true, decided)
        chance = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / seen.sum()
        return 1 - (weights * seen).sum() / max((weights * chance).sum(), 1e-12)

    places = np.searchsorted(grid, np.arange(num_classes - 1) + 0.5).clip(0, len(grid) - 1).tolist()
    for _ in range(20):
        earlier = list(places)
        for number in range(num_classes - 1):
            low = places[number - 1] if number else 0
            high = places[number + 1] if number + 1 < len(places) else len(grid) - 1
            tried = range(low, high + 1)
            values = [kappa([*places[:number], place, *places[number + 1 :]]) for place in tried]
            if max(values) > kappa(places) + 1e-12:
                places[number] = tried[int(np.argmax(values))]
        if places == earlier:
            break
    return {"cuts": [float(grid[place]) for place in places]}


def _moved(params: Params, models: np.ndarray, mean: np.ndarray) -> Params:
    means = mean_class(models), mean_class(mean)
    return params | {"cuts": [same_share(cut, *means) for cut in params["cuts"]]} if "cuts" in params else params


KAPPA = Metric(
    "quadratic_weighted_kappa", True, ("ordinal",), ("label",), _measure, _decide, fit=_fit, moved=_moved,
)  # fmt: skip
