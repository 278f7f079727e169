"""How certain a score is, and whether one set of predictions beats another: resampling the images (Efron 1979).

Whole groups of images are drawn (`Truth.groups`). Decisions are what `Metric.decide` returns."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kit.scoring.truth import Truth

DRAWS = 1000
SLOW_DRAWS = 200  # for a metric that has to be recomputed each time
CHUNK = 50  # draws held in memory


@dataclass(frozen=True)
class Difference:
    """Between a second score and a first. `probability`: that the second is better; NaN where no draw has both."""

    value: float
    interval: tuple[float, float]  # 95 %
    probability: float


def bootstrap_interval(truth: Truth, decisions: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the score."""
    return _percentiles(_resampled(truth, [decisions], seed)[0])


def paired_difference(truth: Truth, first: np.ndarray, second: np.ndarray, seed: int = 0) -> Difference:
    """The second's score minus the first's, both on the same resampled images: what they share cancels out. It covers
    the choice of images, not the randomness of training: that takes several seeds."""
    a, b = _resampled(truth, [first, second], seed)
    a, b = (values[~np.isnan(a) & ~np.isnan(b)] for values in (a, b))
    better = truth.metric.gain(b) > truth.metric.gain(a)
    probability = float(np.mean(better + 0.5 * (a == b))) if len(a) else float("nan")
    value = truth.metric.measure(truth.targets, second) - truth.metric.measure(truth.targets, first)
    return Difference(value, _percentiles(b - a), probability)


@dataclass(frozen=True)
class Unseen:
    """How many images will be scored, in how many groups that are not independent (as many where none is known)."""

    num_images: int
    num_groups: int


def expected_scores(truth: Truth, decisions: np.ndarray, test: Unseen, seed: int = 0) -> np.ndarray:
    """Scores of other test sets of such images."""
    targets = truth.targets
    part = truth.metric.per_image(targets, decisions) if truth.metric.per_image else None
    scores = []
    for counts in new_sets(truth, test, DRAWS if part is not None else SLOW_DRAWS // 2, seed):
        if part is not None:
            scores.append(float(counts @ part / counts.sum()))
        else:
            rows = np.repeat(np.arange(len(targets)), counts)
            scores.append(truth.metric.measure(targets[rows], decisions[rows]))
    return np.array(scores)


def new_sets(truth: Truth, test: Unseen, draws: int, seed: int = 0) -> Iterator[np.ndarray]:
    """int (N,) for each draw: how often each known image is in a new set. Each draw first resamples the known images
    (whole groups), then draws the new set from those: groups where the test set has some, else single images."""
    generator, codes = np.random.default_rng(seed), truth.codes
    num_groups = int(codes.max()) + 1
    for _ in range(draws):
        known = generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups))
        if test.num_groups < test.num_images:
            yield generator.multinomial(test.num_groups, known / known.sum())[codes]
        else:
            weights = known[codes]
            yield generator.multinomial(test.num_images, weights / weights.sum())


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %; NaN where there is no value at all (ROC AUC of a class that does not occur)."""
    values = values[~np.isnan(values)]
    low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def _resampled(truth: Truth, several: list[np.ndarray], seed: int) -> list[np.ndarray]:
    """The scores of several decisions on the same draws."""
    metric, codes = truth.metric, truth.codes
    if metric.per_image is not None:
        stack = np.stack([metric.per_image(truth.targets, decisions) for decisions in several], axis=1)
        sums = np.zeros((codes.max() + 1, stack.shape[1] + 1))  # of each group: every score's part, and its size
        np.add.at(sums, codes, np.hstack([stack, np.ones((len(stack), 1))]))
        drawn = np.concatenate([counts @ sums for counts in _counts(len(sums), DRAWS, seed)])
        return list((drawn[:, :-1] / drawn[:, -1:]).T)
    values: list[list[float]] = [[] for _ in several]
    for counts in _counts(codes.max() + 1, SLOW_DRAWS, seed):
        for draw in counts:
            rows = np.repeat(np.arange(len(truth.targets)), draw[codes])
            for decisions, found in zip(several, values, strict=True):
                found.append(metric.measure(truth.targets[rows], decisions[rows]))
    return [np.array(found) for found in values]


def _counts(num_groups: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """int (CHUNK, num_groups) at a time: how often each group is drawn."""
    generator = np.random.default_rng(seed)
    for start in range(0, draws, CHUNK):
        yield generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=min(CHUNK, draws - start))
