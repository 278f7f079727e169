"""How certain a score is, and whether one set of predictions beats another: resampling the images (Efron 1979).

Whole groups of images are drawn (`Truth.groups`). Decisions are what `Metric.decide` returns."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

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
    """The images that will be scored: `codes` int (M,), each one's group, numbered from 0; images of one group are not
    independent. As many groups as images where none is known."""

    codes: np.ndarray

    @classmethod
    def singly(cls, num_images: int) -> Self:
        return cls(np.arange(num_images))

    @property
    def num_images(self) -> int:
        return len(self.codes)

    @property
    def sizes(self) -> np.ndarray:
        """int (groups,)"""
        return np.bincount(self.codes)


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
    (whole groups), then draws the new set from those: for each group of the test set as many images of one group."""
    generator, codes, sizes = np.random.default_rng(seed), truth.codes, test.sizes
    order, known_sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    starts = np.cumsum(known_sizes) - known_sizes
    for _ in range(draws):
        known = generator.multinomial(len(known_sizes), np.full(len(known_sizes), 1 / len(known_sizes)))
        weights = known * known_sizes
        if sizes.max() == 1:
            images = weights[codes] / known_sizes[codes]
            yield generator.multinomial(test.num_images, images / images.sum())
            continue
        groups = np.repeat(generator.choice(len(weights), len(sizes), p=weights / weights.sum()), sizes)
        places = starts[groups] + (generator.random(len(groups)) * known_sizes[groups]).astype(int)
        yield np.bincount(order[places], minlength=len(codes))


def standard_error(values: np.ndarray, codes: np.ndarray) -> float:
    """Of the mean of `values` (N,), whose groups (`codes`, numbered from 0) are independent."""
    sums = np.bincount(codes, values - values.mean())
    return float(np.sqrt((sums**2).sum()) / len(values))


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
