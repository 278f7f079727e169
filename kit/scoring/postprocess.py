"""What the metric rewards beyond good predictions, fitted on OOF (`Metric.fit`), and kept only where it helps.

The reported gain is cross-fitted: each fold's decisions use parameters fitted on the other folds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kit.metrics.metric import Params
from kit.scoring.bootstrap import Difference, paired_difference
from kit.scoring.truth import Truth

KEEP = 0.9  # postprocessing is kept if it helps with at least this probability


@dataclass(frozen=True)
class Postprocess:
    """`params`: for the test predictions, fitted on all OOF; only `plain` where it does not help, or does not apply.
    `decisions`: what is scored as CV, cross-fitted where `kept`."""

    params: Params
    decisions: np.ndarray
    before: float
    after: float | None = None  # cross-fitted; `None` where the metric has nothing to fit
    difference: Difference | None = None
    kept: bool = False
    plain: Params = field(default_factory=dict)


def fit_postprocess(truth: Truth, predictions: np.ndarray, plain: Mapping[str, Any]) -> Postprocess:
    """What the metric rewards, judging by OOF. `plain`: what is done anyway (`clip`; a `threshold` for a `new_class`
    that has no training images), and facts (`new_class`; the `clips` to choose from)."""
    metric, targets, folds = truth.metric, truth.targets, truth.folds
    fixed = {k: value for k, value in plain.items() if k not in {"new_class", "clips"}} | metric.rule(targets)
    if "threshold" in plain:
        fixed["new_class"] = plain["new_class"]
    before = metric.decide_for(targets, predictions, fixed)
    old = metric.measure(targets, before)
    if metric.fit is None or not metric.applies(targets, plain) or len(np.unique(folds)) < 2:
        return Postprocess(fixed, before, old, plain=fixed)
    smallest = min(int((folds != fold).sum()) for fold in np.unique(folds))
    known = {**fixed, **plain, "images": smallest}  # judge what is submitted: the same number of biases in both
    after = cross_fitted(truth, predictions, known)
    difference = paired_difference(truth, before, after)
    kept = difference.probability >= KEEP
    new = metric.measure(targets, after)
    params = metric.fit(targets, predictions, known) if kept else fixed
    return Postprocess(params, after if kept else before, old, new, difference, kept, fixed)


def cross_fitted(truth: Truth, predictions: np.ndarray, plain: Mapping[str, Any]) -> np.ndarray:
    """Decisions, each fold's by parameters fitted on the other folds."""
    metric, targets = truth.metric, truth.targets
    assert metric.fit is not None
    parts = []
    for fold in np.unique(truth.folds):
        inside = truth.folds != fold
        params = metric.fit(targets[inside], predictions[inside], plain)
        rows = np.flatnonzero(~inside)
        parts.append((rows, metric.decide(predictions[rows], targets.ndim == 2, params)))
    decisions = np.empty((len(targets), *parts[0][1].shape[1:]), parts[0][1].dtype)
    for rows, some in parts:
        decisions[rows] = some
    return decisions
