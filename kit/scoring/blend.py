"""Several predictions become one: plain means, and blends whose weights are fitted on OOF without leakage.

A blend is fitted on the OOF of all folds for the test images. Its CV is nested: each fold's images are blended with
weights (and, with `auto`, a method) fitted on the other folds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.optimize import minimize

from kit.metrics import LOG_LOSS, Metric
from kit.metrics.metric import EPSILON
from kit.scoring.truth import Truth
from kit.tasks import Task

METHODS = ("best", "mean", "hill", "weights", "stack")
ROUNDS = 40  # of hill-climbing
MOST_BIASES = 12  # outputs; beyond that, a bias for each would cost more time than it gains
RIDGE = 1e-3  # pulls a stack's coefficients towards the plain mean
SMALL = 1e-3  # the share of what is left to gain that a more involved method must gain over a plainer one


def mean_predictions(
    members: Sequence[np.ndarray], average: str, task: Task = "classes", weights: Sequence[float] | None = None
) -> np.ndarray:
    """Members (N, C) -> their mean (N, C): of the predictions (`probs`), or of their logits (`logits`). Numbers have no
    logits. `weights` sum to 1; None: all the same."""
    stack = np.stack(members).astype(np.float64)
    share = np.full(len(stack), 1 / len(stack)) if weights is None else np.asarray(weights, dtype=np.float64)
    if average == "probs" or task == "number":
        return np.tensordot(share, stack, axes=1)
    return from_logits(np.tensordot(share, to_logits(stack, task), axes=1), task)


def to_logits(predictions: np.ndarray, task: Task) -> np.ndarray:
    """Predictions (..., C) -> logits; for classes up to a constant in each row. Numbers stay as they are."""
    if task == "number":
        return predictions
    sure = np.clip(predictions.astype(np.float64), EPSILON, 1 - EPSILON)
    return np.log(sure / (1 - sure)) if task == "labels" else np.log(sure)


def from_logits(logits: np.ndarray, task: Task) -> np.ndarray:
    """The inverse of `to_logits`: rows of classes sum to 1."""
    if task == "number":
        return logits
    if task == "labels":
        return 1 / (1 + np.exp(-logits))
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


@dataclass(frozen=True)
class Recipe:
    """A fitted blend. `weights`: of the members; they sum to 1, except a stack's; `bias`: a stack's, per output."""

    method: str
    weights: tuple[float, ...]
    average: str
    bias: tuple[float, ...] = ()

    def apply(self, members: Sequence[np.ndarray], task: Task) -> np.ndarray:
        """Members (N, C) -> the blend (N, C)."""
        if self.method != "stack":
            return mean_predictions(members, self.average, task, self.weights)
        logits = np.tensordot(self.weights, to_logits(np.stack(members), task), axes=1)
        return from_logits(logits + np.asarray(self.bias), task)


@dataclass(frozen=True)
class Blend:
    """`recipe`: fitted on all OOF. `oof` (N, C): nested. `by_method`: each method's own nested score."""

    recipe: Recipe
    oof: np.ndarray
    by_method: dict[str, float]


@dataclass(frozen=True)
class Known:
    """What blends are fitted on and judged by: a truth with folds. `average` as in `mean_predictions`. `calibrated`:
    log losses are compared after a temperature and a bias, as submitted, so that none wins or loses by these alone."""

    truth: Truth
    task: Task
    average: str = "probs"
    calibrated: bool = True

    @property
    def folds(self) -> np.ndarray:
        return self.truth.folds

    def only(self, rows: np.ndarray) -> Self:
        """Some of the images: bool (N,)."""
        return replace(self, truth=self.truth.only(rows))

    def judge(self, predictions: np.ndarray) -> float:
        """The score of predictions (N, C)."""
        metric, targets = self.truth.metric, self.truth.targets
        calibrate = metric.fit if metric.calibrates and self.calibrated else None
        return metric.score(targets, predictions, calibrate(targets, predictions, {}) if calibrate else {})


def blend(method: str, known: Known, members: Sequence[np.ndarray]) -> Blend:
    """Fit `method` (one of `METHODS`, or `auto`: the plainest of those that score best) on members' OOF (N, C)."""
    names = METHODS if method == "auto" else (method,)
    oof = {name: nested(name, known, members) for name in names}
    by_method = {name: known.judge(predictions) for name, predictions in oof.items()}
    chosen = _plainest(by_method, known.truth.metric)
    recipe = fit_recipe(chosen, known, members)
    if method != "auto" or len(np.unique(known.folds)) < 3:
        return Blend(recipe, oof[chosen], by_method)
    honest = np.empty_like(oof[chosen])
    for fold in np.unique(known.folds):  # the choice of method is nested as well
        rows = known.folds == fold
        seen, parts = known.only(~rows), [member[~rows] for member in members]
        inner = {name: seen.judge(nested(name, seen, parts)) for name in names}
        one = fit_recipe(_plainest(inner, known.truth.metric), seen, parts)
        honest[rows] = one.apply([member[rows] for member in members], known.task)
    return Blend(recipe, honest, by_method)


def nested(method: str, known: Known, members: Sequence[np.ndarray]) -> np.ndarray:
    """(N, C): each fold's images by a recipe fitted on the other folds."""
    result = np.empty(np.shape(members[0]), dtype=np.float64)
    for fold in np.unique(known.folds):
        rows = known.folds == fold
        seen = rows if rows.all() else ~rows  # one fold alone has no others
        recipe = fit_recipe(method, known.only(seen), [member[seen] for member in members])
        result[rows] = recipe.apply([member[rows] for member in members], known.task)
    return result


def fit_recipe(method: str, known: Known, members: Sequence[np.ndarray]) -> Recipe:
    """The recipe that does best on these images. best: one member. mean: equal weights. hill: greedy selection with
    replacement (Caruana et al. 2004). weights: the mean with the lowest log loss (numbers: squared error). stack: a
    ridge-penalised sum of logits, with a bias."""
    count, task, average = len(members), known.task, known.average
    if method == "best":
        values = np.array([known.judge(member) for member in members])
        place = int(np.argmax(np.nan_to_num(known.truth.metric.gain(values), nan=-1e300)))
        return Recipe(method, tuple(np.eye(count)[place].tolist()), average)
    if method == "mean":
        return Recipe(method, (1 / count,) * count, average)
    if method == "hill":
        return Recipe(method, _climb(known, members), average)
    stack = np.stack(members).astype(np.float64)
    if method == "weights":
        return Recipe(method, _weights(known.truth.targets, stack, task, average), average)
    weights, bias = _stack(known.truth.targets, to_logits(stack, task), task)
    return Recipe(method, weights, "logits", bias)


def _plainest(by_method: dict[str, float], metric: Metric) -> str:
    """The first of METHODS that no other beats by more than a little."""
    gains = np.nan_to_num(metric.gain(np.array(list(by_method.values()))), nan=-1e300)  # -1e300: no score at all
    perfect = 1.0 if metric.higher_is_better else 0.0
    enough = gains.max() - SMALL * abs(perfect - gains.max())
    return list(by_method)[int(np.flatnonzero(gains >= enough)[0])]


def _climb(known: Known, members: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Start from the best member, repeatedly add whichever helps most; returns the best weights on the way."""
    parts, logits = np.stack(members).astype(np.float64), known.average == "logits"
    space = to_logits(parts, known.task) if logits else parts
    total, counts = np.zeros_like(space[0]), np.zeros(len(space))
    best, best_counts = -1e299, np.ones(len(space))  # equal weights where the metric cannot be computed
    for _ in range(ROUNDS):
        tried = []
        for part in space:
            mean = (total + part) / (counts.sum() + 1)
            predictions = from_logits(mean, known.task) if logits else mean
            gain = float(known.truth.metric.gain(known.truth.metric.score(known.truth.targets, predictions)))
            tried.append(-1e300 if np.isnan(gain) else gain)
        place = int(np.argmax(tried))
        total, counts = total + space[place], counts + np.eye(len(space))[place]
        if tried[place] > best + 1e-9:
            best, best_counts = tried[place], counts
    return tuple((best_counts / best_counts.sum()).tolist())


def _weights(targets: np.ndarray, stack: np.ndarray, task: Task, average: str) -> tuple[float, ...]:
    """Weights on the simplex (a softmax of free numbers) with the lowest loss."""

    def loss(free: np.ndarray) -> float:
        share = np.exp(free - free.max())
        return _loss(targets, mean_predictions(list(stack), average, task, (share / share.sum()).tolist()), task)

    found = minimize(loss, np.zeros(len(stack)), method="L-BFGS-B", bounds=[(-8, 8)] * len(stack)).x
    share = np.exp(found - found.max())
    return tuple((share / share.sum()).tolist())


def _stack(targets: np.ndarray, logits: np.ndarray, task: Task) -> tuple[tuple[float, ...], tuple[float, ...]]:
    count, outputs = len(logits), logits.shape[-1] if logits.shape[-1] <= MOST_BIASES else 0

    def loss(free: np.ndarray) -> float:
        weights, bias = free[:count], free[count:] if outputs else np.zeros(1)
        said = from_logits(np.tensordot(weights, logits, axes=1) + bias, task)
        return _loss(targets, said, task) + RIDGE * float(np.square(weights - 1 / count).sum() + np.square(bias).sum())

    start = np.r_[np.full(count, 1 / count), np.zeros(outputs)]
    found = minimize(loss, start, method="L-BFGS-B").x
    return tuple(found[:count].tolist()), tuple(found[count:].tolist()) if outputs else (0.0,)


def _loss(targets: np.ndarray, predictions: np.ndarray, task: Task) -> float:
    if task == "number":
        spread = np.maximum(np.var(targets, axis=0), 1e-12)
        return float(np.mean(np.mean((predictions - targets) ** 2, axis=0) / spread))
    return LOG_LOSS.score(targets, predictions)
