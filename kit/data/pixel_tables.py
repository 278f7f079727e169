"""Tables with a row per picture: a column per pixel (pixel0, pixel1, ...), or one column of all its pixels as words."""

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit.errors import KitError

FEW = 16  # numbers in a row: fewer are no pixels
FEW_WORDS = 64  # numbers in a cell
LOOKED_AT = 5  # rows
LINES = 50  # looked at for a header


def pixel_columns(columns: Iterable[object]) -> list[str]:
    """Those that hold a pixel each: pixel0, pixel1, ..., or 0, 1, ..."""
    names = [str(column) for column in columns]
    called = [name for name in names if name.startswith("pixel") and name[5:].isdecimal()]
    numbers = [name for name in names if name.isdecimal()]
    return called or (numbers if len(numbers) >= FEW else [])


def pixel_words(table: pd.DataFrame) -> str | None:
    """The column whose cells are pictures, as numbers in 0..255 with blanks between them, as many in each."""
    for name in map(str, table):
        cells = [str(cell).split() for cell in table[name].head(LOOKED_AT)]
        if not cells or len(cells[0]) < FEW_WORDS or any(len(cell) != len(cells[0]) for cell in cells):
            continue
        if all(word.isdecimal() and len(word) <= 3 and int(word) <= 255 for cell in cells for word in cell):
            return name
    return None


def num_pixels(table: pd.DataFrame) -> int:
    """Of a row's picture; 0 where the table, as text, holds none."""
    columns = pixel_columns(table.columns)
    if columns:
        return len(columns)
    words = pixel_words(table)
    return len(table[words].iloc[0].split()) if words is not None else 0


def is_of_pixels(table: pd.DataFrame) -> bool:
    """By words or by what columns are called: bare numbers may be classes as well."""
    return "pixel0" in table or "pixel1" in table or pixel_words(table) is not None


def without_pixels(table: pd.DataFrame) -> list[str]:
    """Its other columns."""
    taken = {*pixel_columns(table.columns), pixel_words(table)}
    return [str(column) for column in table if column not in taken]


def names_without_header(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """What the columns are called, where the first row is a square picture's pixels, maybe with its class before or
    behind them: pixel0, pixel1, ..., and `label`. `None` where it is something else, or a header: its names differ."""
    row = rows[0] if rows else []
    if len(row) < FEW_WORDS or len(set(row)) == len(row) or not all(cell.isdecimal() for cell in row):
        return None
    count = math.isqrt(len(row)) ** 2
    pixels = [f"pixel{number}" for number in range(count)]
    if count == len(row):
        return pixels
    if count != len(row) - 1:
        return None
    first, last = ({one[place] for one in rows if len(one) == len(row)} for place in (0, -1))
    return [*pixels, "label"] if len(first) == 1 < len(last) else ["label", *pixels]


def read_pixel_csv(file: Path) -> pd.DataFrame:
    """Pixels in columns of their own as numbers, everything else as text."""
    first = pd.read_csv(file, nrows=LINES, header=None, dtype=str, keep_default_na=False)
    names = names_without_header(first.apply(lambda cells: cells.str.strip()).to_numpy().tolist())
    header = names or list(pd.read_csv(file, nrows=0).columns)
    pixels = set(pixel_columns(header))
    text = {name: str for name in header if name not in pixels}
    empty = {name: [""] for name in pixels}
    first_row = None if names is not None else 0
    table = pd.read_csv(file, header=first_row, names=names, dtype=text, keep_default_na=False, na_values=empty)
    return table.rename(columns=str.strip)


def pixels_of(file: Path, table: pd.DataFrame) -> np.ndarray:
    """uint8 (N, S, S), or (N, pixels) where they are not square. Raises `KitError` with the row that holds others."""
    columns, words = pixel_columns(table.columns), pixel_words(table)
    if table.empty or not (columns or words):
        expected = "columns pixel0, pixel1, ... (or 0, 1, ...), or a column of pixels with blanks between them"
        raise KitError(f"{file}: has no {expected}, or no rows; pixels in a table need both")
    values = table[columns].to_numpy() if columns else _split(file, table[words])
    prefix = columns[0].rstrip("0123456789") if columns else ""
    if columns and columns not in [[f"{prefix}{k}" for k in range(first, first + len(columns))] for first in (0, 1)]:
        raise KitError(f"{file}: has {len(columns)} pixel columns; expected pixel0, pixel1, ... one after the other")
    bad = ~((values >= 0) & (values <= 255) & (values % 1 == 0)).all(axis=1)
    if bad.any():
        raise KitError(f"{file}: row {np.flatnonzero(bad)[0] + 1} holds a pixel that is not a whole number in 0..255")
    pixels, side = values.astype(np.uint8), math.isqrt(values.shape[1])
    return pixels.reshape(-1, side, side) if side * side == values.shape[1] else pixels


def _split(file: Path, cells: pd.Series) -> np.ndarray:
    """float32 (N, pixels)"""
    width = len(cells.iloc[0].split())
    made = np.empty((len(cells), width), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # of what is no number
        for row, cell in enumerate(cells):
            try:
                made[row] = np.fromstring(cell, np.float32, sep=" ")
            except (ValueError, DeprecationWarning):
                what = f"row {row + 1}, column '{cells.name}'"
                raise KitError(f"{file}: {what}: expected {width:,} numbers with blanks between them") from None
    return made
