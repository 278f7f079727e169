"""What the metric rewards beyond good predictions, fitted on OOF: calibration for log loss (temperature, bias and
clipping), cut-points for kappa, thresholds for F1, a threshold for the unknown class of MAP@k. The rest need nothing.

The gain that is reported is cross-fitted: each fold's decisions use parameters that were fitted on the other folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize

from kit.scoring.bootstrap import Difference, paired_difference
from kit.scoring.metrics import EPSILON, decide, decide_for, mean_class, measure, rule, score

Params = dict[str, Any]
CLIP = 1e-4  # where nothing is fitted
CLIPS = (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2)
KEEP = 0.9  # so probable must it be that it helps
GRID = 200  # thresholds tried
IMAGES_PER_BIAS = 500


@dataclass(frozen=True)
class Postprocess:
    """`params`: for the test predictions, fitted on all OOF; only `plain` where it does not help, or does not apply.

    `decisions`: what is scored as CV, cross-fitted where `kept`.
    """

    params: Params
    decisions: np.ndarray
    before: float
    after: float | None = None  # cross-fitted; none where the metric has nothing to fit
    difference: Difference | None = None
    kept: bool = False
    plain: Params = field(default_factory=dict)


def compile_for(
    metric: str,
    targets: np.ndarray,
    predictions: np.ndarray,
    folds: np.ndarray,
    plain: Mapping[str, Any],
    groups: np.ndarray | None = None,
) -> Postprocess:
    """What suits `metric`, judged on OOF. `plain`: what is done anyway (`clip`; a `threshold` for a
    `new_class` that has no training images), and facts (`new_class`; the `clips` to choose from).

    `targets` and `predictions` as in `metrics`; `folds` int64 (N,): the fold that scored each image; `groups` int64
    (N,): images that are no evidence of their own.
    """
    fixed = {k: value for k, value in plain.items() if k not in {"new_class", "clips"}} | rule(metric, targets)
    if "threshold" in plain:
        fixed["new_class"] = plain["new_class"]
    before = decide_for(metric, targets, predictions, fixed)
    old = measure(metric, targets, before)
    if not _applies(metric, targets, plain) or len(np.unique(folds)) < 2:
        return Postprocess(fixed, before, old, plain=fixed)
    smallest = min(int((folds != fold).sum()) for fold in np.unique(folds))
    plain = {**plain, "images": smallest}  # what is judged is what is handed in: as many biases in both
    after = cross_fit(metric, targets, predictions, folds, fixed | dict(plain))
    difference = paired_difference(metric, targets, before, after, groups)
    kept = difference.probability >= KEEP
    params = fit(metric, targets, predictions, fixed | dict(plain)) if kept else fixed
    new = measure(metric, targets, after)
    return Postprocess(params, after if kept else before, old, new, difference, kept, fixed)


def cross_fit(
    metric: str, targets: np.ndarray, predictions: np.ndarray, folds: np.ndarray, plain: Mapping[str, Any]
) -> np.ndarray:
    """Decisions, each fold's by parameters that were fitted on the other folds."""
    parts = []
    for fold in np.unique(folds):
        inside = folds != fold
        params = fit(metric, targets[inside], predictions[inside], plain)
        rows = np.flatnonzero(~inside)
        parts.append((rows, decide(metric, targets.ndim == 2, predictions[rows], params)))
    decisions = np.empty((len(targets), *parts[0][1].shape[1:]), parts[0][1].dtype)
    for rows, some in parts:
        decisions[rows] = some
    return decisions


def fit(metric: str, targets: np.ndarray, predictions: np.ndarray, plain: Mapping[str, Any]) -> Params:
    """The parameters for `metrics.decide` that score best on these images."""
    if metric == "log_loss":
        return _calibration(targets, predictions, int(plain.get("images", len(targets))), plain.get("clips", CLIPS))
    if metric == "quadratic_weighted_kappa":
        return {"cuts": _cut_points(targets, predictions)}
    if metric == "f1_macro":
        columns, more = range(targets.shape[1]), {"at_least_one": plain.get("at_least_one", True)}
        return more | {"thresholds": [_best_threshold(targets[:, c], predictions[:, c]) for c in columns]}
    if metric.startswith("f1"):
        grid = np.quantile(predictions, np.linspace(0.02, 0.999, GRID))
        more = {"at_least_one": plain.get("at_least_one", True)}
        return more | {
            "thresholds": _best(grid, lambda t: score(metric, targets, predictions, more | {"thresholds": t}))
        }
    new = int(plain["new_class"])
    grid = np.quantile(np.delete(predictions, new, axis=1).max(axis=1), np.linspace(0, 1, GRID))
    known = {"new_class": new}
    return known | {"threshold": _best(grid, lambda t: score(metric, targets, predictions, known | {"threshold": t}))}


def _applies(metric: str, targets: np.ndarray, plain: Mapping[str, Any]) -> bool:
    if metric.startswith("f1"):
        return targets.ndim == 2
    if metric.startswith("map@"):
        return "new_class" in plain and bool((targets == plain["new_class"]).any())
    return metric in {"log_loss", "quadratic_weighted_kappa"}


def _calibration(targets: np.ndarray, predictions: np.ndarray, num_images: int, clips: Sequence[float]) -> Params:
    """Temperature, a bias for each class (where there are images enough for each), and the clip."""
    labels, outputs = targets.ndim == 2, predictions.shape[1]
    free = outputs if labels else outputs - 1  # of classes the first's bias is 0
    free = free if free * IMAGES_PER_BIAS <= num_images else 0

    def params(point: np.ndarray, clip: float = EPSILON) -> Params:
        found: Params = {"temperature": round(float(np.exp(point[0])), 4)} | ({"clip": clip} if clip else {})
        if free:
            values = point[1:] if labels else np.r_[0.0, point[1:]]
            found["bias"] = [round(float(value), 4) for value in values]
        return found

    def loss(point: np.ndarray) -> float:
        bias = 0.0 if not free else point[1:] if labels else np.r_[0.0, point[1:]]
        return score("log_loss", targets, predictions, {"temperature": float(np.exp(point[0])), "bias": bias})

    bounds = [(-1.5, 1.5)] + [(-3.0, 3.0)] * free
    found = minimize(loss, np.zeros(1 + free), method="L-BFGS-B", bounds=bounds).x
    clip = min(clips, key=lambda c: score("log_loss", targets, predictions, params(found, c)))
    return params(found, clip)


def _cut_points(targets: np.ndarray, predictions: np.ndarray) -> list[float]:
    """Cuts of the mean class, one after the other to its best place until none moves (on a grid of quantiles)."""
    num_classes = predictions.shape[1]
    means = mean_class(predictions)
    grid = np.unique(np.quantile(means, np.linspace(0, 1, 2 * GRID)))
    below = np.array([[np.sum((means < cut) & (targets == c)) for cut in grid] for c in range(num_classes)])
    totals = np.bincount(targets, minlength=num_classes)[:, None]
    weights = np.subtract.outer(np.arange(num_classes), np.arange(num_classes)) ** 2

    def kappa(places: list[int]) -> float:
        edges = np.hstack([np.zeros((num_classes, 1)), below[:, places], totals])
        seen = np.diff(edges, axis=1)  # (true, handed in)
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
    return [float(grid[place]) for place in places]


def _best_threshold(targets: np.ndarray, probs: np.ndarray) -> float:
    """The threshold of one label's highest F1, half way between two predictions."""
    order = np.argsort(-probs, kind="stable")
    hits = np.cumsum(targets[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(targets.sum(), 1))
    ends = np.append(probs[order][1:] < probs[order][:-1], True)  # equal predictions stay together
    place = int(np.where(ends, f1, -1.0).argmax())
    after = probs[order[place + 1]] if place + 1 < len(order) else 0.0
    return float((probs[order[place]] + after) / 2)


def _best(grid: np.ndarray, value_of: Any) -> float:
    values = np.array([value_of(float(t)) for t in grid])
    best = np.flatnonzero(values == values.max())
    return float(grid[best[len(best) // 2]])  # the middle of a plateau
