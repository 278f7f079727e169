"""Postprocessing: the planted optimum is found, what needs nothing is left alone, and the CV never gets worse by it."""

import numpy as np
import pytest
from by_name import decide, decide_for, fit, measure, score

from kit.metrics import find_metric
from kit.metrics.log_loss import CLIPS
from kit.scoring.postprocess import fit_postprocess
from kit.scoring.truth import Truth


def _calibrated(count: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets drawn from the very probabilities that are predicted."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, (count, num_classes))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (probs.cumsum(axis=1) > generator.random((count, 1))).argmax(axis=1)
    return targets, probs


def _sharpened(probs: np.ndarray, power: float) -> np.ndarray:
    return probs**power / (probs**power).sum(axis=1, keepdims=True)


FOLDS = np.arange(4000) % 5


def _fitted(metric, targets, predictions, folds, plain):
    return fit_postprocess(Truth(find_metric(metric), targets, folds=folds), predictions, plain)


def test_overconfidence_is_tempered_by_what_was_planted():
    targets, probs = _calibrated(4000, 3)
    post = _fitted("log_loss", targets, _sharpened(probs, 2.5), FOLDS, {"clip": 1e-4})
    assert post.kept
    assert post.params["temperature"] == pytest.approx(2.5, rel=0.08)
    assert post.after == pytest.approx(score("log_loss", targets, probs), abs=0.003), "as good as the truth"
    assert post.after < post.before


def test_underconfidence_is_sharpened_by_what_was_planted():
    """What mixup, CutMix and label smoothing do to a network's probabilities."""
    targets, probs = _calibrated(4000, 3)
    post = _fitted("log_loss", targets, _sharpened(probs, 0.5), FOLDS, {"clip": 1e-4})
    assert post.kept
    assert post.params["temperature"] == pytest.approx(0.5, rel=0.08)
    assert post.after == pytest.approx(score("log_loss", targets, probs), abs=0.003)


def test_a_planted_bias_is_taken_back():
    """Classes said too often by a factor: the bias is its logarithm (the first class' is 0)."""
    targets, probs = _calibrated(4000, 3)
    skewed = probs * np.array([1.0, 3.0, 0.5])
    post = _fitted("log_loss", targets, skewed / skewed.sum(axis=1, keepdims=True), FOLDS, {"clip": 1e-4})
    assert post.kept
    assert post.params["bias"] == pytest.approx([0.0, -np.log(3), -np.log(0.5)], abs=0.12)
    assert post.after == pytest.approx(score("log_loss", targets, probs), abs=0.003)


def test_the_clip_hedges_against_labels_that_are_wrong():
    """Perfectly sure, and wrong about one image in two hundred: the best clip is near that share."""
    targets = np.arange(4000) % 2
    wrong = np.random.default_rng(0).permutation(4000)[:20]
    probs = np.where(np.eye(2)[targets] > 0, 1 - 1e-6, 1e-6)
    probs[wrong] = probs[wrong][:, ::-1]
    values = {clip: score("log_loss", targets, probs, {"clip": clip}) for clip in CLIPS}
    assert min(values, key=values.get) == 3e-3
    post = _fitted("log_loss", targets, probs, FOLDS, {"clip": 1e-4})
    assert post.kept
    assert post.after < 1.1 * -(0.995 * np.log(0.995) + 0.005 * np.log(0.005)), "near the entropy of such labels"


def test_a_clip_that_is_given_stays():
    """A hedge against wrong labels on the other side is not for OOF to undo."""
    targets, probs = _calibrated(4000, 2)
    given = _fitted("log_loss", targets, _sharpened(probs, 2.5), FOLDS, {"clip": 0.01, "clips": (0.01,)})
    assert given.kept
    assert given.params["clip"] == 0.01
    assert given.decisions.min() >= 0.0099


def test_labels_have_a_temperature_too():
    generator = np.random.default_rng(1)
    probs = generator.uniform(0.05, 0.95, (4000, 4))
    targets = (generator.random((4000, 4)) < probs).astype(np.float32)
    odds = (probs / (1 - probs)) ** 2
    post = _fitted("log_loss", targets, odds / (1 + odds), FOLDS, {"clip": 1e-4})
    assert post.kept
    assert post.params["temperature"] == pytest.approx(2.0, rel=0.08)


@pytest.mark.parametrize("seed", range(3))
def test_calibrated_predictions_stay_as_they_are(seed):
    targets, probs = _calibrated(4000, 3, seed)
    post = _fitted("log_loss", targets, probs, FOLDS, {"clip": 1e-4})
    assert abs(post.after - post.before) < 0.0015
    assert post.params.get("temperature", 1.0) == pytest.approx(1.0, abs=0.05)


def test_cut_points_reach_the_planted_ones():
    """The network's mean class is a squeezed grade: the right cuts are not at the halves."""
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 5, 4000)
    means = (0.5 * targets + 0.4 + generator.normal(0, 0.1, 4000)).clip(0, 4)
    low = np.floor(means).astype(int).clip(0, 3)
    probs = np.zeros((4000, 5))
    probs[np.arange(4000), low] = 1 - (means - low)
    probs[np.arange(4000), low + 1] = means - low
    post = _fitted("quadratic_weighted_kappa", targets, probs, FOLDS, {})
    assert post.before < 0.7
    assert post.kept
    assert post.after > 0.98
    assert post.params["cuts"] == pytest.approx([0.65, 1.15, 1.65, 2.15], abs=0.06)


def test_noise_gives_no_cut_points():
    generator = np.random.default_rng(3)
    targets, probs = generator.integers(0, 4, 400), generator.dirichlet([1] * 4, 400)
    post = _fitted("quadratic_weighted_kappa", targets, probs, FOLDS[:400], {})
    assert not post.kept
    assert np.array_equal(post.decisions, decide("quadratic_weighted_kappa", False, probs))


@pytest.mark.parametrize("metric", ["f1_macro", "f1_weighted", "f1_micro", "f1_samples"])
def test_thresholds_follow_the_scale_of_the_predictions(metric):
    generator = np.random.default_rng(0)
    targets = (generator.random((4000, 3)) < [0.3, 0.2, 0.4]).astype(np.float32)
    targets[targets.sum(axis=1) == 0, 0] = 1
    probs = np.clip(0.1 + 0.15 * targets + generator.normal(0, 0.03, (4000, 3)), 0.001, 0.999)  # all below a half
    post = _fitted(metric, targets, probs, FOLDS, {})
    assert post.kept
    assert post.after > max(0.95, post.before + 0.02)
    assert np.max(post.params["thresholds"]) < 0.25


def test_f1_thresholds_equal_brute_force():
    generator = np.random.default_rng(5)
    targets = (generator.random((200, 2)) < 0.4).astype(np.float32)
    targets[:, 1] = 1 - targets[:, 0]  # every image has a label, so no empty set is filled up
    probs = np.clip(targets * 0.2 + generator.random((200, 2)) * 0.6, 0, 1)
    found = fit("f1_macro", targets, probs, {})["thresholds"]
    for column in range(2):

        def f1(threshold, column=column):
            said = probs[:, column] >= threshold
            return 2 * (said & (targets[:, column] > 0)).sum() / (said.sum() + targets[:, column].sum())

        assert f1(found[column]) == pytest.approx(max(f1(t) for t in np.unique(probs[:, column])))


def test_the_unknown_class_gets_its_threshold():
    """A third of the images show none of the known: there the network is unsure, below 0.4."""
    generator = np.random.default_rng(0)
    count, known = 3000, 6
    targets = np.where(generator.random(count) < 1 / 3, 0, generator.integers(1, known, count))
    probs = np.full((count, known), 0.02)
    sure = np.where(targets == 0, generator.uniform(0.1, 0.38, count), generator.uniform(0.42, 0.9, count))
    shown = np.where(targets == 0, generator.integers(1, known, count), targets)
    probs[np.arange(count), shown] = sure
    post = _fitted("map@5", targets, probs, FOLDS[:count], {"new_class": 0})
    assert post.kept
    assert 0.38 <= post.params["threshold"] <= 0.43
    assert post.after > 0.99 > post.before
    assert (decide("map@5", False, probs, post.params)[targets == 0, 0] == 0).all()


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "top@2"])
def test_some_metrics_need_nothing(metric):
    targets, probs = _calibrated(400, 3)
    post = _fitted(metric, targets, probs, FOLDS[:400], {"clip": 1e-4})
    assert not post.kept
    assert post.after is None


def test_each_fold_is_judged_by_the_others():
    """One fold is predicted upside down: fitted on itself it would look good, cross-fitted it must not."""
    targets, probs = _calibrated(400, 2)
    folds = np.arange(400) % 2
    flat = np.where((folds == 0)[:, None], _sharpened(probs, 4.0), probs)
    post = _fitted("log_loss", targets, flat, folds, {"clip": 1e-6})
    first = fit("log_loss", targets[folds == 1], flat[folds == 1], {})
    own = decide("log_loss", False, flat[folds == 0], first)
    other = decide("log_loss", False, flat[folds == 1], fit("log_loss", targets[folds == 0], flat[folds == 0], {}))
    expected = np.mean([measure("log_loss", targets[folds == 0], own), measure("log_loss", targets[folds == 1], other)])
    assert post.after == pytest.approx(expected)


def test_equal_predictions_are_not_torn_apart():
    """Two of three images share a probability: no threshold can tell them apart."""
    targets, probs = np.array([[1.0], [0.0], [1.0]], np.float32), np.array([[0.5], [0.5], [0.2]])
    threshold = fit("f1_macro", targets, probs, {"at_least_one": False})["thresholds"][0]
    said = probs[:, 0] >= threshold
    assert 2 * (said & (targets[:, 0] > 0)).sum() / (said.sum() + 2) == pytest.approx(0.8)


def test_images_without_a_label_may_stay_without():
    targets = np.zeros((200, 2), np.float32)
    targets[:100, 0] = 1
    probs = np.where(targets > 0, 0.9, 0.1)
    post = _fitted("f1_macro", targets, probs, FOLDS[:200], {})
    assert not post.decisions[100:].any()
    assert score("f1_macro", targets[:, :1], probs[:, :1]) == 1.0, "nor is one forced on them where nothing is fitted"
    assert decide_for("f1_macro", targets[:100], 1 - probs[:100])[:, 1].all(), "where all have one, nobody goes without"
