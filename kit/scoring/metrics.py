"""The competition's metric, by name. scikit-learn computes; here stands only what each one is fed."""

import numpy as np
from sklearn import metrics

from kit.tasks import METRICS

EPSILON = 1e-7  # a float32 probability of exactly 0 or 1 would cost infinity


def score(metric: str, targets: np.ndarray, probs: np.ndarray) -> float:
    """`targets` int64 (N,), `probs` float (N, C), rows sum to 1 -> the metric. All classes need not occur."""
    if metric == "accuracy":
        return float(metrics.accuracy_score(targets, probs.argmax(axis=1)))
    if metric == "log_loss":
        clipped = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
        clipped /= clipped.sum(axis=1, keepdims=True)
        return float(metrics.log_loss(targets, clipped, labels=np.arange(probs.shape[1])))
    if metric == "roc_auc":
        if len(np.unique(targets)) < probs.shape[1]:
            return float("nan")
        if probs.shape[1] == 2:
            return float(metrics.roc_auc_score(targets, probs[:, 1]))
        return float(metrics.roc_auc_score(targets, probs, multi_class="ovr"))
    raise ValueError(metric)


def all_scores(targets: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Every metric that class probabilities allow."""
    return {name: score(name, targets, probs) for name in METRICS}


def bootstrap_interval(metric: str, targets: np.ndarray, probs: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the score over 1,000 resamplings of the images (Efron 1979)."""
    generator = np.random.default_rng(seed)
    if metric == "roc_auc":
        draws = (generator.integers(len(targets), size=len(targets)) for _ in range(200))
        values = np.array([score(metric, targets[rows], probs[rows]) for rows in draws])
    else:
        each = _per_image(metric, targets, probs)
        counts = generator.multinomial(len(each), np.full(len(each), 1 / len(each)), size=1000)
        values = counts @ each / len(each)
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _per_image(metric: str, targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    if metric == "accuracy":
        return (probs.argmax(axis=1) == targets).astype(float)
    true = np.clip(probs[np.arange(len(targets)), targets].astype(np.float64), EPSILON, 1 - EPSILON)
    return -np.log(true)
