"""The metrics, by name. Adding one is a file beside this one and a line in `_METRICS`.

Every command imports these files, so what a metric computes with is imported only when it computes."""

import re

from kit.errors import nearest
from kit.metrics.accuracy import ACCURACY
from kit.metrics.error import MAE, RMSE
from kit.metrics.f1 import F1
from kit.metrics.kappa import KAPPA
from kit.metrics.log_loss import LOG_LOSS
from kit.metrics.metric import Metric
from kit.metrics.ranking import mean_average_precision, top_accuracy
from kit.metrics.roc_auc import ROC_AUC
from kit.tasks import Task

_METRICS = (
    ACCURACY,
    LOG_LOSS,
    ROC_AUC,
    KAPPA,
    *F1.values(),
    RMSE,
    MAE,
)  # fmt: skip
METRICS = {metric.name: metric for metric in _METRICS}
FAMILIES = {"map": mean_average_precision, "top": top_accuracy}  # of the k likeliest classes: map@5, top@3
MANY = 100  # classes
# beside the competition's own, of its task
SHOWN: dict[Task, tuple[Metric, ...]] = {
    "classes": (ACCURACY, LOG_LOSS, ROC_AUC), "labels": (ROC_AUC, LOG_LOSS, F1["macro"]),
    "ordinal": (KAPPA, ACCURACY, LOG_LOSS), "number": (RMSE, MAE),
}  # fmt: skip


def find_metric(name: str) -> Metric:
    """The metric of this name (`map@5` and `top@3` too); otherwise raises `ValueError` with the nearest one."""
    family = re.fullmatch(r"(\w+)@([1-9][0-9]*)", name)
    if family and family[1] in FAMILIES:
        return FAMILIES[family[1]](int(family[2]))
    if name not in METRICS:
        raise ValueError(f"metric: no metric '{name}'{nearest(name, [*METRICS, *(f'{one}@k' for one in FAMILIES)])}")
    return METRICS[name]


def spelled(words: str) -> list[Metric]:
    """The metrics that Kaggle's pages or people call by this name, the likelier first; may be empty."""
    plain = re.sub(r"[^a-z0-9]", "", words.lower())
    ranked = re.fullmatch(r"(?:map|meanaverageprecision|top)(\d+)(?:accuracy)?", plain)
    if ranked:
        return [FAMILIES["top" if plain.startswith("top") else "map"](int(ranked[1]))]
    return [metric for metric in METRICS.values() if plain in metric.spellings or words.lower() == metric.name]


def shown_metrics(task: Task, own: Metric, num_classes: int = 0) -> list[Metric]:
    """The competition's metric, and the others that the task's predictions allow (ROC AUC of many classes is slow)."""
    others = [metric for metric in SHOWN[task] if metric is not ROC_AUC or num_classes <= MANY]
    return [own, *(metric for metric in others if metric.name != own.name)]
