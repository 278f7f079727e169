"""A metric as one object: what it scores, what is submitted for it, and what can be fitted for it.

Predictions are float (N, C): probabilities of classes (rows sum to 1) or of labels (each in 0..1), or a number (N, 1).
Targets are int64 (N,) for classes, 0/1 (N, C) for labels, float (N, 1) for numbers. `decide` turns predictions into
what the metric looks at (hard classes, label sets, a ranking, or the predictions themselves); `measure` scores that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from kit.errors import nearest
from kit.tasks import Format, Task

EPSILON = 1e-7  # a float32 probability of exactly 0 or 1 would have an infinite loss
GRID = 200  # thresholds tried

Params = dict[str, Any]
"""What is fitted for a metric, and what is fixed: temperature, bias, clip, cuts, thresholds, ..."""
Fixed = Mapping[str, Any]
"""The same, read-only."""
NOTHING: Fixed = MappingProxyType({})


def as_predicted(predictions: np.ndarray, _labels: bool, _params: Mapping[str, Any]) -> np.ndarray:
    """The predictions themselves are submitted."""
    return predictions


def likeliest(predictions: np.ndarray, _labels: bool, _params: Mapping[str, Any]) -> np.ndarray:
    """int64 (N,): a class for each row."""
    return predictions.argmax(axis=1)


@dataclass(frozen=True)
class Metric:
    """A competition's measure. `measure(targets, decisions)` is the score. `decide_with(predictions, labels, params)`
    makes the decisions; with `labels` each column decides for itself. `per_image(targets, decisions)`: float (N,), each
    image's part where the score is their mean (without it, intervals take fewer and slower draws). `fit(targets,
    predictions, plain)`: the params that score best on these images; `plain` holds what is fixed. `applies(targets,
    plain)`: is there anything to fit? `rule(targets)`: params that the targets imply, for the test predictions too.
    `moved(params, models, mean)`: fitted params for the mean (M, C) of several models' predictions (K, M, C).
    Only the first five fields are needed."""

    name: str
    higher_is_better: bool
    tasks: tuple[Task, ...]
    formats: tuple[Format, ...]
    measure: Callable[[np.ndarray, np.ndarray], float]
    decide_with: Callable[[np.ndarray, bool, Mapping[str, Any]], np.ndarray] = as_predicted
    per_image: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    fit: Callable[[np.ndarray, np.ndarray, Mapping[str, Any]], Params] | None = None
    applies: Callable[[np.ndarray, Mapping[str, Any]], bool] = lambda targets, plain: True
    rule: Callable[[np.ndarray], Params] = lambda targets: {}
    moved: Callable[[Params, np.ndarray, np.ndarray], Params] = lambda params, models, mean: params
    calibrates: bool = False  # `fit` is a calibration: predictions are compared after it, so that none wins by it alone
    two_classes: bool = False  # it needs exactly two, and is of the second
    k: int = 1  # classes submitted for each image: map@k and top@k

    def decide(self, predictions: np.ndarray, labels: bool, params: Fixed = NOTHING) -> np.ndarray:
        """What is submitted: int64 (N,) classes, bool (N, C) label sets, int64 (N, k) ranked classes, or predictions.
        `labels`: several labels per image, each column is decided by itself."""
        return self.decide_with(predictions, labels, params)

    def decide_for(self, targets: np.ndarray, predictions: np.ndarray, params: Fixed = NOTHING) -> np.ndarray:
        """`decide`, with the params that the known targets imply (`rule`)."""
        return self.decide(predictions, targets.ndim == 2, {**self.rule(targets), **params})

    def score(self, targets: np.ndarray, predictions: np.ndarray, params: Fixed = NOTHING) -> float:
        """The metric of predictions; not all classes need occur."""
        return self.measure(targets, self.decide_for(targets, predictions, params))

    def gain(self, value: float | np.ndarray) -> Any:
        """`value` with its sign such that more is better."""
        return value if self.higher_is_better else -value


def mean_of(per_image: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], float]:
    """A `measure` that is the mean over images."""
    return lambda targets, decisions: float(per_image(targets, decisions).mean())


def weights_of(options: Mapping[str, Any], names: Sequence[str], what: str) -> np.ndarray:
    """float (len(names),): `metric_options.weights`, 1 where they name none. Raises `ValueError` where they are no
    mapping, name something else (`what`: a class), or are no weights."""
    given = options.get("weights", {})
    if not isinstance(given, Mapping):
        raise ValueError(f"metric_options.weights: expected {{NAME: NUMBER, ...}}, got {given!r}")
    strangers = [str(name) for name in given if names and str(name) not in names]
    if strangers:
        raise ValueError(f"metric_options.weights: '{strangers[0]}' is not a {what}{nearest(strangers[0], names)}")
    given = {str(name): value for name, value in given.items()}
    numbers = [given.get(name, 1) for name in names]
    if not all(isinstance(one, int | float) and 0 <= one < np.inf for one in numbers) or (names and not any(numbers)):
        raise ValueError("metric_options.weights: expected numbers of at least 0, not all of them 0")
    return np.array(numbers, float)


def same_share(cut: float, models: np.ndarray, mean: np.ndarray) -> float:
    """The cut below which as large a share of `mean` (M,) lies as below `cut` of `models` (any shape)."""
    ordered = np.sort(mean)
    place = round(float(np.mean(models < cut)) * len(ordered))
    if place == 0:
        return min(cut, float(ordered[0]))
    if place == len(ordered):
        return max(cut, float(np.nextafter(ordered[-1], np.inf)))
    return float(ordered[place - 1] + ordered[place]) / 2


def best_on(grid: np.ndarray, value_of: Callable[[float], float]) -> float:
    """The value of `grid` with the highest `value_of`; the middle of a plateau."""
    values = np.array([value_of(float(one)) for one in grid])
    best = np.flatnonzero(values == values.max())
    return float(grid[best[len(best) // 2]])
