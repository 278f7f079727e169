"""Columns of the tables that may help beside the picture: known of training and test images alike, and no disguise of
the answer or of the image's name."""

from collections.abc import Sequence

import pandas as pd

from kit.describe.case import Case
from kit.describe.groups import SURE
from kit.errors import examples

MOST_VALUES = 50  # of a category
FEW_NUMBERS = 10  # whole numbers with at most so many values are categories
MISSING = ("", "nan", "na", "null", "none", "unknown")
MOSTLY = 0.5  # so much of a column must be known


def propose_columns(case: Case) -> None:
    """`columns` in the YAML's mapping, and `files.test_table`; what is not proposed is not said."""
    table, test = case.table, case.test_table
    if table is None or test is None or case.test_role is None or not len(test):
        return
    labels, pictures = case.raw["labels"], case.raw.get("pictures", {})
    taken = {case.id_column, labels.get("column"), labels.get("group_column"), case.sample_id, *case.answers}
    taken |= {*pictures.get("columns", ()), *labels.get("only", ())}
    kinds: dict[str, list[str]] = {"number": [], "category": []}
    for name in map(str, table):
        if name in taken or name not in test or name == "" or SURE.match(name.lower()):
            continue
        kind = _kind(table[name], test[name])
        if kind is None or _is_disguise(table[name], table, case) or _varies(name, table, pictures.get("columns", ())):
            continue
        kinds[kind].append(name)
    numbers, categories = kinds.values()
    if not numbers and not categories:
        return
    case.raw["columns"] = {"numbers": numbers, "categories": categories}
    case.raw["files"]["test_table"] = [case.test_role]
    text = f"columns beside the picture, in both tables: {examples([*numbers, *categories], 8)}"
    case.because(f"{text}; not used: data.columns: true in an experiment trains with them")


def _kind(column: pd.Series, test: pd.Series) -> str | None:
    """`number` or `category`; `None` for names, constants and what is hardly ever known."""
    known, theirs = (one[~one.str.strip().str.lower().isin(MISSING)] for one in (column, test))
    count = known.nunique()
    if len(known) < MOSTLY * len(column) or len(theirs) < MOSTLY * len(test) or count < 2:
        return None
    values = pd.to_numeric(known, errors="coerce")
    if values.notna().all() and pd.to_numeric(theirs, errors="coerce").notna().all():
        if bool((values % 1 == 0).all()):
            if known.is_unique and len(known) > FEW_NUMBERS:  # a number of its own for each image: its name
                return None
            return "category" if count <= FEW_NUMBERS else "number"
        return "number"
    return "category" if count <= MOST_VALUES and count < 0.5 * len(known) else None


def _varies(name: str, table: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Is it of the pictures of a sample, and not of the sample?"""
    return bool(columns) and bool((table.groupby(list(columns))[name].nunique() > 1).any())


def _is_disguise(column: pd.Series, table: pd.DataFrame, case: Case) -> bool:
    """Does each value belong to one answer, and each answer to one value?"""
    target = case.raw["labels"].get("column")
    if case.raw["task"] == "number" or target not in table:
        return False
    pairs = pd.DataFrame({"value": column, "answer": table[target]})
    pairs = pairs[(pairs != "").all(axis=1)].drop_duplicates()
    return bool(pairs["value"].is_unique and pairs["answer"].is_unique)
