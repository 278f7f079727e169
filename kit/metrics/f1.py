"""F-beta of the second of two classes, of classes or of label sets: micro, macro (mean over classes), weighted (as they
are frequent), samples (mean over images). Recall counts `beta` times as much as precision. Fitted: thresholds."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.metrics.metric import GRID, Metric, Params, best_on, same_share
from kit.tasks import Format, Task


def _decide(predictions: np.ndarray, labels: bool, params: Mapping[str, Any]) -> np.ndarray:
    if not labels:
        return predictions.argmax(axis=1)
    chosen = predictions >= np.asarray(params.get("thresholds", 0.5))
    if params.get("at_least_one", True):
        chosen[np.arange(len(chosen)), predictions.argmax(axis=1)] = True
    return chosen


def _rule(targets: np.ndarray) -> Params:
    """Where every image has a label, an empty set is never submitted."""
    return {"at_least_one": bool((targets.sum(axis=1) > 0).all())} if targets.ndim == 2 else {}


def best_threshold(targets: np.ndarray, probs: np.ndarray, beta: float) -> float:
    """The threshold of one label's highest F-beta, halfway between two predictions."""
    order = np.argsort(-probs, kind="stable")
    hits, more = np.cumsum(targets[order]), beta * beta
    value = (1 + more) * hits / (np.arange(1, len(order) + 1) + more * max(targets.sum(), 1))
    ends = np.append(probs[order][1:] < probs[order][:-1], True)  # equal predictions stay together
    place = int(np.where(ends, value, -1.0).argmax())
    after = probs[order[place + 1]] if place + 1 < len(order) else 0.0
    return float((probs[order[place]] + after) / 2)


def threshold_moved(params: Params, models: np.ndarray, mean: np.ndarray) -> Params:
    """The threshold of the second of two classes, for the mean of several models."""
    if "threshold" not in params:
        return params
    return params | {"threshold": same_share(params["threshold"], models[..., 1], mean[:, 1])}


def _moved(params: Params, models: np.ndarray, mean: np.ndarray) -> Params:
    cuts = params.get("thresholds")
    if cuts is None:
        return params
    if not isinstance(cuts, list):
        return params | {"thresholds": same_share(cuts, models, mean.ravel())}
    columns = zip(cuts, np.moveaxis(models, -1, 0), mean.T, strict=True)
    return params | {"thresholds": [same_share(*column) for column in columns]}


def _of_two(beta: float) -> Metric:
    """Of the second of two classes. Fitted: its threshold."""

    def measure(targets: np.ndarray, decisions: np.ndarray) -> float:
        from sklearn.metrics import fbeta_score

        return float(fbeta_score(targets, decisions, beta=beta, zero_division=0))

    def decide(predictions: np.ndarray, _labels: bool, params: Mapping[str, Any]) -> np.ndarray:
        return (predictions[:, 1] >= params.get("threshold", 0.5)).astype(np.int64)

    def fit(targets: np.ndarray, predictions: np.ndarray, _plain: Mapping[str, Any]) -> Params:
        return {"threshold": best_threshold(targets, predictions[:, 1], beta)}

    return Metric(
        f"f{beta:g}", True, ("classes",), ("label",), measure, decide, fit=fit, moved=threshold_moved, two_classes=True
    )


def f_beta(beta: float, average: str = "") -> Metric:
    """`average`: samples, micro, macro or weighted; "": of the second of two classes."""
    if not average:
        return _of_two(beta)

    def measure(targets: np.ndarray, decisions: np.ndarray) -> float:
        from sklearn.metrics import fbeta_score

        return float(fbeta_score(targets, decisions, beta=beta, average=average, zero_division=0))

    def fit(targets: np.ndarray, predictions: np.ndarray, plain: Mapping[str, Any]) -> Params:
        more = {"at_least_one": plain.get("at_least_one", True)}
        if average in {"macro", "weighted"}:  # one for each label
            columns = zip(targets.T, predictions.T, strict=True)
            return more | {"thresholds": [best_threshold(wanted, probs, beta) for wanted, probs in columns]}
        grid = np.quantile(predictions, np.linspace(0.02, 0.999, GRID))
        best = best_on(grid, lambda t: made.score(targets, predictions, more | {"thresholds": t}))
        return more | {"thresholds": best}

    def applies(targets: np.ndarray, _plain: Mapping[str, Any]) -> bool:
        return targets.ndim == 2  # the likeliest class needs no threshold

    tasks: tuple[Task, ...] = ("labels",) if average == "samples" else ("classes", "labels")
    formats: tuple[Format, ...] = ("labels",) if average == "samples" else ("label", "labels")
    made = Metric(f"f{beta:g}_{average}", True, tasks, formats, measure, _decide, None, fit, applies, _rule, _moved)
    return made
