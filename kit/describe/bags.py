"""Samples of several pictures, by their tables: what is handed in is a patient or a breast, and the tables' rows are
pictures of it."""

from collections.abc import Iterator
from itertools import permutations

import pandas as pd

from kit.data.matching import FileNames
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.describe.names import is_sample, is_test, plainest
from kit.errors import examples

JOINTS = ("_", "-", "")


def find_samples(inventory: Inventory, case: Case) -> None:
    """Where no id of the sample submission names a picture, but a table of the test pictures tells which of them each
    id is about, by columns that a table of the training pictures has too: writes `pictures`, `files.test_table`."""
    if case.sample is None or case.ids or case.rows is not None or "pictures" in case.raw:
        return
    names = FileNames([name for entry in inventory.entries for name in entry.named])
    wanted = set(case.sample[case.sample_id])
    tables = [entry for entry in inventory.entries if entry.is_table and not is_sample(entry.name)]
    for entry in sorted(tables, key=lambda entry: (not is_test(entry.name), plainest(entry.name))):
        rows = entry.table()
        pictures = next((str(c) for c in rows if rows[c].is_unique and names.match(rows[c].tolist()).share == 1), None)
        about = next((str(c) for c in rows if wanted and set(rows[c]) >= wanted and c != pictures), None)
        if pictures is None or about is None:
            continue
        others = [other.table() for other in tables if other is not entry and pictures in other.table()]
        for columns, joint in _ways(rows, about):
            if others and all(set(columns) <= set(other) for other in others):
                _take(entry, rows, pictures, columns, joint, case)
                return


def _ways(rows: pd.DataFrame, about: str) -> Iterator[tuple[list[str], str]]:
    """(columns, what stands between them) that make the cells of `about`."""
    yield [about], "_"
    others = [str(name) for name in rows if name != about]
    for one, two in permutations(others, 2):
        for joint in JOINTS:
            if (rows[one] + joint + rows[two]).equals(rows[about].rename(None)):
                yield [one, two], joint


def _take(entry: Entry, rows: pd.DataFrame, pictures: str, columns: list[str], joint: str, case: Case) -> None:
    case.raw["pictures"] = {"columns": columns} | ({"separator": joint} if joint != "_" else {})
    case.raw["files"]["test_table"] = [entry.role]
    case.used.add(entry.role)
    case.test_table, case.test_role, case.ids = rows, entry.role, rows[pictures].tolist()
    count = rows.groupby(columns).size()
    what = f"a sample has up to {count.max()} pictures, the rows of {entry.name} that share {' and '.join(columns)}"
    case.because(f"{what} ({examples(case.sample[case.sample_id], 2) if case.sample is not None else ''})")
