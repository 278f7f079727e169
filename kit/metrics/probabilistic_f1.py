"""F1 of probabilities instead of decisions: each image counts as positive as far as its probability says (Yacouby and
Axman 2020; RSNA Screening Mammography). Of the second of two classes. Fitted: a threshold beyond which 1 is handed in,
else 0, for the metric prefers decisions to doubt."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.metrics.f1 import best_threshold, threshold_moved
from kit.metrics.metric import Metric, Params


def _measure(targets: np.ndarray, decisions: np.ndarray) -> float:
    probs = decisions[:, 1]
    hits = float(probs[targets == 1].sum())
    if hits == 0:
        return 0.0
    precision, recall = hits / float(probs.sum()), hits / float((targets == 1).sum())
    return 2 * precision * recall / (precision + recall)


def _decide(predictions: np.ndarray, _labels: bool, params: Mapping[str, Any]) -> np.ndarray:
    if "threshold" not in params:
        return predictions
    positive = (predictions[:, 1] >= params["threshold"]).astype(float)
    return np.column_stack([1 - positive, positive])


def _fit(targets: np.ndarray, predictions: np.ndarray, _plain: Mapping[str, Any]) -> Params:
    return {"threshold": best_threshold(targets, predictions[:, 1], 1.0)}


PROBABILISTIC_F1 = Metric(
    "probabilistic_f1", True, ("classes",), ("probability",), _measure, _decide, fit=_fit, moved=threshold_moved,
    two_classes=True,
)  # fmt: skip
