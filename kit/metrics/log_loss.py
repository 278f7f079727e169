"""Log loss, in nats: of classes, or the mean over labels. Fitted for it: a temperature, a bias for each class, a clip.

The temperature divides the logits (Guo et al. 2017, https://arxiv.org/abs/1706.04599)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.metrics.metric import EPSILON, Metric, Params, mean_of, weights_of
from kit.tasks import Format, Task

CLIP = 1e-4  # where nothing is fitted
CLIPS = (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2)
IMAGES_PER_BIAS = 500


def _per_image(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    sure = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
    if targets.ndim == 2:  # mean over the labels
        return -(targets * np.log(sure) + (1 - targets) * np.log(1 - sure)).mean(axis=1)
    return -np.log(sure[np.arange(len(targets)), targets] / sure.sum(axis=1))


def _calibrated(probs: np.ndarray, labels: bool, params: Mapping[str, Any]) -> np.ndarray:
    """Logits divided by the temperature plus a bias for each class, then clipped."""
    temperature, bias, clip = params.get("temperature", 1.0), params.get("bias", 0.0), params.get("clip", EPSILON)
    if temperature != 1.0 or np.any(bias):
        logs = np.log(np.clip(probs.astype(np.float64), EPSILON, 1.0)) / temperature + np.asarray(bias)
        if labels:
            rest = np.log(np.clip(1 - probs.astype(np.float64), EPSILON, 1.0)) / temperature
            probs = 1 / (1 + np.exp(rest - logs))
        else:
            odds = np.exp(logs - logs.max(axis=1, keepdims=True))
            probs = odds / odds.sum(axis=1, keepdims=True)
    clipped = np.clip(probs, clip, 1 - clip)
    return clipped if labels else clipped / clipped.sum(axis=1, keepdims=True)


def _fit(targets: np.ndarray, predictions: np.ndarray, plain: Mapping[str, Any]) -> Params:
    """Temperature, a bias for each class (where there are enough images for each), and the clip. `plain`: `images`, how
    many the decision on biases assumes (default: these), and the `clips` to choose from."""
    from scipy.optimize import minimize

    labels, outputs = targets.ndim == 2, predictions.shape[1]
    free = outputs if labels else outputs - 1  # of classes, the first's bias is 0
    free = free if free * IMAGES_PER_BIAS <= int(plain.get("images", len(targets))) else 0

    def params(point: np.ndarray, clip: float = EPSILON) -> Params:
        found: Params = {"temperature": round(float(np.exp(point[0])), 4)} | ({"clip": clip} if clip else {})
        if free:
            values = point[1:] if labels else np.r_[0.0, point[1:]]
            found["bias"] = [round(float(value), 4) for value in values]
        return found

    def loss(point: np.ndarray) -> float:
        bias = 0.0 if not free else point[1:] if labels else np.r_[0.0, point[1:]]
        return LOG_LOSS.score(targets, predictions, {"temperature": float(np.exp(point[0])), "bias": bias})

    bounds = [(-1.5, 1.5)] + [(-3.0, 3.0)] * free
    found = minimize(loss, np.zeros(1 + free), method="L-BFGS-B", bounds=bounds).x
    clip = min(plain.get("clips", CLIPS), key=lambda c: LOG_LOSS.score(targets, predictions, params(found, c)))
    return params(found, clip)


_KIND: tuple[tuple[Task, ...], tuple[Format, ...]] = (
    ("classes", "labels", "ordinal"), ("probability", "probabilities"),
)  # fmt: skip
LOG_LOSS = Metric(
    "log_loss", False, *_KIND, mean_of(_per_image), _calibrated, _per_image, _fit, calibrates=True
)  # fmt: skip


def weighted_log_loss(options: Mapping[str, Any], classes: tuple[str, ...]) -> Metric:
    """Each class or label counts by its weight (1 where `weights` names none): of labels the weighted mean over the
    columns, of classes the mean over images, each weighted by its class. Nothing is fitted for it."""
    weights = weights_of(options, classes, "class")

    def measure(targets: np.ndarray, probs: np.ndarray) -> float:
        if targets.ndim == 1:
            return float(np.average(_per_image(targets, probs), weights=weights[targets]))
        sure = np.clip(probs.astype(np.float64), EPSILON, 1 - EPSILON)
        losses = -(targets * np.log(sure) + (1 - targets) * np.log(1 - sure))
        return float(np.average(losses.mean(axis=0), weights=weights))

    return Metric("weighted_log_loss", False, *_KIND, measure, _calibrated)
