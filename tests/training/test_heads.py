"""Heads on features against scikit-learn's, and an honest choice of their penalties."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from kit.tasks import Outputs
from kit.training.heads import Problem, fit_folds, fit_heads

X, Y = load_digits(return_X_y=True)
FEATURES = torch.tensor(X, dtype=torch.float32)
SCALED = (X - X.mean(axis=0)) / np.clip(X.std(axis=0, ddof=1), 1e-6, None)
HALF = np.random.default_rng(0).random(len(Y)) < 0.6


def test_classes_as_scikit_learns():
    rows = torch.from_numpy(np.stack([HALF, np.ones_like(HALF)], axis=1))
    heads = fit_heads(Problem(FEATURES, torch.tensor(Y), Outputs(10)), rows, torch.tensor([0.01, 0.001]))
    for place, (mask, penalty) in enumerate([(HALF, 0.01), (np.ones_like(HALF), 0.001)]):
        theirs = LogisticRegression(C=1 / (penalty * mask.sum()), max_iter=5000, tol=1e-8).fit(SCALED[mask], Y[mask])
        ours = (FEATURES @ heads.weight[place].T + heads.bias[place]).softmax(dim=1).numpy()
        assert np.abs(ours - theirs.predict_proba(SCALED)).max() < 0.005


def test_two_classes_as_scikit_learns():
    """They are fitted as one problem: the same probabilities, the same penalty."""
    rows = torch.ones(len(Y), 1, dtype=torch.bool)
    heads = fit_heads(Problem(FEATURES, torch.tensor(Y > 4).long(), Outputs(2)), rows, torch.tensor([0.003]))
    ours = (FEATURES @ heads.weight[0].T + heads.bias[0]).softmax(dim=1).numpy()
    # two weight vectors share scikit-learn's one: half the squared norm for the same difference
    theirs = LogisticRegression(C=2 / (0.003 * len(Y)), max_iter=5000, tol=1e-8).fit(SCALED, Y > 4)
    assert np.abs(ours - theirs.predict_proba(SCALED)).max() < 0.005


def test_labels_as_scikit_learns():
    marks = np.stack([Y % 2, Y > 4], axis=1).astype(np.float32)
    rows = torch.ones(len(Y), 1, dtype=torch.bool)
    heads = fit_heads(Problem(FEATURES, torch.tensor(marks), Outputs(2, "labels")), rows, torch.tensor([0.01]))
    ours = (FEATURES @ heads.weight[0].T + heads.bias[0]).sigmoid().numpy()
    for column in range(2):  # the mean over two labels halves each one's loss, so its penalty counts twice
        theirs = LogisticRegression(C=1 / (0.02 * len(Y)), max_iter=5000, tol=1e-8).fit(SCALED, marks[:, column])
        assert np.abs(ours[:, column] - theirs.predict_proba(SCALED)[:, 1]).max() < 0.005


def test_numbers_as_scikit_learns():
    features, values = load_diabetes(return_X_y=True)
    wanted = ((values - values.mean()) / values.std())[:, None]
    rows = torch.ones(len(values), 1, dtype=torch.bool)
    seen = torch.tensor(features, dtype=torch.float32)
    heads = fit_heads(Problem(seen, torch.tensor(wanted).float(), Outputs(1, "number")), rows, torch.tensor([0.1]))
    scaled = (features - features.mean(axis=0)) / features.std(axis=0, ddof=1)
    theirs = Ridge(alpha=0.1 * len(values)).fit(scaled, wanted)
    ours = (seen @ heads.weight[0].T + heads.bias[0]).numpy()
    assert np.abs(ours - theirs.predict(scaled).reshape(-1, 1)).max() < 0.005


@pytest.fixture(scope="module")
def folds() -> np.ndarray:
    return np.random.default_rng(1).permutation(np.arange(len(Y)) % 4)


def test_a_folds_head_never_saw_its_images(folds):
    """Neither their labels nor through the penalty: with fold 2's labels spoiled, fold 2's head stays the same."""
    penalties = (1e-4, 1e-2, 1.0)
    views = torch.stack([FEATURES, FEATURES + 0.1])
    honest = fit_folds(Problem(views, torch.tensor(Y), Outputs(10)), folds, penalties)
    spoiled = torch.tensor(np.where(folds == 2, (Y + 1) % 10, Y))
    other = fit_folds(Problem(views, spoiled, Outputs(10)), folds, penalties)
    assert torch.allclose(honest.weight[2], other.weight[2], atol=1e-6)
    assert honest.penalties[2] == other.penalties[2]
    assert not torch.allclose(honest.weight[0], other.weight[0], atol=1e-3)


def test_the_penalty_is_the_one_that_generalises(folds):
    """Noise for features wants a strong penalty, digits a weak one; one head of all images takes the pooled choice."""
    penalties = (1e-4, 1e-2, 3.0)
    noise = torch.randn(1, len(Y), 64, generator=torch.Generator().manual_seed(0))
    assert set(fit_folds(Problem(noise, torch.tensor(Y), Outputs(10)), folds, penalties).penalties) == {3.0}
    digits = fit_folds(Problem(FEATURES[None], torch.tensor(Y), Outputs(10)), folds, penalties, full=True)
    assert digits.penalties[0] < 3.0
    assert digits.weight.shape == (1, 10, 64)
    assert digits.paths.shape == (4, 3)
