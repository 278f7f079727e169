"""Several predictions become one."""

from collections.abc import Sequence

import numpy as np

from kit.scoring.metrics import EPSILON
from kit.tasks import Task


def mean_predictions(members: Sequence[np.ndarray], average: str, task: Task = "classes") -> np.ndarray:
    """Members (N, C) -> their mean (N, C): of the predictions (`probs`), or of their logits (`logits`).

    Numbers have no logits. For classes the mean of log-probabilities, normalised again, is the softmax of the mean
    logits; for labels the same holds of p against 1 - p.
    """
    stack = np.stack(members).astype(np.float64)
    if average == "probs" or task == "number":
        return stack.mean(axis=0)
    if task == "labels":
        sure = np.clip(stack, EPSILON, 1 - EPSILON)
        return 1 / (1 + np.exp(-np.log(sure / (1 - sure)).mean(axis=0)))
    logs = np.log(np.clip(stack, EPSILON, 1.0)).mean(axis=0)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
