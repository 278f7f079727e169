"""Tables that people send: a CSV by whatever delimiter, encoding and header it has -> every cell as text.

What a file is, is decided by its bytes and ending alone, so `kit init` and `kit index` read the same."""

import codecs
import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from kit import console
from kit.data.containers import other_columns
from kit.data.images import EXTENSIONS
from kit.data.label_arrays import array_table
from kit.data.matching import ARRAYS
from kit.data.pixel_tables import FEW, LINES, names_without_header
from kit.errors import KitError, counted, examples, reason
from kit.joined import joined, split_joined

ENDINGS = (".csv", ".tsv", ".parquet")
DELIMITERS = (",", ";", "\t", "|")
LISTING = ".txt"  # a table where its rows begin with pictures' names
MOST_LONGER = 0.1  # of the rows, with a comma too many
_PARTS = re.compile(r"(train|val|valid|validation|dev|test)(ing|_|-|$)", re.I)
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text_csv(source: Path | BinaryIO, name: str, nrows: int | None = None) -> pd.DataFrame:
    """Any CSV, every cell as text: delimited by comma, semicolon, tab or bar, in UTF-8, UTF-16 or Latin-1; without a
    header its columns are called column1, column2, ..., or label, pixel0, ... A few rows with too many cells are left
    out, with a warning; between semicolons decimal commas become points. JSON as `json_table` reads it, .npy and
    .npz as `array_table`. Raises `KitError` with the file's name when it is none."""
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
    except FileNotFoundError:
        raise KitError(f"{name}: no such file") from None
    except OSError as error:
        raise KitError(f"{name}: cannot be read: {reason(error)}") from None
    if name.lower().endswith(".json"):
        return json_table(data, name)
    if name.lower().endswith(ARRAYS):
        return array_table(data, name)
    if isinstance(source, Path) and source.suffix == ".parquet":
        return other_columns(source)
    if data[:64].lstrip()[:1] in {b"<", b"{"}:
        raise KitError(f"{name}: is not a CSV (it begins with {data[:20]!r}); get it again")
    encoding = encoding_of(data)
    try:
        head = codecs.getincrementaldecoder(encoding)().decode(data[: 1 << 16])
    except UnicodeDecodeError as error:
        raise KitError(f"{name}: cannot be read as CSV: {reason(error)}") from None
    lines = [line for line in head.splitlines() if line.strip()][:LINES]
    delimiter = _delimiter(lines, (*DELIMITERS, " ") if name.lower().endswith(LISTING) else DELIMITERS)
    first = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
    names = names_without_header(first)
    if names is None and first and not _has_header(first):
        names = [f"column{number + 1}" for number in range(len(first[0]))]

    def read(**options: Any) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(data), sep=delimiter, dtype=str, keep_default_na=False, nrows=nrows, encoding=encoding,
            skipinitialspace=True, header="infer" if names is None else None, names=names, **options,
        )  # fmt: skip

    longer: list[list[str]] = []
    try:
        try:
            table = read()
        except pd.errors.ParserError:
            table = read(engine="python", on_bad_lines=longer.append).fillna("")
            if len(longer) > MOST_LONGER * len(table):
                raise
    except ValueError as error:
        raise KitError(f"{name}: cannot be read as CSV: {reason(error)}") from None
    if longer and nrows is None:
        found = examples(row[0] for row in longer)
        console.warn(f"{name}: {counted(len(longer), 'row')} with too many cells left out ({found})")
    for column in table if delimiter == ";" else ():
        if _has_decimal_commas(table[column]):
            table[column] = table[column].str.replace(",", ".")
    unnamed = [column for column in table if re.fullmatch(r"Unnamed: \d+", str(column))]  # as pandas calls them
    table.columns = pd.Index(["" if [column] == unnamed else str(column).strip() for column in table])
    return table


def json_table(data: bytes, name: str) -> pd.DataFrame:
    """A list of words (column `id`) or of objects; an object of words (`id` and `label`), of objects, or of classes and
    lists of their images."""
    try:
        held = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KitError(f"{name}: cannot be read as JSON: {reason(error)}") from None
    if isinstance(held, dict) and (files := _files_of_classes(held)):
        held = files
    elif isinstance(held, dict):
        held = [{"id": key} | (row if isinstance(row, dict) else {"label": row}) for key, row in held.items()]
    rows = [row if isinstance(row, dict) else {"id": row} for row in held] if isinstance(held, list) else []
    bands = {key for row in rows[:1] for key, value in row.items() if _is_band(value)}
    rows = [{key: value for key, value in row.items() if key not in bands} for row in rows] if bands else rows
    deep = [value for row in rows for value in row.values() if isinstance(value, dict) or _is_deep(value)]
    if deep or not rows:
        found = f"; a row holds {str(deep[0])[:60]}" if deep else ""
        raise KitError(f"{name}: is no table: expected a list of rows, each of words and numbers{found}")
    return pd.DataFrame([{key: _json_cell(value) for key, value in row.items()} for row in rows], dtype=str).fillna("")


def a_column_each(table: pd.DataFrame, id_column: str, column: str, joint: str, names: Sequence[str]) -> pd.DataFrame:
    """A row per image and class, `id_column` an id, `joint` and one of `names` -> a row per image, in their order, with
    a column per name, "" where it has no row, and what else all rows of an image say alike. Raises `ValueError` with a
    cell that is none, or an image with two different answers."""
    images, places = split_joined(table[id_column].tolist(), joint, names)
    cells = pd.DataFrame({"image": images, "place": places, "cell": table[column]}).drop_duplicates()
    twice = cells[cells.duplicated(["image", "place"])]
    if len(twice):
        raise ValueError(joined([twice["image"].iloc[0]], joint, [names[twice["place"].iloc[0]]])[0])
    wide = cells.pivot(index="image", columns="place", values="cell").reindex(columns=range(len(names)))
    wide = wide.fillna("").loc[list(dict.fromkeys(images))]
    wide.columns = pd.Index(names)
    others = [name for name in table if name not in {id_column, column, *names}]
    if others:
        by_image = table[others].groupby(np.array(images, dtype=object), sort=False)
        most = by_image.nunique().max().to_dict()
        wide = wide.join(by_image.first()[[name for name in others if most[name] == 1]])
    return wide.rename_axis(id_column).reset_index()


def _files_of_classes(held: dict[str, object]) -> list[dict[str, str]]:
    """{class: [image, image, ...]} -> a row per image; empty where it is something else: labels of an image recur, and
    train and test, or fold0 and fold1, are no classes."""
    rows = [{"id": one, "label": key} for key, ids in held.items() if isinstance(ids, list) for one in ids]
    all_lists = len(held) > 1 and all(isinstance(ids, list) for ids in held.values())
    if not all_lists or not all(isinstance(row["id"], str) for row in rows):
        return []
    parts = any(_PARTS.match(key) for key in held) or len({re.sub(r"\d+", "", key) for key in held}) == 1
    once = len({row["id"] for row in rows}) == len(rows) >= 2 * len(held)
    return rows if once and not parts else []


def _is_band(value: object) -> bool:
    """A picture's pixels: see `containers`."""
    return isinstance(value, list) and len(value) >= FEW and all(isinstance(one, int | float) for one in value)


def _is_deep(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(one, list | dict) for one in value)


def _json_cell(value: object) -> str:
    if isinstance(value, list):
        return str([str(one) for one in value])  # as Python writes it: `split_cell` reads it
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def encoding_of(data: bytes) -> str:
    """By its mark at the beginning; else UTF-8, or Latin-1 where it is not."""
    marked = next((encoding for mark, encoding in _BOMS if data.startswith(mark)), None)
    if marked is not None:
        return marked
    if b"\0" in data[:200]:  # UTF-16 without its mark
        return "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _has_decimal_commas(cells: pd.Series) -> bool:
    """As many decimals in every cell, two or more, and not three: those may be thousands, and one a label (3,7)."""
    decimals = cells[cells.str.strip() != ""].str.extract(r"^\s*-?\d+,(\d+)\s*$")[0].str.len().unique()
    return len(decimals) == 1 and not pd.isna(decimals[0]) and decimals[0] > 1 and decimals[0] != 3


def lists_pictures(data: bytes) -> bool:
    """Is a text file a table without a header: the same cells in each line, the first a picture's name?"""
    lines = [line for line in data[: 1 << 14].decode("latin-1").splitlines()[:LINES] if line.strip()]
    cells = list(csv.reader(lines, delimiter=_delimiter(lines, (*DELIMITERS, " ")), skipinitialspace=True))[:-1]
    alike = len({len(row) for row in cells}) == 1
    return len(cells) > 1 and alike and len(cells[0]) > 1 and all(_names_picture(row[0]) for row in cells)


def _delimiter(lines: Sequence[str], delimiters: Sequence[str]) -> str:
    """That by which all lines have as many cells, two or more; a comma where none has."""
    for delimiter in delimiters:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
        if counts and counts[0] > 1 and sum(count == counts[0] for count in counts) >= 0.9 * len(counts):
            return delimiter
    return ","


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Is the first row unlike the others? A header names no picture and has no cell that could be its column's."""
    if not rows or any(_names_picture(cell) for cell in rows[0]):
        return not rows
    if len(rows) < 3 or any(len(row) != len(rows[0]) for row in rows):
        return True
    columns = list(zip(*rows, strict=True))
    recurs = any(column[0] in column[1:] and column[0] for column in columns)
    return not (recurs and all(_alike(column[0], column[1:]) for column in columns))


def _names_picture(cell: str) -> bool:
    return any(cell.lower().endswith(ending) for ending in EXTENSIONS)


def _alike(cell: str, others: Sequence[str]) -> bool:
    return cell in others or _shape(cell) in {_shape(other) for other in others}


def _shape(cell: str) -> str:
    return re.sub(r"[A-Za-z]+", "a", re.sub(r"[0-9]+", "9", cell))
