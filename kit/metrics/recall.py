"""Where every class counts alike: balanced accuracy (the mean of the classes' recalls) and Matthews' correlation.

Fitted for them: how much a rare class is preferred. The likeliest class maximises accuracy; for recall by class the
probability divided by the class's share of the images does (Bayes' rule), for Matthews' something between."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from kit.metrics.metric import Metric, Params, best_on

STRENGTHS = np.linspace(0, 1, 11)


def _balanced(targets: np.ndarray, decisions: np.ndarray) -> float:
    right, counts = np.bincount(targets, decisions == targets), np.bincount(targets)
    return float(np.mean(right[counts > 0] / counts[counts > 0]))


def _matthews(targets: np.ndarray, decisions: np.ndarray) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(targets, decisions))


def _decide(predictions: np.ndarray, _labels: bool, params: Mapping[str, Any]) -> np.ndarray:
    weights = np.asarray(params.get("class_weights", 1.0))
    return (predictions * weights).argmax(axis=1)


def _metric(name: str, measure: Any) -> Metric:
    def fit(targets: np.ndarray, predictions: np.ndarray, _plain: Mapping[str, Any]) -> Params:
        shares = np.bincount(targets, minlength=predictions.shape[1]).clip(1) / len(targets)

        def weights(strength: float) -> Params:
            return {"class_weights": (shares**-strength).tolist()}

        best = best_on(STRENGTHS, lambda strength: made.score(targets, predictions, weights(strength)))
        return weights(best)

    made = Metric(name, True, ("classes", "ordinal"), ("label",), measure, _decide, fit=fit)
    return made


BALANCED_ACCURACY = _metric("balanced_accuracy", _balanced)
MCC = _metric("mcc", _matthews)
