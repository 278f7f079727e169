"""Tables that name the training pictures, and which of them has the labels."""

from dataclasses import dataclass

import pandas as pd

from kit.data.matching import FileNames, Match
from kit.data.pixel_tables import is_of_pixels
from kit.describe.case import Case
from kit.describe.entry import Entry, Inventory
from kit.describe.joined import RowsPerClass
from kit.describe.names import is_sample, is_test, is_train, is_validation, plainest, split_column
from kit.errors import examples


@dataclass(frozen=True)
class Table:
    """A table whose `column` names the training pictures."""

    entry: Entry
    column: str
    match: Match
    rows: pd.DataFrame
    form: RowsPerClass | None = None  # of the file, where it has a row per image and class

    def evidence(self, case: Case) -> int:
        """How much of it the sample asks for: columns by name, else whether a column holds its values."""
        asked = len(set(case.answers) & set(self.rows.columns))
        if asked or not case.values:
            return 2 * asked  # a name says more than a value, which a 0 or 1 may be by chance
        columns = [self.rows[column] for column in self.rows if column != self.column]
        return int(any(case.values & set(column) for column in columns))


def naming_tables(names: FileNames, inventory: Inventory, case: Case) -> list[Table]:
    """Those with a column that names the pictures; literally, where one does."""
    found, folders = [], {folder for file in names.files for folder in file.split("/")[:-1]}
    for entry in inventory.entries:
        train = is_train(entry.name) or is_validation(entry.name)
        if (
            not entry.is_table
            or (entry.role in case.used and entry.container is None)
            or (is_test(entry.name) and not train)
            or is_sample(entry.name)
        ):
            continue
        rows = entry.rows()
        if is_of_pixels(rows):
            continue
        codes = entry.mapping()  # which may be called as some files are
        if (
            codes
            and len(rows) < len(names.files) / 2
            and (entry.name.lower().endswith(".json") or folders & {*codes, *codes.values()})
        ):
            continue
        if (form := case.rows.of(rows) if case.rows is not None else None) is not None:
            rows = form.wide(rows)
        if (only := split_column(rows)) is not None:
            rows = rows[rows[only[0]].isin(only[1])]
        matches = {str(c): names.match(rows[c].tolist()) for c in _candidates(rows)}
        fitting = {c: m for c, m in matches.items() if m.fits(len(names.files))}
        half = len(names.files) / 2  # of a few rows chance may make file names
        fitting = {c: m for c, m in fitting.items() if not m.how or sum(map(bool, m.places)) >= half}
        literal = {c: m for c, m in fitting.items() if not m.how}
        columns = literal or fitting
        if columns:
            column = _id_column(columns, rows, entry.name, case)
            found.append(Table(entry, column, columns[column], rows, form))
    return found


def _candidates(rows: pd.DataFrame) -> list[str]:
    """Columns that may be ids: no two cells alike, and no row numbers in a column without a name."""
    numbers = [str(row) for row in range(len(rows))]
    return [str(c) for c in rows if rows[c].is_unique and not (c == "" and rows[c].tolist() == numbers)]


def _id_column(columns: dict[str, Match], rows: pd.DataFrame, name: str, case: Case) -> str:
    best = max(match.share for match in columns.values())
    options = [name for name, match in columns.items() if match.share == best]
    if case.sample_id in options and "labels.id_column" not in case.given:
        return case.sample_id
    options = _asked_for(options, case) or options
    meanings = [(one, f"{name}: {examples(rows[one])}") for one in options]
    return case.choose("labels.id_column", f"{name}: several columns name the pictures.", meanings)


def _asked_for(columns: list[str], case: Case) -> list[str]:
    """Those by which a table of the test images calls what the sample asks for."""
    test, ids = case.test_table, set(case.ids)
    return [] if test is None else [name for name in columns if name in test and ids and ids <= set(test[name])]


def choose_table(tables: list[Table], case: Case) -> Table | None:
    """The one that the sample asks most of; of equal ones train's; `None` of none."""
    if not tables:
        return None
    if "files.train_labels" in case.given:
        wanted = case.given["files.train_labels"]
        tables = [table for table in tables if wanted in {table.entry.name, table.entry.role}] or tables

    def rank(table: Table) -> tuple[int, bool]:
        return -table.evidence(case), not is_train(table.entry.name)

    tables = sorted(tables, key=lambda table: (rank(table), plainest(table.entry.name)))
    equal = [table for table in tables if rank(table) == rank(tables[0])]
    equal = [one for n, one in enumerate(equal) if not any(one.rows.equals(other.rows) for other in equal[:n])]
    if len({tuple(table.rows.columns) for table in equal}) > 1 or disagree(equal):
        options = [(t.entry.name, f"{len(t.rows):,} rows, columns {examples(t.rows.columns, 4)}") for t in equal]
        name = case.choose("files.train_labels", "Several tables name the pictures.", options)
        return next(table for table in equal if table.entry.name == name)
    return tables[0]


def disagree(tables: list[Table]) -> bool:
    """Do two tables of the same columns name the same picture?"""
    ids = [set(table.rows[table.column]) for table in tables]
    return any(one & two for number, one in enumerate(ids) for two in ids[:number])
