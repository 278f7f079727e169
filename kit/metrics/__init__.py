"""The metrics, by name. Adding one is a file beside this one and a line in `_METRICS`.

Every command imports these files, so what a metric computes with is imported only when it computes."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from kit.errors import nearest
from kit.metrics.accuracy import ACCURACY
from kit.metrics.error import MAE, MCRMSE, R2, RMSE, SPEARMAN
from kit.metrics.f1 import f_beta
from kit.metrics.kappa import KAPPA
from kit.metrics.log_loss import LOG_LOSS, weighted_log_loss
from kit.metrics.metric import NOTHING, Metric
from kit.metrics.probabilistic_f1 import PROBABILISTIC_F1
from kit.metrics.questions import of_questions
from kit.metrics.ranking import mean_average_precision, top_accuracy
from kit.metrics.recall import BALANCED_ACCURACY, MCC
from kit.metrics.roc_auc import ROC_AUC, partial_roc_auc
from kit.metrics.words import named
from kit.tasks import Outputs, Task

_METRICS = (
    ACCURACY,
    BALANCED_ACCURACY,
    MCC,
    LOG_LOSS,
    ROC_AUC,
    KAPPA,
    PROBABILISTIC_F1,
    RMSE,
    MCRMSE,
    MAE,
    R2,
    SPEARMAN,
)  # fmt: skip
METRICS = {metric.name: metric for metric in _METRICS}
RANKED = {"map": mean_average_precision, "top": top_accuracy}  # of the k likeliest classes: map@5, top@3
F_BETA = re.compile(r"f(beta|[0-9]+(?:\.[0-9]+)?)(?:_(samples|micro|macro|weighted))?")  # f1, f2_samples, fbeta_macro
Options = Mapping[str, Any]
OPTIONS: dict[str, tuple[set[str], Callable[[Options, tuple[str, ...]], Metric]]] = {
    "partial_roc_auc": ({"min_tpr"}, partial_roc_auc),
    "weighted_log_loss": ({"weights"}, weighted_log_loss),
}
NAMES = [*METRICS, *OPTIONS, "f1", "f1_samples", "f1_micro", "f1_macro", "f1_weighted", "fbeta", "map@k", "top@k"]
MANY = 100  # classes
# beside the competition's own, of its task
SHOWN: dict[Task, tuple[Metric, ...]] = {
    "classes": (ACCURACY, LOG_LOSS, ROC_AUC), "labels": (ROC_AUC, LOG_LOSS, f_beta(1, "macro")),
    "ordinal": (KAPPA, ACCURACY, LOG_LOSS), "number": (RMSE, MAE),
}  # fmt: skip


def find_metric(
    name: str, options: Options = NOTHING, classes: tuple[str, ...] = (), questions: Mapping[str, int] = NOTHING
) -> Metric:
    """The metric of this name, with its `metric_options`; otherwise raises `ValueError` with the nearest one. With
    `questions` (how many classes each has) it is their mean, by `metric_options.weights`."""
    if questions:
        rest = {key: value for key, value in options.items() if key != "weights"}
        return of_questions(find_metric(name, rest), questions, options)
    beta = {"beta"} if name.startswith("fbeta") else set()
    known = OPTIONS[name][0] if name in OPTIONS else beta
    strange = sorted(set(options) - known)
    if strange:
        has = f"{name} has {', '.join(sorted(known))}" if known else f"{name} has no options"
        raise ValueError(f"metric_options.{strange[0]}: {has}")
    ranked = re.fullmatch(r"(\w+)@([1-9][0-9]*)", name)
    if ranked and ranked[1] in RANKED:
        return RANKED[ranked[1]](int(ranked[2]))
    if form := F_BETA.fullmatch(name):
        value = float(options.get("beta", 0)) if form[1] == "beta" else float(form[1])
        if not value > 0:
            raise ValueError(f"metric_options.beta: {name} needs one above 0 (2 in F2)")
        return f_beta(value, form[2] or "")
    if name in OPTIONS:
        return OPTIONS[name][1](options, classes)
    if name not in METRICS:
        raise ValueError(f"metric: no metric '{name}'{nearest(name, NAMES)}")
    return METRICS[name]


def spelled(words: str) -> list[Metric]:
    """The metrics that Kaggle's pages or people call by this name, the likelier first; may be empty."""
    if words.lower() in NAMES or F_BETA.fullmatch(words.lower()) or ("@" in words and " " not in words.strip()):
        try:
            return [find_metric(words.lower())]
        except ValueError:
            pass
    found = []
    for name in named(words)[0]:
        try:
            found.append(find_metric(name))
        except ValueError:
            continue
    return found


def nearest_metric(words: str) -> str:
    """The name of the metric that shares most with these words, "" where none does."""
    marks = named(words)[1]
    shared = {name: len(marks & named(name.replace("_", " "))[1]) for name in ["f1_macro", *METRICS, *OPTIONS]}
    best = max(shared, key=lambda name: shared[name])
    return best if shared[best] else ""


def shown_metrics(outputs: Outputs, own: Metric, questions: Mapping[str, int] = NOTHING) -> list[Metric]:
    """The competition's metric, and the others that its predictions allow (ROC AUC of many classes is slow)."""
    if questions:
        others = [of_questions(ACCURACY, questions, NOTHING)]
    else:
        others = [metric for metric in SHOWN[outputs.task] if metric is not ROC_AUC or outputs.count <= MANY]
    return [own, *(metric for metric in others if metric.name != own.name)]
