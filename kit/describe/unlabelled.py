"""Why no labels were found, with the nearest table and its column."""

import re

import pandas as pd

from kit.data.matching import FileNames
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.describe.names import is_sample, is_test, is_train
from kit.describe.pictures import Pictures
from kit.errors import KitError, examples

_BOXES = re.compile(r"[xy][_.]?(min|max|[12])?$|b?box|encoded_?pixels|rle", re.I)


def asked_table(inventory: Inventory, case: Case) -> Entry | None:
    """A table of what the sample asks for, by its columns."""
    if not case.answers:
        return None
    wanted = {case.sample_id, *case.answers}
    tables = [e for e in inventory.entries if e.is_table and not is_sample(e.name) and not is_test(e.name)]
    return next((entry for entry in tables if wanted <= set(entry.table())), None)


def require_answers(entry: Entry, named: str, rows: pd.DataFrame, inventory: Inventory, case: Case) -> None:
    """Raise `KitError` where the table of the pictures, by its column `named`, has nothing that the sample asks for,
    and another table has all of it and another column in common: a site's answer, and a site's photos."""
    holder = asked_table(inventory, case)
    if holder is None or set(case.answers) & set(rows) or {"labels.column", "files.train_labels"} & set(case.given):
        return
    if any(case.values & set(rows[column]) for column in rows if column != named):
        return
    shared = [str(column) for column in holder.table() if column in rows and column not in {"", named}]
    if shared:
        what = f"{holder.name} has {examples(case.answers, 4)}, and {entry.name} names the pictures"
        raise KitError(f"{what}: join them by '{shared[0]}' into one table, train.csv, with a row per picture")


def nothing(pictures: Pictures, names: FileNames, inventory: Inventory, case: Case, asked: Entry | None = None) -> str:
    """Nothing fits: the nearest table's column, and why it does not. `asked`: see `asked_table`."""
    where = " and ".join(entry.name for entry in pictures.train)
    base = f"no labels found: no table has a column with the names of {where}'s files ({examples(names.files)})"
    tables = [e for e in inventory.entries if e.is_table and e.role not in case.used and not is_test(e.name)]
    near = [(e, str(c)) for e in sorted(tables, key=lambda e: not is_train(e.name)) for c in e.table()][:40]
    best = max(near, key=lambda one: _nearness(one[0].table()[one[1]], names), default=None)
    if best is not None:
        entry, column = best
        cells = entry.table()[column]
        twice = cells[cells.duplicated()].unique()
        repeats = f"{len(twice):,} of its cells stand in several rows ({examples(twice)}); a picture has one row"
        known = len(twice) and names.exactly(cells.tolist()).share > 0.5
        why = repeats if known else names.why_not(cells.head(2000).tolist())
        base += f"; nearest is {entry.name}, column '{column}': {why}"
        if known and (boxes := [str(name) for name in entry.table() if _BOXES.match(str(name))]):
            return f"{base}; {examples(boxes)}: a row per box. The kit tells what a whole picture shows, not where"
    if asked is not None:
        holds = f"{asked.name} has the sample's '{examples(case.answers, 4)}', so no folder tells the class"
        return f"{base}; and {holds} (--set labels.layout=folders: it does)"
    return f"{base}; and they are neither in class folders nor named class.id.ext{inventory.also()}"


def _nearness(cells: pd.Series, names: FileNames) -> float:
    head = cells.head(500).tolist()
    return names.match(head).share + 0.1 * cells.is_unique
