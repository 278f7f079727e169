"""Tables with a row per image and class, or question: `ID_2f306dc01_epidural`, where ID_2f306dc01 is a picture."""

from dataclasses import dataclass

import pandas as pd

from kit.data.matching import FileNames
from kit.data.text_tables import a_column_each
from kit.joined import joined, split_joined

MARKS = "_-|:/. "
MOST_NAMES = 200
LOOKED_AT = 2000  # rows
FARTHEST = 8  # marks from the right


@dataclass(frozen=True)
class RowsPerClass:
    """`id_column` holds an image's id, `joint` and one of `names`; `column` the value."""

    id_column: str
    column: str
    joint: str
    names: list[str]

    def wide(self, table: pd.DataFrame) -> pd.DataFrame:
        """A row per image, in their order; a column per name, "" where it has no row."""
        return a_column_each(table, self.id_column, self.column, self.joint, self.names)

    def long(self, wide: pd.DataFrame) -> pd.DataFrame:
        """The inverse of `wide`."""
        rows = joined(wide[self.id_column].tolist(), self.joint, self.names)
        return pd.DataFrame({self.id_column: rows, self.column: wide[self.names].to_numpy().ravel()})

    def of(self, table: pd.DataFrame) -> "RowsPerClass | None":
        """The same form in another table, whose columns may be called otherwise."""
        for id_column in map(str, table):
            others = [str(name) for name in table if name != id_column]
            column = self.column if self.column in others else others[0] if len(others) == 1 else None
            try:
                split_joined(table[id_column].head(LOOKED_AT).tolist(), self.joint, self.names)
            except ValueError:
                continue
            if column is not None and len(table):
                return RowsPerClass(id_column, column, self.joint, self.names)
        return None


def rows_per_class(table: pd.DataFrame, known: FileNames) -> RowsPerClass | None:
    """Where some column's cells are pictures' ids and one of a few names, and every image has all of them. `column` is
    the first of the others."""
    for id_column in map(str, table):
        others = [str(name) for name in table if name != id_column]
        if not others or not table[id_column].is_unique:
            continue
        cells = table[id_column].tolist()
        parts = [_cut(cell, known) for cell in cells[:LOOKED_AT]]
        found = [part for part in parts if part is not None]
        joints, names = {joint for _, joint, _ in found}, list(dict.fromkeys(name for _, _, name in found))
        if len(found) < len(parts) or len(joints) != 1 or not 1 < len(names) <= MOST_NAMES:
            continue
        try:
            images = set(split_joined(cells, form := joints.pop(), names)[0])
        except ValueError:
            continue
        if len(cells) == len(images) * len(names):
            return RowsPerClass(id_column, others[0], form, names)
    return None


def _cut(cell: str, known: FileNames) -> tuple[str, str, str] | None:
    """(a picture's id, the mark behind it, the rest), the longest id that there is."""
    places = [place for place, letter in enumerate(cell) if letter in MARKS and place]
    ids = [cell[:place] for place in reversed(places[-FARTHEST:])]
    match = known.exactly(ids).places
    found = next((one for one, there in zip(ids, match, strict=True) if there), None)
    if found is None:
        return None
    name = cell[len(found) :].lstrip(MARKS)
    return found, cell[len(found) : len(cell) - len(name)], name
