"""What is to be predicted, and how it is handed in: the second half of `detect`, from labels and sample submission.

Writes `task`, `labels`, `metric` and `submission` into the YAML's mapping, and a reason for each.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from kit.errors import ConfigError, KitError, examples
from kit.tasks import find_metric

Choose = Callable[[str, Sequence[tuple[str, str]]], str]
"""(question, [(value, meaning), the likelier first]) -> a value"""
Because = Callable[[str], None]

GROUP = re.compile(
    r"^(patient|subject|person|individual|animal|case|study|site|series|group|hospital)[_ ]?(id|no|number)?$"
)
ORDERED = re.compile(r"diagnosis|grade|level|severity|stage|score|rating|isup|quality|degree")
MANY = 30  # distinct numbers that are no classes any more


@dataclass(frozen=True)
class Shown:
    """What the files show. `table`: the labels' CSV as text; `submission`: the sample's; `classes`: from names."""

    place: str
    submission: pd.DataFrame | None
    table: pd.DataFrame | None
    id_column: str
    classes: list[str] | None = None
    column: str | None = None
    coco: bytes | None = None


def target_of_files(shown: Shown, metric: str | None, choose: Choose, raw: dict[str, Any], because: Because) -> None:
    """Classes from folders, file names, idx, tables of pixels, or COCO."""
    classes, several = shown.classes or [], False
    if shown.coco is not None:
        classes, several = _coco_classes(shown.coco)
    because(f"{len(classes)} classes: {examples(classes, 6)}" + (", several to an image" if several else ""))
    raw["task"] = "labels" if several else "classes"
    raw["labels"] = {"classes": classes} | ({"column": shown.column} if shown.column else {})
    _submission(shown, classes, metric, choose, raw, because)


def target_of_table(shown: Shown, metric: str | None, choose: Choose, raw: dict[str, Any], because: Because) -> None:
    """A table of labels: columns of 0 and 1, strings, delimited strings, ordered or real numbers."""
    assert shown.table is not None
    table, wanted = shown.table, list(shown.submission.columns[1:]) if shown.submission is not None else []
    groups = [
        str(column) for column in table
        if GROUP.match(str(column).lower()) and column not in {shown.id_column, *wanted} and not table[column].is_unique
    ]  # fmt: skip
    raw["labels"] = {}
    if groups:
        raw["labels"]["group_column"] = groups[0]
        because(f"column '{groups[0]}' repeats ({table[groups[0]].nunique():,} values): its images stay in one fold")
    wide = [column for column in wanted if column in table and set(table[column].unique()) <= {"0", "1", "0.0", "1.0"}]
    if len(wanted) > 1 and wide == wanted:
        _wide(shown, wanted, metric, choose, raw, because)
        return
    column = _target_column(shown, wanted, groups, because)
    values = table[column].str.strip()
    raw["labels"]["column"] = column
    distinct = sorted(values.unique(), key=_number_first)
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().all():
        _numbers(column, values, numbers, distinct, metric, choose, raw, because)
    else:
        _strings(column, values, distinct, shown, raw, because)
    if raw["task"] == "number":
        raw["metric"] = metric or "rmse"
        _require(raw["metric"], "number")
        raw["submission"] = _columns(shown, "number")
        because(f"a number a row -> {raw['metric']}")
        return
    _submission(shown, raw["labels"]["classes"], metric, choose, raw, because)


def _wide(
    shown: Shown, wanted: list[str], metric: str | None, choose: Choose, raw: dict[str, Any], because: Because
) -> None:
    assert shown.table is not None
    ones = shown.table[wanted].apply(pd.to_numeric).sum(axis=1)
    single = bool((ones == 1).all())
    raw["task"] = "classes" if single else "labels"
    raw["labels"] |= {"wide": True, "classes": wanted}
    kind = "always one of them set: one class an image" if single else "any number of them set: several labels an image"
    because(f"the sample's {len(wanted)} columns ({examples(wanted, 4)}) hold 0 and 1 in the labels, {kind}")
    _submission(shown, wanted, metric, choose, raw, because)


def _target_column(shown: Shown, wanted: list[str], groups: list[str], because: Because) -> str:
    assert shown.table is not None
    table = shown.table
    if len(wanted) == 1 and wanted[0] in table:
        because(f"target column '{wanted[0]}', as in the sample submission")
        return str(wanted[0])
    others = [str(c) for c in table if c != shown.id_column and c not in groups]
    if len(wanted) > 1:
        for column in others:
            if set(table[column].unique()) <= set(wanted):
                because(f"target column '{column}', {table[column].nunique()} strings; the sample has them as columns")
                return column
    if len(wanted) == 1 and shown.submission is not None:
        answers = {part for cell in shown.submission[wanted[0]].head(1000) for part in [cell, *cell.split()]}
        for column in others:
            if answers & set(table[column].unique()):
                because(f"target column '{column}': the sample's '{wanted[0]}' holds its values")
                return column
    if len(others) == 1:
        because(f"target column '{others[0]}', the only one left")
        return others[0]
    raise KitError(
        f"which column is the target? The labels have {examples(others, 8)}, the sample submission asks for "
        f"{examples(wanted, 4)}; write the competition's YAML by hand (configs/competitions/ has examples)"
    )


def _numbers(
    column: str, values: pd.Series, numbers: pd.Series, distinct: list[str], metric: str | None, choose: Choose,
    raw: dict[str, Any], because: Because,
) -> None:  # fmt: skip
    whole = bool((numbers % 1 == 0).all())
    fits = find_metric(metric).tasks if metric else None
    in_order = whole and 2 < len(distinct) <= MANY and numbers.min() >= 0 and "number" not in (fits or ())
    if (not in_order and len(distinct) > 2) or fits == ("number",):
        raw["task"] = "number"
        because(f"'{column}': {len(distinct):,} different numbers, {numbers.min():g} to {numbers.max():g} -> a number")
        return
    raw["labels"]["classes"] = distinct
    text = f"'{column}': {len(distinct)} whole numbers, {distinct[0]} to {distinct[-1]}"
    if len(distinct) == 2:
        raw["task"] = "classes"
        because(f"{text} -> two classes")
    elif fits is not None:
        raw["task"] = "ordinal" if "classes" not in fits else "classes"
        because(f"{text}; {metric} -> {'in order' if raw['task'] == 'ordinal' else 'classes without an order'}")
    else:
        likely = [("ordinal", "they are in order, like a grade"), ("classes", "they are names of classes")]
        likely = likely if ORDERED.search(column.lower()) else likely[::-1]
        raw["task"] = choose(f"{text}: what are they?", likely)
        because(f"{text} -> {raw['task']}")


def _strings(
    column: str, values: pd.Series, distinct: list[str], shown: Shown, raw: dict[str, Any], because: Because
) -> None:
    for separator in (" ", "|", ",", ";"):
        sets = [[part for part in cell.split(separator) if part] for cell in values]
        parts = sorted({part for one in sets for part in one})
        if max(map(len, sets)) > 1 and len(parts) < len(distinct) and all(len(set(s)) == len(s) for s in sets):
            raw["task"] = "labels"
            raw["labels"] |= {"separator": separator, "classes": parts}
            because(f"'{column}': up to {max(map(len, sets))} of {len(parts)} words a cell, separated by {separator!r}")
            return
    wanted = list(shown.submission.columns[1:]) if shown.submission is not None else []
    raw["task"] = "classes"
    raw["labels"]["classes"] = wanted if set(wanted) >= set(distinct) else distinct
    because(f"'{column}': {len(distinct)} strings, one an image ({examples(distinct, 4)})")


def _submission(
    shown: Shown, classes: list[str], metric: str | None, choose: Choose, raw: dict[str, Any], because: Because
) -> None:
    """Format and metric of classes and labels, by what the sample's cells look like."""
    task, sample = raw["task"], shown.submission
    wanted = list(sample.columns[1:]) if sample is not None else ["label"]
    if len(wanted) > 1:
        if set(wanted) != set(classes):
            raise KitError(
                f"the sample submission's columns ({examples(wanted, 4)}) are not the classes ({examples(classes, 4)})"
            )
        raw["labels"]["classes"] = wanted
        raw["metric"] = metric or _probability_metric(task, choose, "a column per class")
        raw["submission"] = _columns(shown, "probabilities")
        because(f"a column per class, in the sample's order -> probabilities -> {raw['metric']}")
        _require(raw["metric"], task)
        return
    cells = sample[wanted[0]].str.strip() if sample is not None else pd.Series([], dtype=str)
    words = max((1 if cell in classes else len(cell.split()) for cell in cells), default=1)
    if task == "labels":
        raw["metric"] = metric or "f1_samples"
        raw["submission"] = _columns(shown, "labels")
        because(f"several labels in one cell -> {raw['metric']}")
    elif words > 1:
        raw["metric"] = metric or f"map@{words}"
        raw["submission"] = _columns(shown, "top_k")
        new = [word for word in cells.iloc[0].split() if word.startswith("new")]
        if new and new[0] in classes:
            raw["submission"]["new_class"] = new[0]
        open_set = f", '{new[0]}' stands for none of the others" if new else ""
        because(f"{words} classes in each cell of the sample, likeliest first -> {raw['metric']}{open_set}")
    else:
        raw["metric"] = metric or _one_column_metric(task, classes, cells, choose)
        formats = find_metric(raw["metric"]).formats
        if "probability" in formats and len(classes) == 2:
            raw["submission"] = _columns(shown, "probability") | {"positive": classes[1]}
            because(f"one column for two classes, {raw['metric']} -> the probability of '{classes[1]}'")
        else:
            raw["submission"] = _columns(shown, "label") | _values(classes, cells, because)
            because(f"one class a row -> {raw['metric']}")
    _require(raw["metric"], task)


def _one_column_metric(task: str, classes: list[str], cells: pd.Series, choose: Choose) -> str:
    if task == "ordinal":
        return "quadratic_weighted_kappa"
    if len(classes) > 2:
        return "accuracy"
    if len(cells) and pd.to_numeric(cells, errors="coerce").mod(1).gt(0).any():
        return _probability_metric(task, choose, f"probabilities (the sample says {cells.iloc[0]})")
    options = [("accuracy", "hard classes"), ("log_loss", "probabilities"), ("roc_auc", "a ranking")]
    return choose("files cannot tell accuracy, log loss and ROC AUC apart (--metric says it): which?", options)


def _probability_metric(task: str, choose: Choose, text: str) -> str:
    options = [("log_loss", "how sure it is counts"), ("roc_auc", "only the order counts")]
    options = options[::-1] if task == "labels" else options
    return choose(f"{text}: files cannot tell log loss from ROC AUC (--metric says it): which?", options)


def _values(classes: list[str], cells: pd.Series, because: Because) -> dict[str, Any]:
    """Classes by number where the sample has numbers and the classes are names."""
    numeric = len(cells) > 0 and bool(pd.to_numeric(cells, errors="coerce").notna().all())
    if not numeric or set(cells) <= set(classes):
        return {}
    numbers = ", ".join(f"{number} = {name}" for number, name in enumerate(classes))
    because(f"the sample has numbers: {numbers} (by alphabet: check it)")
    return {"values": {name: number for number, name in enumerate(classes)}}


def _columns(shown: Shown, kind: str) -> dict[str, Any]:
    columns = list(shown.submission.columns) if shown.submission is not None else ["id", "label"]
    return {"format": kind, "id_column": columns[0]} | ({"column": columns[1]} if kind != "probabilities" else {})


def _require(metric: str, task: str) -> None:
    if task not in find_metric(metric).tasks:
        raise ConfigError(
            f"--metric {metric}: scores {' or '.join(find_metric(metric).tasks)}; these files show {task}"
        )


def _coco_classes(data: bytes) -> tuple[list[str], bool]:
    raw = json.loads(data)
    names = {c["id"]: str(c["name"]) for c in raw.get("categories", [])}
    used = [names.get(a["category_id"], str(a["category_id"])) for a in raw["annotations"]]
    pairs = {(a["image_id"], a["category_id"]) for a in raw["annotations"]}
    return sorted(set(used), key=_number_first), len(pairs) > len({image for image, _ in pairs})


def _number_first(text: str) -> tuple[int, float, str]:
    """2 before 10, numbers before words."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
