"""Metrics against hand-computed answers; the interval against theory; the blend against its definition."""

import numpy as np
import pytest

from kit.scoring.blend import mean_probs
from kit.scoring.metrics import all_scores, bootstrap_interval, score

TARGETS = np.array([0, 1, 1, 0])
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])


def test_known_answers():
    assert score("accuracy", TARGETS, PROBS) == 0.75
    assert score("log_loss", TARGETS, PROBS) == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert score("roc_auc", TARGETS, PROBS) == 1.0
    assert set(all_scores(TARGETS, PROBS)) == {"accuracy", "log_loss", "roc_auc"}


def test_certainty_that_is_wrong_costs_much_but_not_infinity():
    assert 10 < score("log_loss", np.array([0]), np.array([[0.0, 1.0]])) < 20


def test_a_fold_with_one_class_has_no_auc():
    assert np.isnan(score("roc_auc", np.zeros(4, int), PROBS))


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "roc_auc"])
def test_the_interval_holds_the_score_and_has_the_size_of_theory(metric):
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, 2000)
    right = np.where(generator.random(2000) < 0.9, 0.8, 0.2)
    probs = np.stack([np.where(targets == 0, right, 1 - right), np.where(targets == 1, right, 1 - right)], axis=1)
    low, high = bootstrap_interval(metric, targets, probs)
    assert low < score(metric, targets, probs) < high
    if metric == "accuracy":
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 2000), rel=0.15)
    assert bootstrap_interval(metric, targets, probs) == (low, high)


def test_blend_of_probabilities_and_of_logits():
    one, two = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    assert mean_probs([one, two], "probs")[0] == pytest.approx([0.7, 0.3])
    odds = np.sqrt(9.0)
    assert mean_probs([one, two], "logits")[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    assert mean_probs([one], "logits") == pytest.approx(one)
    assert np.isfinite(mean_probs([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])], "logits")).all()
