"""What a score is worth on a leaderboard: the range it will fall in, the rank, the medal."""

from dataclasses import dataclass

import numpy as np

from kit.metrics import Metric


@dataclass(frozen=True)
class Expectation:
    """The score to expect on a test set: `value`, 95 % `interval`. `rank` and `chances` (medal or better) where there
    is a leaderboard of `teams`."""

    value: float
    interval: tuple[float, float]
    teams: int = 0
    rank: float | None = None
    rank_interval: tuple[float, float] | None = None
    chances: dict[str, float] | None = None


def medal_places(teams: int) -> dict[str, int]:
    """The last rank of each medal, by Kaggle's table (https://www.kaggle.com/progression/competitions) as MLE-bench
    (https://github.com/openai/mle-bench) reads it: shares of the teams are rounded down, to at least one place."""
    gold = int(0.10 * teams) if teams < 100 else 10 if teams < 250 else 10 + int(0.002 * teams)
    silver = int(0.20 * teams) if teams < 250 else 50 if teams < 1000 else int(0.05 * teams)
    bronze = int(0.40 * teams) if teams < 250 else 100 if teams < 1000 else int(0.10 * teams)
    return {medal: max(1, place) for medal, place in (("gold", gold), ("silver", silver), ("bronze", bronze))}


def expect(metric: Metric, draws: np.ndarray, leaderboard: np.ndarray | None = None) -> Expectation:
    """What draws of the score (`bootstrap.expected_scores`) say. `leaderboard`: the teams' scores."""
    draws = draws[~np.isnan(draws)]
    if not len(draws):  # so small a test set lacks a class
        return Expectation(float("nan"), (float("nan"), float("nan")))
    value = float(np.median(draws))
    interval = (float(np.percentile(draws, 2.5)), float(np.percentile(draws, 97.5)))
    if leaderboard is None or len(leaderboard) == 0:
        return Expectation(value, interval)
    sign = -metric.gain(1.0)
    board = np.sort(sign * leaderboard)  # the best first
    ranks = np.searchsorted(board, sign * draws, side="left") + 1
    places = medal_places(len(board))
    chances = {medal: float(np.mean(ranks <= place)) for medal, place in places.items()}
    low, high = np.percentile(ranks, [2.5, 97.5])
    return Expectation(value, interval, len(board), float(np.median(ranks)), (float(low), float(high)), chances)
