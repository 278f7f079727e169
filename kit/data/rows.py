"""Tables of images and predictions: a CSV, with the predictions beside it in a .npz where there are many.

5,000 columns of text take minutes and hundreds of megabytes; float32 takes a fraction of both."""

from pathlib import Path

import numpy as np
import pandas as pd

from kit.data.table import read_csv
from kit.errors import KitError
from kit.workspace import atomic_path

MANY = 500  # columns of predictions, from which on they are no text


def write_rows(table: pd.DataFrame, path: Path) -> None:
    """`table` as a CSV; many columns of probabilities go into a .npz of the same name."""
    many = [column for column in table if str(column).startswith("prob_")]
    beside = path.with_suffix(".npz")
    if len(many) >= MANY:
        with atomic_path(beside) as temporary, temporary.open("wb") as file:
            np.savez(file, columns=np.array(many, dtype=str), values=table[many].to_numpy(np.float32))
        table = table.drop(columns=many)
    else:
        beside.unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.8g")


def read_rows(path: Path) -> pd.DataFrame:
    """A CSV of images (folds, OOF, test predictions): ids and targets stay text, so `NA` and `007` survive."""
    table, beside = read_csv(path, ("image_id",), ()), path.with_suffix(".npz")
    if not beside.is_file():
        return table
    with np.load(beside) as held:
        values, columns = held["values"].astype(np.float64), held["columns"].tolist()
    if len(values) != len(table):
        rows = f"{len(values):,} rows, {path.name} {len(table):,}"
        raise KitError(f"{beside}: holds {rows}; type `kit predict --force`")
    return table.join(pd.DataFrame(values, columns=columns))


def files_of(path: Path) -> list[Path]:
    """The CSV and what lies beside it."""
    beside = path.with_suffix(".npz")
    return [path, beside] if beside.is_file() else [path]
