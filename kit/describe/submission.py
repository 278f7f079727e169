"""The submission's format and the metric: the last part of `detect`. Writes `metric` and `submission`, with reasons."""

from typing import Any

import pandas as pd

from kit.describe.targets import Case
from kit.errors import ConfigError, KitError, examples
from kit.metrics import find_metric

SEPARATORS = ("|", ",", ";", " ")


def describe_submission(case: Case) -> None:
    """Format and metric, by the task and by what the sample's cells look like."""
    task = case.raw["task"]
    fitting = [metric for metric in case.metrics if task in metric.tasks]
    if case.metrics and not fitting:
        first = case.metrics[0]
        raise ConfigError(f"--metric {first.name}: scores {' or '.join(first.tasks)}; these files show {task}")
    case.metrics = fitting[:1]
    if task == "number":
        _settle(case, "number", "rmse", "a number per row")
    elif len(case.wanted) > 1:
        _columns_per_class(case)
    elif task == "labels":
        _settle(case, "labels", "f1_samples", "several labels in one cell")
        separator = next((s for s in SEPARATORS if case.cells.str.contains(s, regex=False).any()), None)
        case.raw["submission"]["separator"] = separator or case.raw["labels"].get("separator", " ")
    elif (words := _words(case)) > 1:
        _settle(case, "top_k", f"map@{words}", f"{words} classes in each cell of the sample, the likeliest first")
        new = [word for word in case.cells.iloc[0].split() if word.lower().startswith(("new_", "new-", "unknown"))]
        if new:
            case.raw["submission"]["new_class"] = new[0]
            case.because(f"'{new[0]}' means none of the others")
    else:
        _one_column(case)


def _settle(case: Case, form: str, likely: str, reason: str) -> None:
    case.raw["metric"] = case.metrics[0].name if case.metrics else likely
    columns = list(case.sample.columns) if case.sample is not None else ["id", "label"]
    case.raw["submission"] = {"format": form, "id_column": columns[0]}
    if form != "probabilities":
        case.raw["submission"]["column"] = columns[1]
    case.because(f"{reason} -> {case.raw['metric']}")


def _columns_per_class(case: Case) -> None:
    classes = case.raw["labels"]["classes"]
    if set(case.wanted) != set(classes):
        wanted = examples(case.wanted, 4)
        raise KitError(f"the sample submission's columns ({wanted}) are not the classes ({examples(classes, 4)})")
    case.raw["labels"]["classes"] = case.wanted
    likely = case.metrics[0].name if case.metrics else _probability_metric(case, "a column per class")
    _settle(case, "probabilities", likely, "a column per class, in the sample's order -> probabilities")


def _one_column(case: Case) -> None:
    """One answer per row: a hard class, or the probability of one of two."""
    classes = case.raw["labels"]["classes"]
    metric = case.metrics[0].name if case.metrics else _one_column_metric(case)
    if "probability" in find_metric(metric).formats and len(classes) == 2:
        positive = _positive(case, classes)
        _settle(case, "probability", metric, f"one column for two classes: the probability of '{positive}'")
        case.raw["submission"]["positive"] = positive
    else:
        _settle(case, "label", metric, "one class per row")
        case.raw["submission"] |= _values(case, classes)


def _one_column_metric(case: Case) -> str:
    if case.raw["task"] == "ordinal":
        return "quadratic_weighted_kappa"
    if len(case.raw["labels"]["classes"]) > 2:
        return "accuracy"
    if pd.to_numeric(case.cells, errors="coerce").mod(1).gt(0).any():
        return _probability_metric(case, f"probabilities (the sample has {case.cells.iloc[0]})")
    options = [("accuracy", "hard classes"), ("log_loss", "probabilities"), ("roc_auc", "a ranking")]
    return case.choose("files cannot tell accuracy, log loss and ROC AUC apart (--metric NAME does): which?", options)


def _probability_metric(case: Case, text: str) -> str:
    options = [("log_loss", "confidence counts"), ("roc_auc", "only the order counts")]
    options = options[::-1] if case.raw["task"] == "labels" else options
    return case.choose(f"{text}: files cannot tell log loss from ROC AUC (--metric NAME does): which?", options)


def _positive(case: Case, classes: list[str]) -> str:
    """1 of 0 and 1; else the class that the sample's column names; else the user is asked."""
    if set(classes) <= {"0", "1"}:
        return "1"
    named = [name for name in classes if case.wanted and name.lower() in case.wanted[0].lower()]
    if len(named) == 1:
        return named[0]
    options = [(classes[1], "the last alphabetically"), (classes[0], "the other one")]
    return case.choose("whose probability is submitted?", options)


def _values(case: Case, classes: list[str]) -> dict[str, Any]:
    """What is written for a class, where the sample has numbers and the classes have names."""
    numeric = len(case.cells) > 0 and bool(pd.to_numeric(case.cells, errors="coerce").notna().all())
    named = pd.to_numeric(pd.Series(classes), errors="coerce").isna().all()
    if not numeric or not named:
        return {}
    if case.numbers:
        case.because("the sample has numbers: the categories' ids")
        return {"values": {name: case.numbers[name] for name in classes}}
    numbers = ", ".join(f"{number} = {name}" for number, name in enumerate(classes))
    case.because(f"the sample has numbers: {numbers} (alphabetically: check it)")
    return {"values": {name: number for number, name in enumerate(classes)}}


def _words(case: Case) -> int:
    classes = set(case.raw["labels"]["classes"])
    return max((1 if cell in classes else len(cell.split()) for cell in case.cells), default=1)
