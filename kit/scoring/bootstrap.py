"""How sure a score is, and whether one set of predictions beats another: resampling the images (Efron 1979)."""

from dataclasses import dataclass

import numpy as np

from kit.scoring.metrics import measure, per_image
from kit.tasks import find_metric

DRAWS = 1000
SLOW_DRAWS = 200  # of a metric that has to be computed anew each time


@dataclass(frozen=True)
class Difference:
    """Of a second score to a first one. `probability`: that the second is the better one."""

    value: float
    interval: tuple[float, float]  # 95 %
    probability: float


def bootstrap_interval(metric: str, targets: np.ndarray, decisions: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the score of what `metrics.decide` made."""
    return _percentiles(_resampled(metric, targets, [decisions], seed)[0])


def paired_difference(
    metric: str, targets: np.ndarray, first: np.ndarray, second: np.ndarray, seed: int = 0
) -> Difference:
    """The second's score minus the first's, both on the same resampled images: what they share cancels out.

    `first` and `second` are what `metrics.decide` made. It covers the choice of images, not the luck of the training:
    that takes several seeds.
    """
    a, b = _resampled(metric, targets, [first, second], seed)
    better = (b > a) if find_metric(metric).higher_is_better else (b < a)
    probability = float(np.mean(better + 0.5 * (a == b)))
    value = measure(metric, targets, second) - measure(metric, targets, first)
    return Difference(value, _percentiles(b - a), probability)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %; nan where there is no value at all (ROC AUC of a class that does not occur)."""
    values = values[~np.isnan(values)]
    low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def _resampled(metric: str, targets: np.ndarray, members: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """Each member's score on the same draws of the images."""
    generator, count = np.random.default_rng(seed), len(targets)
    parts = [per_image(metric, targets, decisions) for decisions in members]
    if all(part is not None for part in parts):
        draws = generator.multinomial(count, np.full(count, 1 / count), size=DRAWS)
        return [draws @ part / count for part in parts if part is not None]
    chosen = [generator.integers(count, size=count) for _ in range(SLOW_DRAWS)]
    return [np.array([measure(metric, targets[rows], member[rows]) for rows in chosen]) for member in members]
