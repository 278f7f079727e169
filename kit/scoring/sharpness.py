"""Averaging the logits of several models softens them: by how much to sharpen the mean, found without test labels.

With m the mean of the models' logits z_k on a test image, the log loss of r·m is logsumexp(r·m) - r·m_y: its labels
enter only through the mean of m_y, which is the mean over the models of z_k,y. Of single models that mean is known: a
calibrated one has E[z_y] = E[c(z)], c(z) = sum_j softmax(z)_j z_j, its expected own logit, and out-of-fold predictions
show what remains of z_y - c(z). So r solves: the mean over test images of c_r(m) = the mean over test images and models
of c(z_k), plus that remainder. Nothing is assumed of how the models err, only that they err on test as on their folds.

Logits are centred: of classes (..., C) with mean 0 in each row; of labels half the log odds. Of labels every quantity
is the mean over the columns, as log loss is."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from kit.scoring.blend import from_logits, to_logits
from kit.scoring.bootstrap import DRAWS, Unseen, new_sets, standard_error
from kit.scoring.truth import Truth
from kit.tasks import Task

FEWEST = 200  # test images, below which nothing is sharpened
SHIFT = 3.0  # standard errors between confidence on OOF and on test
SURPLUS = 1.3  # of what the models' spread explains


@dataclass(frozen=True)
class Mean:
    """`predictions` (N, C): of the mean model. `sharpness`: what its logits were multiplied by; `why`: why that is 1,
    else empty. `losses`: draws of its log loss on the test images; empty where it cannot be known. `shifted`: the test
    images are unlike those that the models were judged on."""

    predictions: np.ndarray
    sharpness: float = 1.0
    why: str = ""
    losses: np.ndarray = field(default_factory=lambda: np.empty(0))
    shifted: bool = False


def centred(predictions: np.ndarray, task: Task) -> np.ndarray:
    logits = to_logits(predictions, task)
    return logits / 2 if task == "labels" else logits - logits.mean(axis=-1, keepdims=True)


def own(logits: np.ndarray, task: Task, r: float = 1.0) -> np.ndarray:
    """c_r: (..., C) -> (...), the logit expected by the probabilities that the logits times `r` stand for."""
    if task == "labels":
        return (logits * np.tanh(r * logits)).mean(axis=-1)
    return (softmax(r * logits, axis=-1) * logits).sum(axis=-1)


def of_target(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N, C), targets (N,) or 0/1 (N, C) -> (N,): the right answer's logit."""
    if targets.ndim == 2:
        return ((2 * targets - 1) * logits).mean(axis=1)
    return logits[np.arange(len(targets)), targets]


def log_partition(logits: np.ndarray, task: Task) -> np.ndarray:
    if task == "labels":
        return np.logaddexp(logits, -logits).mean(axis=-1)
    return logsumexp(logits, axis=-1)


@dataclass(frozen=True)
class Evidence:
    """Centred logits, calibrated: `logits` (N, C), OOF, of one model per image; `models` (K, M, C): of each model on
    the test images."""

    truth: Truth
    logits: np.ndarray
    models: np.ndarray
    task: Task
    test: Unseen

    @cached_property
    def mean(self) -> np.ndarray:
        return self.models.mean(axis=0)

    @cached_property
    def remainders(self) -> np.ndarray:
        """z_y - c(z) of the OOF rows: 0 on average where the models are calibrated."""
        return of_target(self.logits, self.truth.targets) - own(self.logits, self.task)

    @cached_property
    def bound(self) -> float:
        """The sharpness that the models' spread on one image explains, judging by the spread within the classes; `inf`
        where it explains any."""
        count = len(self.models)
        within = _within(self.logits, self.truth.targets)
        between = float(self.models.var(axis=0, ddof=1).sum(axis=-1).mean())
        left = within - between * (1 - 1 / count)
        return within / left if left > 0 else float("inf")

    @cached_property
    def is_shifted(self) -> bool:
        """Are the models surer, or less sure, of the test images than of their folds' own, beyond chance?"""
        ours, theirs = own(self.logits, self.task), own(self.models, self.task).mean(axis=0)
        error = np.hypot(standard_error(ours, self.truth.codes), standard_error(theirs, self.test.codes))
        return bool(abs(ours.mean() - theirs.mean()) > SHIFT * error)


def sharpness(evidence: Evidence) -> tuple[float, str]:
    """(r, why it is 1, else empty)"""
    count, images = evidence.models.shape[:2]
    if images < FEWEST:
        return 1.0, f"fewer than {FEWEST} test images"
    if evidence.is_shifted:
        return 1.0, "the models are not as sure of the test images as of their folds' own: a shift"
    bound, remainders = evidence.bound, evidence.remainders
    if bound > count:
        return 1.0, "the models differ too much to tell"
    wanted = own(evidence.models, evidence.task).mean() + remainders.mean()
    if _root(evidence, wanted, min(count, SURPLUS * bound)) >= min(count, SURPLUS * bound):
        return 1.0, "more is missing than the models' spread explains"
    most = min(float(count), bound)
    found = _root(evidence, wanted - standard_error(remainders, evidence.truth.codes), most)
    return found, "" if found > 1 else "averaging softened nothing"


def mean_of_models(evidence: Evidence) -> Mean:
    """The mean of the models' logits, sharpened."""
    found, why = sharpness(evidence)
    factor = 2 if evidence.task == "labels" else 1
    predictions = from_logits(found * factor * evidence.mean, evidence.task)
    losses = np.empty(0) if evidence.is_shifted else _losses(evidence, found)
    return Mean(predictions, found, why, losses, evidence.is_shifted)


def _root(evidence: Evidence, wanted: float, most: float) -> float:
    """The r in 1..most at which the mean model expects `wanted` of itself; the nearer end where none does."""

    def missing(r: float) -> float:
        return float(own(evidence.mean, evidence.task, r).mean() - wanted)

    if most <= 1 or missing(1.0) >= 0:
        return 1.0
    return most if missing(most) <= 0 else float(brentq(missing, 1.0, most, xtol=1e-4))


def _within(logits: np.ndarray, targets: np.ndarray) -> float:
    """The variance of the logits within the classes, summed over outputs."""
    answers = targets if targets.ndim == 2 else targets[:, None]
    total = 0.0
    for column in range(answers.shape[1]):
        values = logits[:, [column]] if targets.ndim == 2 else logits
        kinds, codes = np.unique(answers[:, column], return_inverse=True)
        means = np.stack([values[codes == code].mean(axis=0) for code in range(len(kinds))])
        total += float(((values - means[codes]) ** 2).sum() / max(len(values) - len(kinds), 1))
    return total


def _losses(evidence: Evidence, r: float) -> np.ndarray:
    """Draws of the log loss on the test images. Their labels are unknown, so each draw takes remainders from the OOF
    rows, after drawing those."""
    remainders = evidence.remainders
    known = log_partition(r * evidence.mean, evidence.task).mean() - r * own(evidence.models, evidence.task).mean()
    sets = new_sets(evidence.truth, evidence.test, DRAWS)
    return np.array([known - r * float(counts @ remainders) / counts.sum() for counts in sets])
