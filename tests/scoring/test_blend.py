"""Blends: a planted optimum is found, noise is not rewarded, and the CV of a blend is of weights that never saw it."""

from dataclasses import replace

import numpy as np
import pytest
from by_name import score

from kit.metrics import LOG_LOSS, ROC_AUC, find_metric
from kit.scoring.blend import METHODS, Known, blend, fit_recipe, from_logits, mean_predictions, nested, to_logits
from kit.scoring.truth import Truth

COUNT = 3000
FOLDS = np.arange(COUNT) % 5
GENERATOR = np.random.default_rng(0)
TRUTH = GENERATOR.normal(0, 2.0, (COUNT, 1)) * np.array([[1.0, -1.0]])
TARGETS = (from_logits(TRUTH, "classes").cumsum(axis=1) > GENERATOR.random((COUNT, 1))).argmax(axis=1)


KNOWN = Known(Truth(LOG_LOSS, TARGETS, folds=FOLDS), "classes")


def _seen_through(noise: float, seed: int) -> np.ndarray:
    """The truth's logits with noise of their own."""
    own = np.random.default_rng(seed).normal(0, noise, (COUNT, 1)) * np.array([[1.0, -1.0]])
    return from_logits((TRUTH + own) / (1 + noise**2 / 4), "classes")


@pytest.mark.parametrize("average", ["probs", "logits"])
def test_hill_climbing_finds_a_planted_optimum(average):
    """Two members hold half of the truth each, in a ratio of 3 to 1; three know nothing."""
    half = np.random.default_rng(1).normal(0, 2.0, TRUTH.shape) * np.array([[1.0, 1.0]])
    one, other = from_logits(TRUTH + half, "classes"), from_logits(TRUTH - 3 * half, "classes")
    members = [one, other, *(np.full((COUNT, 2), 0.5) for _ in range(3))]
    weights = fit_recipe("hill", replace(KNOWN, average=average), members).weights
    if average == "logits":  # 3/4 of the first and 1/4 of the second are the truth
        assert weights[0] / (weights[0] + weights[1]) == pytest.approx(0.75, abs=0.04)
        assert sum(weights[2:]) < 0.15
    assert sum(weights) == pytest.approx(1)
    best = min(score("log_loss", TARGETS, member) for member in members)
    assert score("log_loss", TARGETS, mean_predictions(members, average, weights=weights)) <= best


def test_weights_and_stack_find_it_too():
    half = np.random.default_rng(1).normal(0, 2.0, TRUTH.shape)
    members = [from_logits(TRUTH + half, "classes"), from_logits(TRUTH - 3 * half, "classes")]
    known = replace(KNOWN, average="logits")
    assert fit_recipe("weights", known, members).weights[0] == pytest.approx(0.75, abs=0.05)
    recipe = fit_recipe("stack", known, members)
    assert recipe.weights == pytest.approx((0.75, 0.25), abs=0.06)
    assert score("log_loss", TARGETS, recipe.apply(members, "classes")) < score(
        "log_loss", TARGETS, mean_predictions(members, "logits")
    )


@pytest.mark.parametrize("method", ["hill", "weights", "auto"])
def test_noise_members_do_not_improve_the_nested_score(method):
    good = [_seen_through(0.7, 1), _seen_through(0.7, 2)]
    noise = [from_logits(np.random.default_rng(k).normal(0, 1, (COUNT, 2)), "classes") for k in range(4)]
    alone = blend(method, KNOWN, good)
    crowded = blend(method, KNOWN, good + noise)
    with_noise, without = (score("log_loss", TARGETS, one.oof) for one in (crowded, alone))
    assert with_noise >= without - 5e-4
    assert np.abs(crowded.recipe.weights[2:]).max() < 0.06


def test_the_nested_score_does_not_see_its_own_fold():
    """With fold 2's targets spoiled, the blend of fold 2's images stays what it was."""
    members = [_seen_through(noise, k) for k, noise in enumerate((0.5, 1.0, 2.0))]
    spoiled = np.where(FOLDS == 2, 1 - TARGETS, TARGETS)
    for method in (*METHODS, "auto"):
        honest = blend(method, KNOWN, members).oof
        other = blend(method, replace(KNOWN, truth=replace(KNOWN.truth, targets=spoiled)), members).oof
        assert np.allclose(honest[FOLDS == 2], other[FOLDS == 2])
    assert not np.allclose(
        nested("stack", KNOWN, members),
        nested("stack", replace(KNOWN, truth=replace(KNOWN.truth, targets=spoiled)), members),
    )


def test_complementary_members_blend_and_twins_stay_plain():
    members = [_seen_through(1.0, 1), _seen_through(1.0, 2)]
    found = blend("auto", KNOWN, members)
    assert score("log_loss", TARGETS, found.oof) < min(score("log_loss", TARGETS, one) for one in members)
    assert found.recipe.method != "best"
    assert blend("auto", KNOWN, [from_logits(TRUTH, "classes")] * 2).recipe.method == "best"


def test_no_method_wins_by_a_temperature_alone():
    """What is handed in is tempered anyway, so an overconfident member needs no stack to be put right."""
    sure = from_logits(3 * to_logits(_seen_through(0.7, 1), "classes"), "classes")
    noise = from_logits(np.random.default_rng(9).normal(0, 1, (COUNT, 2)), "classes")
    assert blend("auto", KNOWN, [sure, noise]).recipe.method == "best"
    raw = blend("auto", replace(KNOWN, calibrated=False), [sure, noise])
    assert raw.recipe.method == "stack", "without postprocessing that is what a stack is for"


def test_the_best_member_is_the_one_that_is_best_once_calibrated():
    """Mixup leaves a network underconfident: its raw log loss is high, and one temperature puts it right."""
    shy = from_logits(0.25 * to_logits(_seen_through(0.5, 1), "classes"), "classes")
    plain = _seen_through(1.0, 2)
    assert score("log_loss", TARGETS, shy) > score("log_loss", TARGETS, plain)
    assert fit_recipe("best", KNOWN, [plain, shy]).weights == (0, 1)
    assert fit_recipe("best", replace(KNOWN, calibrated=False), [plain, shy]).weights == (1, 0)


def test_a_blend_near_perfection_is_still_worth_having():
    """ROC AUC of 0.999 and more: what is left to gain counts, not the score."""
    far = np.where(TARGETS == 1, 1.0, -1.0)[:, None] * np.array([[-1.0, 1.0]])
    noises = [np.random.default_rng(seed).normal(0, 0.62, (COUNT, 1)) for seed in (1, 2)]
    members = [from_logits(far + noise * np.array([[-1.0, 1.0]]), "classes") for noise in noises]
    scores = [score("roc_auc", TARGETS, one) for one in members]
    found = blend("auto", replace(KNOWN, truth=KNOWN.truth.by(ROC_AUC)), members)
    assert min(scores) > 0.98
    assert 1 - score("roc_auc", TARGETS, found.oof) < 0.5 * (1 - max(scores))
    assert found.recipe.method != "best"


@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_every_task_and_metric(method):
    generator = np.random.default_rng(3)
    values = generator.normal(0, 1, (300, 1))
    numbers = [values + generator.normal(0, noise, (300, 1)) for noise in (0.3, 0.5)]
    marks = (generator.random((300, 4)) < 0.4).astype(np.float32)
    labels = [np.clip(marks * 0.6 + generator.uniform(0, 0.4, (300, 4)), 0, 1) for _ in range(2)]
    folds = np.arange(300) % 3
    for metric, truth, members, task in (
        ("rmse", values, numbers, "number"),
        ("roc_auc", marks, labels, "labels"),
        ("f1_macro", marks, labels, "labels"),
        ("accuracy", TARGETS[:300], [_seen_through(0.5, 1)[:300], _seen_through(1.5, 2)[:300]], "classes"),
    ):
        found = blend(method, Known(Truth(find_metric(metric), truth, folds=folds), task), members)
        assert found.oof.shape == members[0].shape
        assert np.isfinite(found.oof).all()
        assert found.recipe.apply(members, task).shape == members[0].shape


def test_logits_and_back():
    probs = from_logits(TRUTH, "classes")
    assert np.allclose(from_logits(to_logits(probs, "classes"), "classes"), probs)
    assert np.allclose(from_logits(to_logits(probs, "labels"), "labels"), probs)


@pytest.mark.parametrize("method", [*METHODS, "auto"])
def test_a_metric_that_cannot_be_computed_leaves_the_members_alike(method):
    """ROC AUC of three classes of which one is in no image."""
    generator = np.random.default_rng(5)
    members = [generator.dirichlet(np.ones(3), 90) for _ in range(3)]
    targets, folds = np.arange(90) % 2, np.arange(90) % 3
    found = blend(method, Known(Truth(ROC_AUC, targets, folds=folds), "classes"), members)
    assert np.isfinite(found.oof).all()
    assert np.isfinite(found.recipe.weights).all()
