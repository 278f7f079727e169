"""A column of words: one class in each cell, or several."""

import re
from collections.abc import Sequence

import pandas as pd

from kit.data.label_files import split_cell
from kit.describe.case import Case, number_first
from kit.errors import KitError, examples

SEPARATORS = ("|", ",", ";", " ")
FEW = 20  # images: of so few each may show a class of its own
_OTHER = "--set labels.column=NAME names another column"
_PLACES = re.compile(r"encoded|rle|segment|mask|polygon|box|prediction_?string", re.I)
_FOUR = re.compile(r"(?:^|[\s,(\[])(?:-?\d+(?:\.\d+)?[\s,]+){3}-?\d+")  # numbers in a row: a box, two runs of a mask


def refuse_places(column: str, values: pd.Series) -> None:
    """`values`: a column's cells, none empty. Raises `KitError` where they are boxes or masks."""
    if _PLACES.search(column) and values.str.contains(_FOUR).mean() > 0.5 and values.nunique() > 0.8 * len(values):
        what = f"column '{column}' holds places in the pictures ({examples(values.str.slice(0, 40), 2)})"
        raise KitError(f"{what}: boxes or masks. The kit tells what a whole picture shows, not where; {_OTHER}")


def describe_strings(case: Case, column: str, values: pd.Series) -> None:
    """One class per cell, or several, delimited; decided over all cells and the sample, asked where both fit."""
    distinct = sorted(values.unique(), key=number_first)
    whole = set(distinct) <= set(case.answers)  # cells are the sample's columns
    for separator in SEPARATORS:
        sets = [split_cell(cell, separator) for cell in values]
        if whole or not _several(sets, distinct) or not case.fits("labels"):
            continue
        words = sorted({word for one in sets for word in one}, key=number_first)
        if _is_one_class(case, column, distinct, words, separator):
            break
        case.raw["task"] = "labels"
        case.raw["labels"] |= {"separator": separator, "classes": words}
        most = max(map(len, sets))
        case.because(f"'{column}': up to {most} of {len(words)} words a cell, between {separator!r}")
        return
    if len(distinct) == len(values) > FEW:
        texts = f"column '{column}': no two images share one of its {len(values):,} texts ({examples(distinct, 2)})"
        raise KitError(f"{texts}; the kit predicts classes, each shown by several images; {_OTHER}")
    case.raw["task"] = "classes"
    case.raw["labels"]["classes"] = case.answers if set(case.answers) >= set(distinct) else distinct
    case.because(f"'{column}': {len(distinct):,} strings, one per image ({examples(distinct, 4)})")
    without = [name for name in case.raw["labels"]["classes"] if name not in set(distinct)]
    if without:
        case.warnings.append(f"no training image has the class {examples(without)}, which the sample asks for")
    alike = _alike(distinct)
    if alike:
        case.warnings.append(f"'{column}': {alike} are two classes; if they are one, correct the cells")


def _several(sets: Sequence[Sequence[str]], distinct: Sequence[str]) -> bool:
    """Do words recur in other cells? Sets have fewer words than there are different cells, or words that stand alone
    somewhere and beside others elsewhere."""
    if max(map(len, sets)) < 2:
        return False
    words = {word for one in sets for word in one}
    alone = {one[0] for one in sets if len(one) == 1}
    beside = {word for one in sets if len(one) > 1 for word in one}
    shared = sum(sum(word in one for one in {tuple(s) for s in sets}) > 1 for word in beside)
    return bool(alone & beside) or (len(words) <= len(distinct) and shared > 0)


def _is_one_class(case: Case, column: str, distinct: list[str], words: list[str], separator: str) -> bool:
    """`red car`: one class, or the two labels red and car? The sample's cells may tell; a set has no word twice."""
    if not case.fits("classes") or all(name[:1] == "[" for name in distinct):  # Python's lists
        return False
    if "task" in case.given:
        return case.given["task"] == "classes"
    cells = set(case.cells.head(1000)) - {""}
    as_sets = any(len(one) > 1 and set(one) <= set(words) for one in (split_cell(c, separator) for c in cells))
    as_names = cells & set(distinct) and any(len(split_cell(cell, separator)) > 1 for cell in cells)
    parts = {word for name in distinct for word in split_cell(name, separator) if name != word}
    alone = bool(parts & set(distinct))
    if case.metrics and all(metric.tasks == ("labels",) for metric in case.metrics):
        return False
    if as_sets and not as_names:  # the sample's own cell is no name
        return False
    if all(word.isdecimal() for word in words):  # `16 0` is no name
        return False
    if alone and separator in "|;":  # no name is written so
        return False
    if len(parts & set(distinct)) >= 0.5 * len(parts):  # most words are cells of their own elsewhere
        return False
    several = ("labels", f"{len(words):,} words ({examples(words, 4)}), several per image")
    one = ("classes", f"{len(distinct):,} names ({examples(distinct, 4)}), one per image")
    question = f"Column '{column}' holds {separator!r}: are its cells sets of words, or names?"
    return case.choose("task", question, [several, one]) == "classes"


def _alike(distinct: Sequence[str]) -> str:
    """`Dog and dog`, where two classes differ in case alone; "" where none do."""
    seen: dict[str, str] = {}
    for name in distinct:
        other = seen.setdefault(name.casefold().strip(), name)
        if other != name:
            return f"{other} and {name}"
    return ""
