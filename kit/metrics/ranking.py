"""map@k and top@k: the k likeliest classes of an image, one of which is right. Fitted: the unknown class's probability.

`map@k` scores the right one by its rank (1, 1/2, 1/3, ...), `top@k` by whether it is there."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from kit.metrics.metric import GRID, Metric, Params, best_on, mean_of, same_share
from kit.tasks import Format, Task


def _decide(predictions: np.ndarray, _labels: bool, params: Mapping[str, Any], k: int) -> np.ndarray:
    """int64 (N, k). `params`: with a `threshold`, the class `new_class` (of the unknown) is as probable as that,
    whatever the network predicts for it; without training images it is number C."""
    ranked = predictions
    if "threshold" in params:
        ranked = np.hstack([predictions, np.zeros((len(predictions), 1))])
        ranked[:, params["new_class"]] = params["threshold"]
        ranked = ranked[:, : max(predictions.shape[1], params["new_class"] + 1)]
    return np.argsort(-ranked, axis=1, kind="stable")[:, :k]


def _by_rank(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """With one right answer, average precision is the precision at its rank."""
    return ((decisions == targets[:, None]) / np.arange(1, decisions.shape[1] + 1)).sum(axis=1)


def _among(targets: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    return (decisions == targets[:, None]).any(axis=1).astype(float)


def _moved(params: Params, models: np.ndarray, mean: np.ndarray) -> Params:
    """The unknown class comes first where no other is likelier than its threshold."""
    if "threshold" not in params:
        return params
    others = [column for column in range(mean.shape[-1]) if column != params.get("new_class")]
    likeliest = models[..., others].max(axis=-1), mean[:, others].max(axis=-1)
    return params | {"threshold": same_share(params["threshold"], *likeliest)}


_KIND: tuple[bool, tuple[Task, ...], tuple[Format, ...]] = (True, ("classes",), ("top_k",))


def mean_average_precision(k: int) -> Metric:
    def fit(targets: np.ndarray, predictions: np.ndarray, plain: Mapping[str, Any]) -> Params:
        known: Params = {"new_class": int(plain["new_class"])}
        likeliest = np.delete(predictions, known["new_class"], axis=1).max(axis=1)
        grid = np.quantile(likeliest, np.linspace(0, 1, GRID))
        threshold = best_on(grid, lambda t: metric.score(targets, predictions, known | {"threshold": t}))
        return known | {"threshold": threshold}

    def applies(targets: np.ndarray, plain: Mapping[str, Any]) -> bool:
        """Is there a class for the unknown, with images to fit its probability on?"""
        return "new_class" in plain and bool((targets == plain["new_class"]).any())

    decide = partial(_decide, k=k)
    metric = Metric(f"map@{k}", *_KIND, mean_of(_by_rank), decide, _by_rank, fit, applies, moved=_moved, k=k)
    return metric


def top_accuracy(k: int) -> Metric:
    return Metric(f"top@{k}", *_KIND, mean_of(_among), partial(_decide, k=k), _among, k=k)
