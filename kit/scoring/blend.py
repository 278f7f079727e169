"""Several predictions become one."""

from collections.abc import Sequence

import numpy as np

from kit.scoring.metrics import EPSILON


def mean_probs(members: Sequence[np.ndarray], average: str) -> np.ndarray:
    """Members (N, C), rows sum to 1 -> their mean (N, C): of probabilities, or of log-probabilities, normalised again.

    The mean of log-probabilities is the softmax of the mean logits.
    """
    stack = np.stack(members).astype(np.float64)
    if average == "probs":
        return stack.mean(axis=0)
    logs = np.log(np.clip(stack, EPSILON, 1.0)).mean(axis=0)
    odds = np.exp(logs - logs.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
