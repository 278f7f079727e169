"""What each kind of task, each metric and each submission format needs. The numbers are computed in `scoring`."""

import re
from dataclasses import dataclass
from typing import Literal

from kit.errors import nearest

Task = Literal["classes", "labels", "ordinal", "number"]
"""classes: one of several (softmax). labels: any of several (a sigmoid each). ordinal: one of several that have an
order (softmax; the mean class counts). number: a real value."""

Format = Literal["label", "labels", "top_k", "probability", "probabilities", "number"]
"""label: a column of hard classes. labels: a column of several, delimited. top_k: the k likeliest, delimited.
probability: one column. probabilities: a column per class. number: a column of real values."""


@dataclass(frozen=True)
class Metric:
    """A competition's measure: its direction, the tasks it fits, the formats it can be computed from."""

    name: str
    higher_is_better: bool
    tasks: tuple[Task, ...]
    formats: tuple[Format, ...]
    k: int = 1  # map@k, top@k


_ONE: tuple[Task, ...] = ("classes", "ordinal")
_PROBS: tuple[Format, ...] = ("probability", "probabilities")
METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", True, _ONE, ("label",)),
        Metric("log_loss", False, ("classes", "labels", "ordinal"), _PROBS),
        Metric("roc_auc", True, ("classes", "labels"), _PROBS),
        Metric("quadratic_weighted_kappa", True, ("ordinal",), ("label",)),
        Metric("f1_micro", True, ("classes", "labels"), ("label", "labels")),
        Metric("f1_macro", True, ("classes", "labels"), ("label", "labels")),
        Metric("f1_samples", True, ("labels",), ("labels",)),
        Metric("rmse", False, ("number",), ("number",)),
        Metric("mae", False, ("number",), ("number",)),
    )
}
MANY = 100  # classes
FAMILIES = ("map@k", "top@k")  # mean average precision, and accuracy, of the k likeliest
SHOWN: dict[Task, tuple[str, ...]] = {
    "classes": ("accuracy", "log_loss", "roc_auc"),
    "labels": ("roc_auc", "log_loss", "f1_macro"),
    "ordinal": ("quadratic_weighted_kappa", "accuracy", "log_loss"),
    "number": ("rmse", "mae"),
}


def find_metric(name: str) -> Metric:
    """The metric of this name (`map@5` and `top@3` too); `ValueError` with the nearest one otherwise."""
    family = re.fullmatch(r"(map|top)@([1-9][0-9]*)", name)
    if family:
        return Metric(name, True, ("classes",), ("top_k",), int(family[2]))
    if name not in METRICS:
        raise ValueError(f"metric: no metric '{name}'{nearest(name, [*METRICS, *FAMILIES])}")
    return METRICS[name]


def shown_metrics(task: Task, own: str, num_classes: int = 0) -> list[str]:
    """The competition's metric, and the others that the task's predictions allow (ROC AUC of many classes is slow)."""
    others = [name for name in SHOWN[task] if name != "roc_auc" or num_classes <= MANY]
    return list(dict.fromkeys([own, *others]))
