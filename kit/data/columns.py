"""What the tables say of a sample beside its picture: text in the index, numbers and codes for the network.

A category's code is its place among the training images' values, in alphabetical order; -1 where it is missing or none
of them. Which values a fold's own model knows, and how numbers are scaled, is learned with it (`models.columns`)."""

import numpy as np
import pandas as pd

from kit.competition import Competition
from kit.errors import KitError, examples

PREFIX = "column_"


def names_of(competition: Competition) -> list[str]:
    """Columns of the index, numbers first; empty where the competition names none."""
    columns = competition.columns
    return [] if columns is None else [f"{PREFIX}{name}" for name in (*columns.numbers, *columns.categories)]


def require_numbers(table: pd.DataFrame, competition: Competition, file: str) -> None:
    """Raise `KitError` where a cell of a column of numbers is none."""
    for name in competition.columns.numbers if competition.columns is not None else ():
        cells = table[name].str.strip()
        wrong = cells[(cells != "") & ~np.isfinite(pd.to_numeric(cells, errors="coerce"))]
        wrong = wrong[~wrong.str.lower().isin(("nan", "na", "null", "none"))]
        if len(wrong):
            raise KitError(f"{file}: column '{name}' holds {examples(wrong)}: no number; correct `columns` in the YAML")


def vocabulary(index: pd.DataFrame, competition: Competition) -> list[list[str]]:
    """Of each category the training images' values."""
    train = index[index["split"] == "train"]
    named = competition.columns.categories if competition.columns is not None else ()
    return [sorted(set(train[f"{PREFIX}{name}"].astype(str)) - {"", "nan"}) for name in named]


def column_values(index: pd.DataFrame, competition: Competition) -> np.ndarray:
    """float32 (N, F): numbers, nan where missing; then codes."""
    columns = competition.columns
    assert columns is not None
    values = [pd.to_numeric(index[f"{PREFIX}{name}"], errors="coerce") for name in columns.numbers]
    for name, known in zip(columns.categories, vocabulary(index, competition), strict=True):
        place = {value: code for code, value in enumerate(known)}
        values.append(index[f"{PREFIX}{name}"].map(place).fillna(-1))
    made = np.stack([column.to_numpy(np.float32) for column in values], axis=1)
    made[~np.isfinite(made)] = np.nan
    return made
