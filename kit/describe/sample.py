"""What is to be handed in: the sample submission's ids and answers, by its cells; without one, the test table's."""

import pandas as pd

from kit.data.matching import FileNames
from kit.data.pixel_tables import is_of_pixels
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.describe.joined import RowsPerClass, rows_per_class
from kit.describe.names import is_sample, is_test, is_train, plainest
from kit.errors import KitError, examples

USAGE = {"public", "private", "ignored", ""}


def read_sample(inventory: Inventory, case: Case) -> None:
    """Finds the sample submission, or else a table of the test images, and what its columns are."""
    tables = [entry for entry in inventory.entries if entry.is_table]
    ids = _known_ids(inventory)
    named = [e for e in tables if is_sample(e.name) and not is_train(e.name)]
    if "files.sample_submission" in case.given:
        named = [e for e in tables if case.given["files.sample_submission"] in {e.name, e.role}]
    if named:
        found = [(entry, *_id_column(entry.table(), ids)) for entry in named]
        found.sort(key=lambda one: (-one[2], "sample" not in one[0].name.lower(), *plainest(one[0].name)))
        entry, column, share = found[0]
        _take_sample(entry, column, share, ids, case)
        others = [one[0].name for one in found[1:]]
        if others:
            case.warnings.append(f"{examples(others)}: another sample submission, not used")
        case.test_table = _test_table(tables, case)
        return
    lists = [(entry, *_id_column(entry.table(), ids)) for entry in tables if is_test(entry.name)]
    lists = [one for one in lists if one[2] == 1 and not is_of_pixels(one[0].head())]
    if lists:
        entry, column, _ = min(lists, key=lambda one: plainest(one[0].name))
        case.test_table, case.test_role = entry.table(), entry.role
        case.sample_id, case.ids = column, case.test_table[column].tolist()
        case.raw["files"]["test_ids"] = [entry.role]
        case.used.add(entry.role)
        case.because(f"no sample submission: a row for each of {entry.name}'s {len(case.ids):,} in column '{column}'")
    else:
        case.because("no sample submission: a row per test image")


def _take_rows(entry: Entry, table: pd.DataFrame, form: RowsPerClass, case: Case) -> None:
    """As if it had a column per class."""
    wide = form.wide(table)
    case.sample, case.sample_id, case.answers, case.ids = (
        wide,
        form.id_column,
        form.names,
        wide[form.id_column].tolist(),
    )
    case.rows = form
    case.raw["files"]["sample_submission"] = [entry.role]
    case.used.add(entry.role)
    what = f"{len(table):,} rows, one per image and class: '{table[form.id_column].iloc[0]}'"
    case.because(f"sample submission {entry.name}: {what}; classes {examples(form.names, 6)}")


def _take_sample(entry: Entry, column: str, share: float, known: FileNames, case: Case) -> None:
    table = entry.table()
    if not share and (form := rows_per_class(table, known)) is not None:
        values = [str(name) for name in table if name != form.id_column and not _is_usage(table[name])]
        if len(values) > 1:
            rows = f"a row per image and {examples(form.names, 4)}"
            raise KitError(f"{entry.name}: {rows}, with {len(values)} answers ({examples(values)}): the kit writes one")
        _take_rows(entry, table, form, case)
        return
    others = [str(name) for name in table if name != column and not _is_index(table, str(name))]
    answers = [name for name in others if not _is_usage(table[name])]
    if not answers:
        there = examples(map(repr, table.columns))
        raise KitError(f"{entry.name}: a sample submission has an id and an answer; its columns: {there}")
    case.sample, case.sample_id, case.answers = table, column, answers
    case.ids = table[column].tolist() if share else []
    case.raw["files"]["sample_submission"] = [entry.role]
    case.used.add(entry.role)
    by = "" if share or len(table) == 0 else "; no cell of it names a picture"
    listing = f"ids in '{column}'{by}, answers in {examples(answers, 4)}"
    case.because(f"sample submission {entry.name}: {len(table):,} rows, {listing}")


def _test_table(tables: list[Entry], case: Case) -> pd.DataFrame | None:
    """What is known of the test images: a table that names them."""
    ids = set(case.ids[:1000])
    for entry in sorted(tables, key=lambda entry: plainest(entry.name)):
        known = is_test(entry.name) and entry.role not in case.used
        if known and any(len(ids & set(cells)) > 0.5 * len(ids) for _, cells in entry.table().items()):
            case.used.add(entry.role)
            case.test_role = entry.role
            return entry.table()
    return None


def _known_ids(inventory: Inventory) -> FileNames:
    """Everything that an id may name: the pictures, and the images that a JSON lists by number."""
    names = [name for entry in inventory.entries for name in entry.named]
    pictures = FileNames(names)
    for entry in inventory.entries:
        if (coco := entry.coco()) is not None:
            match = pictures.exactly(list(map(str, coco.files)))
            names += [f"{entry.role}#/{i}" for i, found in zip(coco.files, match.places, strict=True) if not found]
    return FileNames(names)


def _id_column(table: pd.DataFrame, names: FileNames) -> tuple[str, float]:
    """(the column whose cells are names of pictures, the share of them that are); else the first that is no index."""
    head = table.head(2000)
    columns = [str(name) for name in table if not _is_index(table, str(name))] or [str(name) for name in table]
    exact = {name: names.exactly(head[name].tolist()).share for name in columns if head[name].is_unique}
    best = max(exact, key=lambda name: exact[name], default=None)
    if best is not None and exact[best] < 1:
        near = {name: names.match(head[name].tolist()).share for name in exact}
        best = max(near, key=lambda name: near[name])
        exact = near
    if best is None or exact[best] < 0.5:
        unique = [name for name in columns if table[name].is_unique]
        return (unique or columns)[0], 0.0
    return best, exact[best]


def _is_index(table: pd.DataFrame, column: str) -> bool:
    """Row numbers in a column without a name, as pandas writes them."""
    return column == "" and table[column].tolist() == [str(row) for row in range(len(table))]


def _is_usage(column: pd.Series) -> bool:
    return str(column.name).lower() == "usage" and set(column.str.lower()) <= USAGE
