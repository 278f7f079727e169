"""The medal meter: Kaggle's places, intervals that keep their promise, ranks on a known leaderboard."""

from dataclasses import replace

import numpy as np
import pytest
from by_name import measure

from kit.metrics import ACCURACY, LOG_LOSS, find_metric
from kit.scoring.bootstrap import Unseen, expected_scores, paired_difference
from kit.scoring.medals import expect, medal_places
from kit.scoring.truth import Truth


@pytest.mark.parametrize(
    ("teams", "places"),
    [
        (5, {"gold": 1, "silver": 1, "bronze": 2}),
        (50, {"gold": 5, "silver": 10, "bronze": 20}),
        (215, {"gold": 10, "silver": 43, "bronze": 86}),
        (500, {"gold": 11, "silver": 50, "bronze": 100}),
        (1314, {"gold": 12, "silver": 65, "bronze": 131}),  # Redux, as MLE-bench has it
    ],
)
def test_the_places_are_those_of_mle_bench(teams, places):
    assert medal_places(teams) == places


def _world(generator: np.random.Generator, count: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    targets = generator.integers(0, 2, count)
    logit = generator.normal(skill * (2 * targets - 1), 1.5)
    return targets, np.stack([1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))], axis=1)


@pytest.mark.parametrize("metric", ["log_loss", "accuracy", "roc_auc"])
def test_the_interval_covers_other_test_sets_at_the_stated_rate(metric):
    generator, covered = np.random.default_rng(0), 0
    worlds = 20 if metric == "roc_auc" else 60  # computed anew for every draw
    for _ in range(worlds):
        targets, probs = _world(generator, 600, 1.2)
        others, said = _world(generator, 200, 1.2)
        decided, new = (probs.argmax(1), said.argmax(1)) if metric == "accuracy" else (probs, said)
        truth = Truth(find_metric(metric), targets)
        low, high = expect(truth.metric, expected_scores(truth, decided, Unseen.singly(200))).interval
        covered += low <= measure(metric, others, new) <= high
    assert covered >= 0.86 * worlds, "95 % of 60 are 57; fewer than 52 would be one in two hundred"


def test_groups_widen_the_interval():
    generator = np.random.default_rng(1)
    targets, probs = _world(generator, 200, 1.0)
    targets, probs, groups = np.repeat(targets, 5), np.repeat(probs, 5, axis=0), np.repeat(np.arange(200), 5)
    truth = Truth(LOG_LOSS, targets)
    alone = np.std(expected_scores(truth, probs, Unseen.singly(5000)))
    together = np.std(expected_scores(replace(truth, groups=groups), probs, Unseen.singly(5000)))
    assert together > 1.8 * alone
    grouped, singly = Unseen(np.repeat(np.arange(100), 5)), Unseen.singly(500)
    patients, images = (expected_scores(replace(truth, groups=groups), probs, test) for test in (grouped, singly))
    assert np.std(patients) > 1.3 * np.std(images), "those of the test set, too"
    twin = replace(singly, codes=np.append(np.arange(499), 498))
    one_pair = np.std(expected_scores(replace(truth, groups=groups), probs, twin))
    assert one_pair == pytest.approx(np.std(images), rel=0.15), "two twins make no patients of the others"


def test_rank_and_chances_on_a_known_leaderboard():
    targets = np.zeros(10_000, dtype=int)
    probs = np.tile([0.9, 0.1], (10_000, 1))  # log loss of every image: 0.105
    board = np.linspace(0.0, 1.0, 1001)
    test = Unseen.singly(2500)
    found = expect(LOG_LOSS, expected_scores(Truth(LOG_LOSS, targets), probs, test), board)
    assert found.value == pytest.approx(-np.log(0.9))
    assert found.rank == np.searchsorted(board, -np.log(0.9)) + 1
    assert found.chances == {"gold": 0.0, "silver": 0.0, "bronze": 0.0}
    sure = np.tile([0.999, 0.001], (10_000, 1))
    better = expect(LOG_LOSS, expected_scores(Truth(LOG_LOSS, targets), sure, test), board)
    assert better.chances == {"gold": 1.0, "silver": 1.0, "bronze": 1.0}
    assert better.rank == 3  # behind 0.000 and 0.001
    right = expected_scores(Truth(ACCURACY, targets), np.zeros(10_000, dtype=int), Unseen.singly(100))
    upwards = expect(ACCURACY, right, board)
    assert upwards.rank == 1


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_paired_intervals_cover_the_true_difference_at_the_stated_rate(metric):
    """Two predictors of one world; the truth is their difference on very many images."""
    generator = np.random.default_rng(2)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        targets = generator.integers(0, 2, count)
        shared = generator.normal(1.2 * (2 * targets - 1), 1.5)
        both = [shared + generator.normal(0, noise, count) for noise in (0.3, 0.8)]
        probs = [np.stack([1 / (1 + np.exp(z)), 1 / (1 + np.exp(-z))], axis=1) for z in both]
        return targets, *([one.argmax(1) for one in probs] if metric == "accuracy" else probs)

    many = draw(400_000)
    truth = measure(metric, many[0], many[2]) - measure(metric, many[0], many[1])
    intervals = []
    for _ in range(80):
        targets, first, second = draw(500)
        intervals.append(paired_difference(Truth(find_metric(metric), targets), first, second).interval)
    covered = sum(low <= truth <= high for low, high in intervals)
    assert covered >= 70, "95 % of 80 are 76; fewer than 70 would be one in two hundred"
    assert covered < 80, "nor are they so wide that the truth never falls out"
