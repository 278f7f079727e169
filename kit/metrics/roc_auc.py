"""Area under the ROC curve. Two classes: the second's. More, or labels: the mean over columns with both answers."""

import numpy as np

from kit.metrics.metric import Metric


def _measure(targets: np.ndarray, probs: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    if targets.ndim == 1 and len(np.unique(targets)) < probs.shape[1]:
        return float("nan")
    if targets.ndim == 1 and probs.shape[1] == 2:
        return float(roc_auc_score(targets, probs[:, 1]))
    if targets.ndim == 1:
        return float(roc_auc_score(targets, probs, multi_class="ovr"))
    both = [c for c in range(probs.shape[1]) if 0 < targets[:, c].mean() < 1]
    return float(np.mean([roc_auc_score(targets[:, c], probs[:, c]) for c in both])) if both else float("nan")


ROC_AUC = Metric(
    "roc_auc", True, ("classes", "labels"), ("probability", "probabilities"), _measure,
    spellings=(
        "auc", "rocauc", "areaunderreceiveroperatingcharacteristiccurve", "mcauc", "meanauc", "meancolumnwiseauc",
        "meancolumnwiseareaunderreceiveroperatingcharacteristiccurve", "areaundertheroccurve",
    ),
)  # fmt: skip
