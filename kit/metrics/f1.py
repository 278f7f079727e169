"""F1 of classes or of label sets: micro, macro (mean over classes), samples (mean over images). Fitted: thresholds."""

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


def _best_threshold(targets: np.ndarray, probs: np.ndarray) -> float:
    """The threshold of one label's highest F1, halfway between two predictions."""
    order = np.argsort(-probs, kind="stable")
    hits = np.cumsum(targets[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(targets.sum(), 1))
    ends = np.append(probs[order][1:] < probs[order][:-1], True)  # equal predictions stay together
    place = int(np.where(ends, f1, -1.0).argmax())
    after = probs[order[place + 1]] if place + 1 < len(order) else 0.0
    return float((probs[order[place]] + after) / 2)


def _moved(params: Params, models: np.ndarray, mean: np.ndarray) -> Params:
    cuts = params.get("thresholds")
    if cuts is None:
        return params
    if not isinstance(cuts, list):
        return params | {"thresholds": same_share(cuts, models, mean.ravel())}
    columns = zip(cuts, np.moveaxis(models, -1, 0), mean.T, strict=True)
    return params | {"thresholds": [same_share(*column) for column in columns]}


def _f1(average: str, tasks: tuple[Task, ...], formats: tuple[Format, ...], spellings: tuple[str, ...]) -> Metric:
    def measure(targets: np.ndarray, decisions: np.ndarray) -> float:
        from sklearn.metrics import f1_score

        return float(f1_score(targets, decisions, average=average, zero_division=0))

    def fit(targets: np.ndarray, predictions: np.ndarray, plain: Mapping[str, Any]) -> Params:
        more = {"at_least_one": plain.get("at_least_one", True)}
        if average == "macro":  # one for each label
            columns = zip(targets.T, predictions.T, strict=True)
            return more | {"thresholds": [_best_threshold(wanted, probs) for wanted, probs in columns]}
        grid = np.quantile(predictions, np.linspace(0.02, 0.999, GRID))
        best = best_on(grid, lambda t: F1[average].score(targets, predictions, more | {"thresholds": t}))
        return more | {"thresholds": best}

    def applies(targets: np.ndarray, _plain: Mapping[str, Any]) -> bool:
        return targets.ndim == 2  # the likeliest class needs no threshold

    name = f"f1_{average}"
    return Metric(name, True, tasks, formats, measure, _decide, None, fit, applies, _rule, _moved, spellings=spellings)


_EITHER: tuple[tuple[Task, ...], tuple[Format, ...]] = (("classes", "labels"), ("label", "labels"))
_PLAIN = ("f1", "meanf1", "meanfscore", "meanf1score", "fscore", "f1score")  # of samples where it fits the task
F1 = {
    "samples": _f1("samples", ("labels",), ("labels",), ("f1samples", "samplesf1", *_PLAIN)),
    "micro": _f1("micro", *_EITHER, ("microf1", "microf1score", *_PLAIN)),
    "macro": _f1("macro", *_EITHER, ("macrof1", "macrof1score", "macrofscore")),
}
