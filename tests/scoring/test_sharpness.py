"""The mean of several models: calibrated, averaged, sharpened without test labels. Planted models, known labels."""

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from kit.metrics import LOG_LOSS, find_metric
from kit.run.hand_in import HandIn, Scored
from kit.run.mean import expected_draws, make_mean
from kit.scoring.blend import from_logits, mean_predictions, to_logits
from kit.scoring.bootstrap import Unseen
from kit.scoring.sharpness import Evidence, centred, sharpness
from kit.scoring.truth import Truth
from kit.settings import Ensemble

TRAIN, TEST = 3000, 4000


@dataclass(frozen=True)
class World:
    """OOF (N, C) of one model per image, each model's predictions (K, M, C) of the test images, and both's targets."""

    oof: np.ndarray
    models: np.ndarray
    targets: np.ndarray
    truth: np.ndarray


@cache
def _world(
    classes: int, models: int, shared: float, seed: int = 2, shares: tuple[float, ...] = (), bad: int = -1,
    shift: float = 1.0, over: float = 1.8,
) -> World:  # fmt: skip
    """Models that are too sure of themselves (`over`), with errors of which a part is `shared` between them; `bad`: one
    that errs three times as much; `shift`: how much more they err on the test images."""
    generator, count = np.random.default_rng(seed), TRAIN + TEST
    prior = np.array(shares or (1 / classes,) * classes)
    targets = generator.choice(classes, count, p=prior)
    seen = generator.normal(size=(count, classes))
    seen[np.arange(count), targets] += 1.5
    right, common = 1.5 * seen + np.log(prior), generator.normal(size=(count, classes))

    def says(model: int, rows: np.ndarray, more: float = 1.0) -> np.ndarray:
        own = generator.normal(size=(len(rows), classes))
        error = np.sqrt(shared) * common[rows] + np.sqrt(1 - shared) * own
        return softmax(over * (right[rows] + 1.5 * more * (3 if model == bad else 1) * error), axis=1)

    oof, folds = np.empty((TRAIN, classes)), np.arange(TRAIN) % models
    for model in range(models):
        oof[folds == model] = says(model, np.flatnonzero(folds == model))
    test = np.stack([says(model, np.arange(TRAIN, count), shift) for model in range(models)])
    return World(oof, test, targets[:TRAIN], targets[TRAIN:])


def _hand_in(metric=LOG_LOSS, task="classes", **settings) -> HandIn:
    competition = SimpleNamespace(scoring=metric, task=task, submission=SimpleNamespace(new_class=None), classes=())
    return HandIn(competition, Ensemble(**settings), {})


def _handed_in(world: World, hand_in: HandIn, folds: int):
    """(the mean, what is submitted, draws of the expected score)"""
    metric, task = hand_in.competition.scoring, hand_in.competition.task
    truth = Truth(metric, world.targets, folds=np.arange(TRAIN) % folds)
    scored = Scored(pd.DataFrame(), truth, world.oof, hand_in.postprocess(truth, world.oof))
    unseen, models = Unseen.singly(TEST), list(world.models)
    mean, params = make_mean(models, mean_predictions(models, "probs", task), scored, hand_in, unseen)
    return mean, metric.decide(mean.predictions, task == "labels", params), expected_draws(scored, mean, unseen)


def _calibrated_after(world: World) -> np.ndarray:
    """Temperature and bias of single models on their mean, which averaging had softened already."""
    fitted = LOG_LOSS.fit(world.targets, world.oof, {})
    return LOG_LOSS.decide(mean_predictions(list(world.models), "probs", "classes"), False, fitted)


def _best_slope(world: World, mean) -> float:
    logits = to_logits(mean.predictions, "classes") / mean.sharpness
    slopes = np.geomspace(0.5, 4, 40)
    return min(LOG_LOSS.score(world.truth, from_logits(slope * logits, "classes")) for slope in slopes)


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0], ids=["independent", "half shared", "shared"])
@pytest.mark.parametrize("models", [2, 5, 10])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_hand_in_is_as_sharp_as_the_labels_would_have_it(classes, models, shared):
    world = _world(classes, models, shared)
    mean, handed, draws = _handed_in(world, _hand_in(), models)
    unsharpened = from_logits(to_logits(mean.predictions, "classes") / mean.sharpness, "classes")
    loss = LOG_LOSS.score(world.truth, handed)
    assert loss <= LOG_LOSS.score(world.truth, unsharpened) + 0.001, "never worse than r = 1"
    assert loss <= _best_slope(world, mean) + (0.005 if shared else 0.01)
    low, high = np.percentile(draws, [1, 99])
    assert low <= loss <= high, "the expected log loss is the hand-in's"
    if shared == 1.0:
        assert mean.sharpness == 1.0
        assert mean.why == "averaging softened nothing"
    else:
        assert mean.sharpness > 1.05 or models == 2
        assert loss < LOG_LOSS.score(world.truth, _calibrated_after(world)) - 0.005, "as the mean was once calibrated"


def test_the_expected_loss_holds_at_its_rate():
    within = 0
    for seed in range(16):
        world = _world.__wrapped__(2, 5, 0.5, seed)
        _, handed, draws = _handed_in(world, _hand_in(), 5)
        low, high = np.percentile(draws, [10, 90])
        within += low <= LOG_LOSS.score(world.truth, handed) <= high
    assert within >= 8, "of 80 % of 16, fewer than 8 are one case in a hundred"


def test_single_models_oof_does_not_say_what_their_mean_loses():
    """What was expected once: the CV of single models, which the mean betters by far."""
    world = _world(2, 5, 0.0)
    _, _, draws = _handed_in(world, _hand_in(), 5)
    fitted = LOG_LOSS.fit(world.targets, world.oof, {})
    single = LOG_LOSS.score(world.targets, world.oof, fitted)
    assert np.percentile(draws, 99) < single


ODD = {
    "bad fold": {"bad": 2},
    "1:20": {"shares": (20 / 21, 1 / 21)},
    "calibrated": {"over": 0.5},
    "unsure": {"over": 0.2},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_odd_models_are_not_made_worse(odd):
    world = _world(2, 5, 0.5, **odd)
    mean, handed, draws = _handed_in(world, _hand_in(), 5)
    unsharpened = from_logits(to_logits(mean.predictions, "classes") / mean.sharpness, "classes")
    loss = LOG_LOSS.score(world.truth, handed)
    assert loss <= LOG_LOSS.score(world.truth, unsharpened) + 0.001
    assert np.percentile(draws, 0.5) <= loss <= np.percentile(draws, 99.5)


def test_a_shifted_test_set_is_seen_and_nothing_is_expected_of_it():
    world = _world(2, 5, 0.5, shift=2.0)
    mean, _, _ = _handed_in(world, _hand_in(), 5)
    assert (mean.sharpness, mean.shifted, len(mean.losses)) == (1.0, True, 0)
    assert "a shift" in mean.why


def test_patients_are_no_shift():
    """Fifty pictures of each patient: few independent ones, whose confidence differs from set to set."""
    seen = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        codes = np.repeat(np.arange(140), 50)
        logits = np.repeat(generator.normal(0, 3, 140), 50) + generator.normal(0, 0.3, len(codes))
        both = np.stack([-logits, logits], axis=1) / 2
        known = codes < 100
        truth = Truth(LOG_LOSS, (logits[known] > 0).astype(int), codes[known])
        models = np.stack([both[~known]] * 2)
        seen += Evidence(truth, both[known], models, "classes", Unseen(codes[~known] - 100)).is_shifted
    assert seen <= 1


def test_what_is_written_out_is_kept():
    world = _world(2, 5, 0.5)
    mean, _, _ = _handed_in(world, _hand_in(average="probs"), 5)
    fitted = LOG_LOSS.fit(world.targets, world.oof, {})
    calibration = {key: fitted[key] for key in ("temperature", "bias")}
    calibrated = [LOG_LOSS.decide(one, False, calibration) for one in world.models]
    assert np.allclose(mean.predictions, np.mean(calibrated, axis=0), atol=1e-3)
    assert (mean.sharpness, mean.why) == (1.0, "ensemble.average: probs")
    assert _handed_in(world, _hand_in(average="logits"), 5)[0].sharpness > 1
    plain, _, _ = _handed_in(world, _hand_in(postprocess="none"), 5)
    assert (plain.sharpness, plain.why) == (1.0, "ensemble.postprocess: none")
    assert np.allclose(plain.predictions, mean_predictions(list(world.models), "probs", "classes"))


def test_few_images_and_models_that_differ_too_much_are_left_alone():
    world = _world(2, 5, 0.5)
    truth, few = Truth(LOG_LOSS, world.targets), np.arange(150)
    oof, models = centred(world.oof, "classes"), centred(world.models, "classes")
    evidence = Evidence(truth, oof, models[:, few], "classes", Unseen.singly(150))
    assert sharpness(evidence) == (1.0, "fewer than 200 test images")
    noise = np.random.default_rng(1).normal(0, 20, models.shape)
    apart = Evidence(truth, oof, models + noise - noise.mean(axis=2, keepdims=True), "classes", Unseen.singly(TEST))
    assert sharpness(apart)[0] == 1.0


def test_label_sets_are_sharpened_too():
    """Three labels an image, each a world of two classes."""
    worlds = [_world(2, 5, 0.5, seed) for seed in (4, 5, 6)]
    oof, models = (np.stack([getattr(one, key)[..., 1] for one in worlds], axis=-1) for key in ("oof", "models"))
    targets, truth = (np.stack([getattr(one, key) for one in worlds], axis=-1) for key in ("targets", "truth"))
    mean, handed, draws = _handed_in(World(oof, models, targets, truth), _hand_in(task="labels"), 5)
    unsharpened = from_logits(to_logits(mean.predictions, "labels") / mean.sharpness, "labels")
    loss = LOG_LOSS.score(truth, handed)
    assert mean.sharpness > 1.03
    assert loss < LOG_LOSS.score(truth, unsharpened)
    assert np.percentile(draws, 1) <= loss <= np.percentile(draws, 99)


@pytest.mark.parametrize("name", ["quadratic_weighted_kappa", "f1_macro", "map@5"])
def test_cuts_fitted_on_single_models_move_to_the_means_scale(name):
    """The mean of models that err on their own is less extreme than each of them."""
    generator, metric = np.random.default_rng(0), find_metric(name)
    task = {"quadratic_weighted_kappa": "ordinal", "f1_macro": "labels", "map@5": "classes"}[name]
    true = generator.integers(0, 5, TRAIN + TEST)
    signal = np.abs(np.arange(5) - true[:, None]) * -0.7
    noisy = softmax(signal + 2.5 * generator.normal(size=(6, *signal.shape)), axis=-1)
    probs = noisy[0, :TRAIN], noisy[1:, TRAIN:]
    targets = (np.arange(5) == true[:, None]).astype(int) if task == "labels" else true
    params = metric.fit(targets[:TRAIN], probs[0], {"new_class": 4, "images": TRAIN})
    mean = probs[1].mean(axis=0)
    moved = metric.moved(params, probs[1], mean)
    plain, better = (metric.score(targets[TRAIN:], mean, one) for one in (params, moved))
    assert better > plain, (plain, better)
    decided = [np.asarray(metric.decide(one, task == "labels", params)) for one in probs[1]]
    handed = np.asarray(metric.decide(mean, task == "labels", moved))
    if name == "quadratic_weighted_kappa":
        shares = [np.bincount(one.ravel(), minlength=5) / one.size for one in (np.concatenate(decided), handed)]
        assert np.allclose(*shares, atol=0.002), "the shares of the grades are the single models'"
