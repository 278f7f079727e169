"""Several answers an image, each in a column of the labels: real values, or a class of each column."""

import string

import pandas as pd

from kit.describe.case import Case, number_first
from kit.describe.strings import refuse_places
from kit.errors import KitError, examples
from kit.tasks import Task

MOST_ANSWERS = 1000  # of a question; with more distinct numbers they are values


def answers_in_columns(case: Case) -> None:
    """The labels' columns that are called as the sample's, or as the ends of its rows: by their cells, by what the
    metric scores, and by the sample's own cells. Otherwise the user is asked."""
    assert case.table is not None
    columns = {name: _known(case.table[name]) for name in case.answers}
    if empty := [name for name, cells in columns.items() if cells.empty]:
        raise KitError(f"column '{empty[0]}' of the labels is empty")
    for name, cells in columns.items() if case.rows is None else [(case.rows.column, pd.concat(columns.values()))]:
        refuse_places(name, cells)
    numbers = {name: pd.to_numeric(cells, errors="coerce") for name, cells in columns.items()}
    are_numbers = all(bool(cells.notna().all()) for cells in numbers.values())
    few = all(cells.nunique() <= MOST_ANSWERS for cells in columns.values())
    whole = are_numbers and all(bool((cells % 1 == 0).all()) for cells in numbers.values())
    classes: tuple[Task, str] = ("labels", "a class of each column")
    values: tuple[Task, str] = ("number", "real values")
    options = ([classes] if few and (whole or not are_numbers) else []) + ([values] if are_numbers else [])
    counts = examples((f"'{name}' has {cells.nunique():,} different values" for name, cells in columns.items()), 4)
    if not options:
        raise KitError(f"the sample asks for {examples(columns)}, which are neither classes nor numbers: {counts}")
    if not are_numbers and (single := [name for name, cells in columns.items() if cells.nunique() == 1]):
        answer = columns[single[0]].iloc[0]
        raise KitError(f"'{single[0]}' of the labels is '{answer}' or empty: nothing to tell apart; correct the table")
    fitting = [option for option in options if _fits(case, option[0])]
    if not fitting:
        scores = " or ".join(case.metrics[0].tasks)
        what = " or ".join(meaning for _, meaning in options)
        raise KitError(f"{examples(columns)} are {what} ({counts}); {case.metrics[0].name} scores {scores}")
    if len(fitting) > 1 and _has_fractions(case):
        fitting = [values]
    task = case.choose("task", f"Several answers an image; {counts}: what are they?", fitting)
    case.raw["task"] = task
    case.raw["labels"]["columns"] = list(columns)
    if task == "number":
        case.because(f"the sample's {len(columns)} columns ({examples(columns, 4)}) are numbers in the labels")
        return
    case.raw["labels"]["classes"] = [
        f"{name}={cell}" for name, cells in columns.items() for cell in sorted(cells.unique(), key=number_first)
    ]
    case.because(f"{len(columns)} questions an image, each answered by a class: {counts}")


def columns_as_asked(table: pd.DataFrame, case: Case) -> pd.DataFrame:
    """The labels' columns by the sample's names, where all have one beginning or ending more in one of them: X4_mean is
    asked for as X4, moisture as target_moisture. Writes `labels.rename`."""
    wanted, key = case.answers, "labels.rename"
    if len(wanted) < 2 or case.rows is not None or set(wanted) & set(table):
        return table
    found: dict[str, dict[str, str]] = {}
    for column in map(str, table):
        for longer, shorter in ((column, wanted[0]), (wanted[0], column)):
            more = longer.removeprefix(shorter) if longer.startswith(shorter) else longer.removesuffix(shorter)
            if not shorter or len(more) == len(longer) or more.strip(string.ascii_letters + string.digits) == "":
                continue
            theirs = [_as_theirs(name, more, longer == column, longer.endswith(more)) for name in wanted]
            if all(name in table for name in theirs):
                found[more] = dict(zip(theirs, wanted, strict=True))
    if not found:
        return table
    options = [(more, f"'{wanted[0]}' is their '{next(iter(names))}'") for more, names in found.items()]
    more = case.choose(key, f"The sample's columns ({examples(wanted)}) are called otherwise in the labels.", options)
    case.raw["labels"]["rename"] = found[more]
    case.because(f"the sample calls the labels' columns by the same names, except for '{more}'")
    return table.rename(columns=found[more])


def _as_theirs(name: str, more: str, longer: bool, behind: bool) -> str:
    """A column of the sample as the labels call it: `longer` by `more`, or shorter; `behind` it or before."""
    if longer:
        return f"{name}{more}" if behind else f"{more}{name}"
    return name.removesuffix(more) if behind else name.removeprefix(more)


def _known(column: pd.Series) -> pd.Series:
    cells = column.str.strip()
    return cells[cells != ""]


def _fits(case: Case, task: Task) -> bool:
    """Of a class of each column the metric is a mean over the columns, of what scores one class."""
    if not case.metrics:
        return True
    if task == "number":
        return case.fits("number")
    return any({"classes", "ordinal"} & set(one.tasks) and "label" in one.formats for one in case.metrics)


def _has_fractions(case: Case) -> bool:
    """Has the sample itself numbers that are no class?"""
    if case.sample is None:
        return False
    numbers = case.sample[case.answers].head(1000).apply(pd.to_numeric, errors="coerce")
    return bool((numbers % 1 > 0).any(axis=None))
