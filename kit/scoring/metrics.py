"""The metrics, by name. scikit-learn computes; here stands only what each one is fed.

Predictions come as float (N, C): probabilities of classes (rows sum to 1) or of labels (each in 0..1), or a number
(N, 1). Targets: int64 (N,) for classes, 0/1 (N, C) for labels, float (N, 1) for numbers. What a metric looks at is
made of predictions by `decide`: hard classes, label sets, a ranking, or the predictions themselves.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics

from kit.tasks import find_metric

EPSILON = 1e-7  # a float32 probability of exactly 0 or 1 would cost infinity


def score(metric: str, targets: np.ndarray, predictions: np.ndarray, params: Mapping[str, Any] | None = None) -> float:
    """The metric of predictions; `params` as `postprocess.fit` found them. All classes need not occur."""
    return measure(metric, targets, decide_for(metric, targets, predictions, params))


def decide_for(
    metric: str, targets: np.ndarray, predictions: np.ndarray, params: Mapping[str, Any] | None = None
) -> np.ndarray:
    """`decide` where the targets are at hand, and `rule` with them."""
    return decide(metric, targets.ndim == 2, predictions, {**rule(metric, targets), **(params or {})})


def rule(metric: str, targets: np.ndarray) -> dict[str, Any]:
    """Where every image has a label, nobody hands in an empty set (F1 of labels)."""
    sets = metric.startswith("f1") and targets.ndim == 2
    return {"at_least_one": bool((targets.sum(axis=1) > 0).all())} if sets else {}


def decide(metric: str, labels: bool, predictions: np.ndarray, params: Mapping[str, Any] | None = None) -> np.ndarray:
    """What is handed in where `metric` counts. `labels`: each column decides for itself.

    int64 (N,): a class each (accuracy, F1, kappa). bool (N, C): label sets (F1 of labels). int64 (N, k): the likeliest
    classes (map@k, top@k; a class of the unknown without training images is number C). float (N, C): the predictions
    (the other metrics).
    """
    params = params or {}
    if metric == "log_loss":
        bias = params.get("bias", 0.0)
        return _calibrated(predictions, labels, params.get("temperature", 1.0), bias, params.get("clip", EPSILON))
    if metric == "quadratic_weighted_kappa":
        cuts = params.get("cuts", np.arange(predictions.shape[1] - 1) + 0.5)
        return np.searchsorted(np.asarray(cuts), mean_class(predictions), side="right").astype(np.int64)
    if metric.startswith("f1") and labels:
        chosen = predictions >= np.asarray(params.get("thresholds", 0.5))
        if params.get("at_least_one", True):
            chosen[np.arange(len(chosen)), predictions.argmax(axis=1)] = True
        return chosen
    if metric.startswith(("map@", "top@")):
        ranked = predictions
        if "threshold" in params:  # the class of the unknown is as probable as this, whatever the network says of it
            ranked = np.hstack([predictions, np.zeros((len(predictions), 1))])
            ranked[:, params["new_class"]] = params["threshold"]
            ranked = ranked[:, : max(predictions.shape[1], params["new_class"] + 1)]
        return np.argsort(-ranked, axis=1, kind="stable")[:, : find_metric(metric).k]
    if metric == "accuracy" or metric.startswith("f1"):
        return predictions.argmax(axis=1)
    return predictions


def measure(metric: str, targets: np.ndarray, decisions: np.ndarray) -> float:
    """The metric of what `decide` made."""
    if metric == "accuracy":
        return float(metrics.accuracy_score(targets, decisions))
    if metric == "log_loss" or metric.startswith(("map@", "top@")):
        part = per_image(metric, targets, decisions)
        return float(part.mean()) if part is not None else float("nan")
    if metric == "roc_auc":
        return _roc_auc(targets, decisions)
    if metric == "quadratic_weighted_kappa":
        grades = np.arange(max(targets.max(), decisions.max()) + 1)  # absent ones too: the distance is in grades
        return float(metrics.cohen_kappa_score(targets, decisions, weights="quadratic", labels=grades))
    if metric.startswith("f1_"):
        return float(metrics.f1_score(targets, decisions, average=metric.removeprefix("f1_"), zero_division=0))
    if metric == "rmse":
        return float(np.sqrt(np.mean((targets - decisions) ** 2)))
    if metric == "mae":
        return float(np.mean(np.abs(targets - decisions)))
    raise ValueError(metric)


def per_image(metric: str, targets: np.ndarray, decisions: np.ndarray) -> np.ndarray | None:
    """float (N,): each image's part of a metric that is a mean over images; none where it is not (AUC, kappa, F1)."""
    if metric == "accuracy":
        return (decisions == targets).astype(float)
    if metric == "log_loss" and targets.ndim == 2:  # mean over the labels
        sure = np.clip(decisions.astype(np.float64), EPSILON, 1 - EPSILON)
        return -(targets * np.log(sure) + (1 - targets) * np.log(1 - sure)).mean(axis=1)
    if metric == "log_loss":
        sure = np.clip(decisions.astype(np.float64), EPSILON, 1 - EPSILON)
        return -np.log(sure[np.arange(len(targets)), targets] / sure.sum(axis=1))
    if metric.startswith("map@"):  # one right answer: the precision at its rank is all there is
        return ((decisions == targets[:, None]) / np.arange(1, decisions.shape[1] + 1)).sum(axis=1)
    if metric.startswith("top@"):
        return (decisions == targets[:, None]).any(axis=1).astype(float)
    if metric == "mae":
        return np.abs(targets - decisions).mean(axis=1)
    return None


def mean_class(probs: np.ndarray) -> np.ndarray:
    """float (N,): the expected class of an ordinal prediction."""
    return probs @ np.arange(probs.shape[1])


def _calibrated(probs: np.ndarray, labels: bool, temperature: float, bias: Any, clip: float) -> np.ndarray:
    """Logits divided by the temperature (Guo et al. 2017, https://arxiv.org/abs/1706.04599) plus a bias for each class,
    then clipped."""
    if temperature != 1.0 or np.any(bias):
        logs = np.log(np.clip(probs.astype(np.float64), EPSILON, 1.0)) / temperature + np.asarray(bias)
        if labels:
            rest = np.log(np.clip(1 - probs.astype(np.float64), EPSILON, 1.0)) / temperature
            probs = 1 / (1 + np.exp(rest - logs))
        else:
            odds = np.exp(logs - logs.max(axis=1, keepdims=True))
            probs = odds / odds.sum(axis=1, keepdims=True)
    clipped = np.clip(probs, clip, 1 - clip)
    return clipped if labels else clipped / clipped.sum(axis=1, keepdims=True)


def _roc_auc(targets: np.ndarray, probs: np.ndarray) -> float:
    """Two classes: of the second. More, or labels: the mean over columns that hold both answers."""
    if targets.ndim == 1 and len(np.unique(targets)) < probs.shape[1]:
        return float("nan")
    if targets.ndim == 1 and probs.shape[1] == 2:
        return float(metrics.roc_auc_score(targets, probs[:, 1]))
    if targets.ndim == 1:
        return float(metrics.roc_auc_score(targets, probs, multi_class="ovr"))
    both = [c for c in range(probs.shape[1]) if 0 < targets[:, c].mean() < 1]
    return float(np.mean([metrics.roc_auc_score(targets[:, c], probs[:, c]) for c in both])) if both else float("nan")
