"""What is to be predicted: the middle part of `detect`. Writes `task` and `labels` into the YAML's mapping."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from kit.data.label_files import Coco
from kit.errors import KitError, examples
from kit.metrics import Metric
from kit.tasks import Task

Choose = Callable[[str, Sequence[tuple[str, str]]], str]
"""(question, [(value, meaning), the likelier first]) -> a value"""

_OF = "patient|subject|person|individual|animal|case|study|site|series|group|hospital"
GROUP = re.compile(rf"^({_OF})[_ ]?(id|no|number)?$")
ORDERED = re.compile(r"diagnosis|grade|level|severity|stage|score|rating|isup|quality|degree")
MANY = 30  # with more distinct numbers they are not grades


@dataclass
class Case:
    """A competition as far as it is understood. `raw` is the YAML's mapping, `reasons` say why. `metrics`: what the
    competition's metric may be, empty where it is not known; `sample`: the sample submission; `table`: the labels' CSV
    as text, its files named by `id_column`; `classes`: from folders, names, idx files or tables of pixels; `numbers`:
    class -> the number that stands for it (COCO)."""

    metrics: list[Metric]
    choose: Choose
    raw: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    sample: pd.DataFrame | None = None
    table: pd.DataFrame | None = None
    id_column: str = ""
    classes: list[str] | None = None
    numbers: dict[str, int] = field(default_factory=dict)

    def because(self, reason: str) -> None:
        self.reasons.append(reason)

    @property
    def wanted(self) -> list[str]:
        return [str(column) for column in self.sample.columns[1:]] if self.sample is not None else []

    @property
    def cells(self) -> pd.Series:
        """The sample's answers, where they are one column."""
        if self.sample is None or len(self.wanted) != 1:
            return pd.Series([], dtype=str)
        return self.sample[self.wanted[0]].str.strip()

    def fits(self, task: Task) -> bool:
        return not self.metrics or any(task in metric.tasks for metric in self.metrics)


def target_of_files(case: Case) -> None:
    """Classes known from folders, file names, idx files or tables of pixels."""
    classes = case.classes or []
    case.because(f"{len(classes)} classes: {examples(classes, 6)}")
    case.raw["task"] = "classes"
    case.raw["labels"]["classes"] = classes


def target_of_coco(case: Case, coco: Coco) -> None:
    """Classes of COCO's annotations; several where an image has several."""
    names = coco.names
    used = sorted({name for _, name in coco.marks}, key=number_first)
    several = len(set(coco.marks)) > len({image for image, _ in coco.marks})
    case.because(f"{len(used)} classes: {examples(used, 6)}" + (", several per image" if several else ""))
    case.raw["task"] = "labels" if several else "classes"
    case.raw["labels"]["classes"] = used
    case.numbers = {name: int(number) for number, name in names.items() if str(number).isdecimal() and name in used}


def target_of_table(case: Case) -> None:
    """A table of labels: columns of 0 and 1, strings, delimited strings, ordered or real numbers."""
    assert case.table is not None
    table, wanted = case.table, case.wanted
    wide = [column for column in wanted if column in table and set(table[column].unique()) <= {"0", "1", "0.0", "1.0"}]
    column = None if len(wanted) > 1 and wide == wanted else _target_column(case)
    taken = {case.id_column, column, *wanted}
    groups = [str(c) for c in table if GROUP.match(str(c).lower()) and c not in taken and not table[c].is_unique]
    if groups:
        case.raw["labels"]["group_column"], count = groups[0], table[groups[0]].nunique()
        case.because(f"column '{groups[0]}' repeats ({count:,} values): its images stay in one fold")
    if column is None:
        _wide(case)
        return
    case.raw["labels"]["column"] = column
    values = table[column].str.strip()
    if pd.to_numeric(values, errors="coerce").notna().all():
        _numbers(case, column, values)
    else:
        _strings(case, column, values)


def _wide(case: Case) -> None:
    assert case.table is not None
    wanted = case.wanted
    single = bool((case.table[wanted].apply(pd.to_numeric).sum(axis=1) == 1).all())
    case.raw["task"] = "classes" if single else "labels"
    case.raw["labels"] |= {"wide": True, "classes": wanted}
    kind = "always one set: one class per image" if single else "any number set: several labels per image"
    case.because(f"the sample's {len(wanted)} columns ({examples(wanted, 4)}) hold 0 and 1 in the labels, {kind}")


def _target_column(case: Case) -> str:
    """The column that the sample asks for, or that has the values of the sample's cells."""
    assert case.table is not None
    table, wanted = case.table, case.wanted
    if len(wanted) == 1 and wanted[0] in table:
        case.because(f"target column '{wanted[0]}', as in the sample submission")
        return wanted[0]
    others = [str(column) for column in table if column != case.id_column]
    if len(wanted) > 1:
        found = [column for column in others if set(table[column].unique()) <= set(wanted)]
        why = "the sample has its values as columns"
    else:
        answers = {part for cell in case.cells.head(1000) for part in [cell, *cell.split()]}
        found = [column for column in others if answers & set(table[column].unique())]
        why = f"the sample's '{examples(wanted)}' holds its values"
    if len(found) > 1:
        return case.choose("which column is the target?", [(name, f"e.g. {table[name].iloc[0]}") for name in found])
    if found:
        case.because(f"target column '{found[0]}', {table[found[0]].nunique():,} different: {why}")
        return found[0]
    left = [column for column in others if not GROUP.match(column.lower())]
    if len(left) == 1:
        case.because(f"target column '{left[0]}', the only one left")
        return left[0]
    raise KitError(
        f"which column is the target? The labels have {examples(others, 8)}, the sample submission asks for "
        f"{examples(wanted, 4)}; write the competition's YAML by hand (configs/competitions/ has examples)"
    )


def _numbers(case: Case, column: str, values: pd.Series) -> None:
    """Two classes, classes by number, grades, or a real value: by how many there are, the metric, and the sample."""
    numbers = pd.to_numeric(values)
    distinct = sorted(values.unique(), key=number_first)
    whole = bool((numbers % 1 == 0).all()) and numbers.min() >= 0
    ranked = len(case.cells) > 0 and max(len(cell.split()) for cell in case.cells) > 1
    text = f"'{column}': {len(distinct):,} different numbers, {numbers.min():g} to {numbers.max():g}"
    options: list[tuple[Task, str]] = []
    if whole and len(distinct) == 2 and case.fits("classes"):
        options = [("classes", "two classes")]
    elif whole and ranked:
        options = [("classes", "names of classes")]
    elif whole:
        grades: list[tuple[Task, str]] = [("ordinal", "grades, in order")] if len(distinct) <= MANY else []
        names: list[tuple[Task, str]] = [("classes", "names of classes")]
        value: list[tuple[Task, str]] = [("number", "a real value")]
        options = grades + names + value if ORDERED.search(column.lower()) else names + grades + value
        options = options if len(distinct) <= MANY else value + names
    options = [option for option in options if case.fits(option[0])] or [("number", "a real value")]
    sure = len(options) == 1 or (bool(case.metrics) and options[0][0] != "number")
    task = options[0][0] if sure else case.choose(f"{text}: what are they?", options)
    case.raw["task"] = task
    case.because(f"{text} -> {next(meaning for name, meaning in options if name == task)}")
    if task != "number":
        case.raw["labels"]["classes"] = distinct


def _strings(case: Case, column: str, values: pd.Series) -> None:
    """One class per cell, or several, delimited."""
    distinct = sorted(values.unique(), key=number_first)
    for separator in ("|", ",", ";", " "):
        sets = [[part.strip() for part in cell.split(separator) if part.strip()] for cell in values]
        parts = sorted({part for one in sets for part in one})
        shared = len(parts) < len(distinct) and all(len(set(one)) == len(one) for one in sets)
        named = set(distinct) <= set(case.wanted)  # whole cells are the sample's columns
        if max(map(len, sets)) > 1 and shared and case.fits("labels") and not named:
            if separator == " " and _one_class(case, column, distinct, parts):
                break
            case.raw["task"] = "labels"
            case.raw["labels"] |= {"separator": separator, "classes": parts}
            case.because(f"'{column}': up to {max(map(len, sets))} of {len(parts)} words a cell, between {separator!r}")
            return
    case.raw["task"] = "classes"
    case.raw["labels"]["classes"] = case.wanted if set(case.wanted) >= set(distinct) else distinct
    case.because(f"'{column}': {len(distinct):,} strings, one per image ({examples(distinct, 4)})")


def _one_class(case: Case, column: str, distinct: list[str], words: list[str]) -> bool:
    """`red car`: one class, or the two labels red and car?"""
    if not case.fits("classes"):
        return False
    several = ("labels", f"{len(words):,} words ({examples(words, 4)}), several per image")
    one = ("classes", f"{len(distinct):,} classes of several words ({examples(distinct, 4)}), one per image")
    return case.choose(f"column '{column}' holds words: what are they?", [several, one]) == "classes"


def number_first(text: str) -> tuple[int, float, str]:
    """2 before 10, numbers before words."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
