"""The submission's format and the metric: the last part of `detect`. Writes `metric` and `submission`, with reasons."""

from typing import Any

import pandas as pd

from kit.describe.case import Case
from kit.describe.names import words_of
from kit.errors import ConfigError, KitError, examples
from kit.metrics import Metric, spelled

SEPARATORS = ("|", ",", ";", " ")
AFFIRMED = {"yes": "no", "true": "false", "positive": "negative", "y": "n", "t": "f"}


def describe_submission(case: Case) -> None:
    """Format and metric, by the task and by what the sample's cells look like."""
    task, classes = case.raw["task"], case.raw["labels"].get("classes", [])
    questions = task == "labels" and "columns" in case.raw["labels"]
    suits = {"classes", "ordinal"} if questions else {task}
    fitting = [metric for metric in case.metrics if suits & set(metric.tasks)]
    fitting = [metric for metric in fitting if not metric.two_classes or len(classes) == 2]
    if case.metrics and not fitting:
        first = case.metrics[0]
        what = f"two classes, not {len(classes)}" if first.two_classes else " or ".join(first.tasks)
        raise ConfigError(f"--metric {first.name}: scores {what}; these files show {task}")
    case.metrics = fitting
    metric = fitting[0] if fitting else None
    if task == "number":
        several = "columns" in case.raw["labels"]
        what = "a number per row" + (" and column" if several and case.rows is None else "")
        _settle(case, "numbers" if several else "number", "rmse", what)
        _by_row(case)
    elif questions:
        what = "row per image and question" if case.rows is not None else "column per question"
        _settle(case, "label", "accuracy", f"a {what}, a class in each; the mean over the questions")
        case.raw["submission"].pop("column")
        _by_row(case)
        case.warnings.append("every question counts alike: the page's weights go into metric_options: {weights: ...}")
    elif len(case.answers) > 1:
        _columns_per_class(case)
    elif task == "labels":
        _label_sets(case, metric)
    elif (words := _words(case)) > 1 and (metric is None or "top_k" in metric.formats):
        _settle(case, "top_k", f"map@{words}", f"{words} classes in each cell of the sample, the likeliest first")
        if case.numbers:
            case.raw["submission"] |= _values(case, classes, {word for cell in case.cells for word in cell.split()})
        new = [word for word in case.cells.iloc[0].split() if word.lower().startswith(("new_", "new-", "unknown"))]
        if new:
            case.raw["submission"]["new_class"] = new[0]
            case.because(f"'{new[0]}' means none of the others")
        if unseen := sorted(case.values - {*classes, *case.cells}):
            case.warnings.append(f"the sample names {examples(unseen, 4)}: no training image shows them")
    else:
        if words > 1:
            case.warnings.append(
                f"the sample names {words} classes a row; {case.metrics[0].name} scores one: one is handed in"
            )
        _one_column(case)


def _settle(case: Case, form: str, likely: str, reason: str) -> None:
    metric = case.metrics[0] if case.metrics else spelled(likely)[0]
    if form not in metric.formats:
        raise ConfigError(f"--metric {metric.name}: scores {' or '.join(metric.formats)}; the sample shows {form}")
    case.raw["metric"] = metric.name
    target = case.raw["labels"].get("column", "label")
    column = case.answers[0] if case.answers else target
    case.raw["submission"] = {"format": form, "id_column": case.sample_id}
    if form not in {"probabilities", "numbers"}:
        case.raw["submission"]["column"] = column
    case.because(f"{reason} -> {case.raw['metric']}")
    if not case.metrics and "metric" not in case.chosen:
        case.warnings.append(f"files do not tell the metric: {metric.name} is assumed; --metric NAME says which")


def _label_sets(case: Case, metric: Metric | None) -> None:
    if len(case.raw["labels"]["classes"]) == 1 and metric is not None and "probability" in metric.formats:
        _settle(case, "probability", metric.name, "one label, one column: its probability")
        case.raw["submission"]["positive"] = case.raw["labels"]["classes"][0]
        return
    _settle(case, "labels", "f1_samples", "several labels in one cell")
    separator = next((s for s in SEPARATORS if case.cells.str.contains(s, regex=False).any()), None)
    case.raw["submission"]["separator"] = separator or case.raw["labels"].get("separator", " ")


def _columns_per_class(case: Case) -> None:
    classes = case.raw["labels"]["classes"]
    if not set(case.answers) >= set(classes):
        wanted = examples(case.answers, 4)
        raise KitError(f"the sample submission's columns ({wanted}) are not the classes ({examples(classes, 4)})")
    case.raw["labels"]["classes"] = case.answers
    likely = case.metrics[0].name if case.metrics else _probability_metric(case, "a column per class")
    what = "a column per class" if case.rows is None else "a row per image and class"
    order = ", in the sample's order" if case.sample is not None else ""
    _settle(case, "probabilities", likely, f"{what}{order} -> probabilities")
    if case.raw["metric"] == "weighted_log_loss":
        case.warnings.append(
            "files do not tell the weights, all are 1: the page's go into metric_options: {weights: ...}"
        )
    _by_row(case)


def _by_row(case: Case) -> None:
    if case.rows is not None:
        case.raw["submission"] |= {"column": case.rows.column, "joined": case.rows.joint}


def _one_column(case: Case) -> None:
    """One answer per row: a hard class, or the probability of one of two."""
    classes = case.raw["labels"]["classes"]
    metric = case.metrics[0].name if case.metrics else _one_column_metric(case)
    chosen = case.metrics[0] if case.metrics else spelled(metric)[0]
    if "test" not in case.raw["files"] and "probabilities" in chosen.formats:
        _settle(case, "probabilities", metric, "nothing is handed in: probabilities for the CV")
    elif "probability" in chosen.formats and "label" not in chosen.formats:
        if len(classes) != 2:
            cells = f"the sample shows '{examples(case.cells, 2)}'" if len(case.cells) else "there is no sample"
            shows = f"one column for {len(classes)} classes; {cells}"
            raise ConfigError(f"--metric {metric}: needs a probability per class, and there is {shows}")
        positive = _positive(case, classes)
        _settle(case, "probability", metric, f"one column for two classes: the probability of '{positive}'")
        case.raw["submission"]["positive"] = positive
    else:
        _settle(case, "label", metric, "one class per row")
        case.raw["submission"] |= _values(case, classes, set(case.cells.head(1000)) - {""})
    if chosen.two_classes and "submission.positive" not in case.raw["submission"]:
        positive = case.raw["submission"].get("positive") or _positive(case, classes)
        case.raw["labels"]["classes"] = sorted(classes, key=lambda name: name == positive)
        case.because(f"{chosen.name} is of '{positive}'")


def _one_column_metric(case: Case) -> str:
    if case.raw["task"] == "ordinal":
        return "quadratic_weighted_kappa"
    numbers = pd.to_numeric(case.cells, errors="coerce")
    if len(case.raw["labels"]["classes"]) > 2 or case.sample is None:
        return "accuracy"
    if len(numbers) and numbers.isna().all():  # the classes' names
        return "accuracy"
    if numbers.mod(1).gt(0).any():
        return _probability_metric(case, f"probabilities (the sample has {case.cells.iloc[0]})")
    options = [("accuracy", "hard classes"), ("log_loss", "probabilities"), ("roc_auc", "a ranking")]
    return case.choose("metric", "Files cannot tell accuracy, log loss and ROC AUC apart.", options)


def _probability_metric(case: Case, text: str) -> str:
    options = [("log_loss", "confidence counts"), ("roc_auc", "only the order counts")]
    options = options[::-1] if case.raw["task"] == "labels" else options
    return case.choose("metric", f"{text[0].upper()}{text[1:]}: files cannot tell log loss from ROC AUC.", options)


def _positive(case: Case, classes: list[str]) -> str:
    """1 of 0 and 1, or of -1 and 1; else the class that the sample's column names as a word; else yes of yes and no,
    true, positive; else the user is asked."""
    numbers = pd.to_numeric(pd.Series(classes), errors="coerce")
    if set(numbers) in ({0.0, 1.0}, {-1.0, 1.0}):
        return classes[int(numbers.argmax())]
    words = set(words_of(case.answers[0])) if case.answers else set()
    named = [name for name in classes if set(words_of(name)) and set(words_of(name)) <= words]
    if len(named) == 1:
        return named[0]
    if {name.strip().lower() for name in classes} in [{yes, no} for yes, no in AFFIRMED.items()]:
        return next(name for name in classes if name.strip().lower() in AFFIRMED)
    options = [(classes[1], "the last alphabetically"), (classes[0], "the other one")]
    return case.choose("submission.positive", "Whose probability is submitted?", options)


def _values(case: Case, classes: list[str], cells: set[str]) -> dict[str, Any]:
    """What is written for a class, where the sample's `cells` are something else."""
    numeric = bool(cells) and bool(pd.to_numeric(pd.Series(sorted(cells)), errors="coerce").notna().all())
    if cells <= set(classes) or not numeric:
        return {}
    if case.numbers:
        case.because("the sample has numbers: the categories' ids")
        if not cells <= {str(number) for number in case.numbers.values()} and len(cells) == 1:
            _is_dummy(case, next(iter(cells)))
        return {"values": {name: case.numbers[name] for name in classes}}
    numbers = pd.to_numeric(pd.Series(classes), errors="coerce")
    named = bool(numbers.isna().any())
    as_numbers = dict(enumerate(classes)) if named else {int(n): name for n, name in zip(numbers, classes, strict=True)}
    written = ", ".join(f"{number} = {name}" for number, name in list(as_numbers.items())[:6])
    if not named and not {str(number) for number in as_numbers} & cells:
        if len(cells) == 1:
            _is_dummy(case, next(iter(cells)))
        return {}
    options = [("numbers", f"{written}{', in alphabetical order' if named else ''}"), ("labels", examples(classes, 6))]
    question = f"The sample has {examples(sorted(cells), 3)}, the labels {examples(classes, 3)}: what is written?"
    if case.choose("submission.values", question, options) == "labels":
        return {}
    case.because(f"the sample has numbers: {written}")
    return {"values": {name: number for number, name in as_numbers.items()}}


def _is_dummy(case: Case, cell: str) -> None:
    """One and the same number in every row, which is none of the classes'."""
    case.chosen["submission.values"] = "labels"
    case.warnings.append(f"the sample's '{cell}' is no class; what the labels call them is handed in")


def _words(case: Case) -> int:
    classes = set(case.raw["labels"]["classes"])
    return max((1 if cell in classes else len(cell.split()) for cell in case.cells.head(1000)), default=1)
