"""Metrics against hand-computed answers; the interval against theory; the blend against its definition."""

import numpy as np
import pytest
import sklearn.metrics
from by_name import decide, score

from kit.metrics import find_metric, shown_metrics
from kit.scoring.blend import mean_predictions
from kit.scoring.bootstrap import bootstrap_interval, paired_difference
from kit.scoring.truth import Truth
from kit.tasks import Outputs

TARGETS = np.array([0, 1, 1, 0])
PROBS = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])


def _interval(metric, targets, decisions, groups=None):
    return bootstrap_interval(Truth(find_metric(metric), targets, groups), decisions)


def _difference(metric, targets, first, second):
    return paired_difference(Truth(find_metric(metric), targets), first, second)


def test_known_answers():
    assert score("accuracy", TARGETS, PROBS) == 0.75
    assert score("log_loss", TARGETS, PROBS) == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.7]).mean())
    assert score("roc_auc", TARGETS, PROBS) == 1.0
    shown = [metric.name for metric in shown_metrics(Outputs(2), find_metric("top@2"))]
    assert shown == ["top@2", "accuracy", "log_loss", "roc_auc"]


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
    decided = decide(metric, False, probs)
    low, high = _interval(metric, targets, decided)
    assert low < score(metric, targets, probs) < high
    if metric == "accuracy":
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 2000), rel=0.15)
    assert _interval(metric, targets, decided) == (low, high)


def test_blend_of_probabilities_and_of_logits():
    one, two = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    assert mean_predictions([one, two], "probs")[0] == pytest.approx([0.7, 0.3])
    odds = np.sqrt(9.0)
    assert mean_predictions([one, two], "logits")[0] == pytest.approx([odds / (1 + odds), 1 / (1 + odds)])
    assert mean_predictions([one], "logits") == pytest.approx(one)
    assert np.isfinite(mean_predictions([np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])], "logits")).all()


@pytest.mark.parametrize("gap", [0.0, 0.02])
def test_paired_intervals_cover_the_truth_at_the_stated_rate(gap):
    """200 simulated pairs of runs whose true accuracies differ by `gap`: about 95 % of the intervals hold it."""
    generator, count, covered, found = np.random.default_rng(7), 600, 0, 0
    for _ in range(200):
        hard = generator.random(count)  # shared by both runs, as in life
        flips = generator.random((2, count))
        right = [(0.7 * hard + 0.3 * flip) < limit for flip, limit in zip(flips, (0.8, 0.8 + gap), strict=True)]
        grid = np.linspace(0, 1, 2001)
        truth = np.diff([np.clip((limit - 0.7 * grid) / 0.3, 0, 1).mean() for limit in (0.8, 0.8 + gap)])[0]
        probs = [np.stack([one, ~one], axis=1).astype(float) for one in right]
        result = _difference("accuracy", np.zeros(count, np.int64), *(decide("accuracy", False, p) for p in probs))
        covered += result.interval[0] - 1e-9 <= truth <= result.interval[1] + 1e-9
        found += result.probability > 0.975
    assert 182 <= covered <= 198
    assert (found < 14) if gap == 0 else (found > 20)


def test_a_run_against_itself_is_a_draw():
    generator = np.random.default_rng(0)
    probs = generator.dirichlet([1, 1], 300)
    for metric in ("accuracy", "log_loss", "roc_auc"):
        targets, decided = (probs[:, 1] > generator.random(300)).astype(np.int64), decide(metric, False, probs)
        result = _difference(metric, targets, decided, decided)
        assert (result.value, result.interval, result.probability) == (0.0, (0.0, 0.0), 0.5)


def test_a_lower_log_loss_is_better():
    targets = np.zeros(200, np.int64)
    good, bad = np.tile([0.9, 0.1], (200, 1)), np.tile([0.6, 0.4], (200, 1))
    good += np.random.default_rng(0).normal(0, 0.02, (200, 1)) * [1, -1]
    result = _difference("log_loss", targets, bad, good)
    assert result.value < 0
    assert result.probability == 1.0


def test_metrics_of_labels_against_scikit_learn():
    generator = np.random.default_rng(0)
    probs = generator.random((300, 4))
    targets = (generator.random((300, 4)) < probs).astype(np.float32)
    columns = range(4)
    assert score("roc_auc", targets, probs) == pytest.approx(
        np.mean([sklearn.metrics.roc_auc_score(targets[:, c], probs[:, c]) for c in columns])
    )
    assert score("log_loss", targets, probs) == pytest.approx(
        np.mean([sklearn.metrics.log_loss(targets[:, c], probs[:, c]) for c in columns])
    )
    said = probs >= 0.5
    forced = said.copy()
    forced[np.arange(300), probs.argmax(axis=1)] = True
    some = targets.copy()
    some[np.arange(300), probs.argmax(axis=1)] = 1  # every image has a label: so has every answer
    for average in ("micro", "macro", "samples"):
        for truth, answer in ((targets, said), (some, forced)):
            expected = sklearn.metrics.f1_score(truth, answer, average=average, zero_division=0)
            assert score(f"f1_{average}", truth, probs) == pytest.approx(expected)


def test_a_label_that_never_occurs_has_no_part_in_the_auc():
    targets = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], np.float32)
    probs = np.array([[0.1, 0.5], [0.9, 0.5], [0.8, 0.1], [0.7, 0.2]])
    assert score("roc_auc", targets, probs) == pytest.approx(0.75)


def test_kappa_by_hand():
    """Cohen's kappa with squared distances: 1 - observed / expected disagreement."""
    targets = np.array([0, 1, 2, 2])
    probs = np.eye(3)[[0, 1, 1, 2]]  # one grade off in one of four
    observed = 1 / 4
    expected = sum(
        (i - j) ** 2 * np.mean(targets == i) * np.mean(probs.argmax(1) == j) for i in range(3) for j in range(3)
    )
    assert score("quadratic_weighted_kappa", targets, probs) == pytest.approx(1 - observed / expected)


def test_ranked_guesses_by_hand():
    probs = np.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])
    targets = np.array([0, 2, 3])
    assert score("map@2", targets, probs) == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert score("map@4", targets, probs) == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert score("top@2", targets, probs) == pytest.approx(2 / 3)


def test_numbers_by_hand():
    targets, said = np.array([[1.0], [3.0]]), np.array([[2.0], [6.0]])
    assert score("rmse", targets, said) == pytest.approx(np.sqrt(5))
    assert score("mae", targets, said) == pytest.approx(2)


def test_the_mean_of_labels_and_of_numbers():
    one, two = np.array([[0.9]]), np.array([[0.5]])
    odds = np.sqrt(9.0)
    assert mean_predictions([one, two], "logits", "labels")[0, 0] == pytest.approx(odds / (1 + odds))
    assert mean_predictions([np.array([[-3.0]]), np.array([[5.0]])], "logits", "number")[0, 0] == 1.0


def test_kappa_counts_grades_that_nobody_has():
    """Grades 0, 1 and 4 of 0..4: 4 for 1 is three off, not one."""
    targets, said = np.array([0, 1, 4, 4]), np.array([0, 4, 4, 4])
    expected = sklearn.metrics.cohen_kappa_score(targets, said, weights="quadratic", labels=range(5))
    assert score("quadratic_weighted_kappa", targets, np.eye(5)[said]) == pytest.approx(expected)


def test_clipped_probabilities_still_sum_to_one():
    probs = np.full((3, 250), 1e-7)
    probs[:, 0] = 1 - 249e-7
    handed_in = decide("log_loss", False, probs, {"clip": 1e-3})
    assert np.allclose(handed_in.sum(axis=1), 1)
    assert handed_in.min() > 5e-4


def test_groups_of_images_are_no_independent_evidence():
    """Ten copies of everything: the interval must be that of the originals, not a third of it."""
    generator = np.random.default_rng(0)
    targets = np.zeros(200, np.int64)
    decided = (generator.random(200) < 0.2).astype(np.int64)
    many, groups = np.tile(decided, 10), np.tile(np.arange(200), 10)
    alone = np.diff(_interval("accuracy", targets, decided))[0]
    assert np.diff(_interval("accuracy", np.tile(targets, 10), many, groups))[0] == pytest.approx(alone, rel=0.1)
    assert np.diff(_interval("accuracy", np.tile(targets, 10), many))[0] < 0.5 * alone
    kappa = _interval("f1_macro", np.tile(decided, 10), many, groups)
    assert kappa == (1.0, 1.0)


def test_a_metric_that_cannot_be_computed_is_no_verdict():
    targets = np.zeros(50, np.int64)
    probs = np.random.default_rng(0).dirichlet([1, 1, 1], 50)
    assert np.isnan(_difference("roc_auc", targets, probs, probs[::-1]).probability)
