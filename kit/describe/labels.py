"""Where the pictures' labels are: a table, COCO's JSON, class folders, or the files' names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from kit.data.layouts import class_of
from kit.data.matching import FileNames, Match
from kit.data.pixel_tables import is_of_pixels
from kit.describe.annotations import take_coco
from kit.describe.case import Case, number_first
from kit.describe.entry import Entry, Inventory
from kit.describe.folders import Level, class_folders, file_names, one_to_one
from kit.describe.groups import hold_folders_together
from kit.describe.joined import RowsPerClass
from kit.describe.names import is_sample, is_test, is_train, is_validation, plainest, split_column
from kit.describe.pictures import Pictures
from kit.describe.targets import target_of_files, target_of_table
from kit.describe.unlabelled import asked_table, nothing, require_answers
from kit.errors import KitError, counted, examples
from kit.sections import Labels


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


def find_labels(pictures: Pictures, inventory: Inventory, case: Case) -> None:
    names, entries = FileNames(pictures.named), inventory.entries
    tables = _tables(names, inventory, case)
    table = _choose_table(tables, case)
    cocos = [entry for entry in entries if entry.coco() is not None]
    layout = case.given.get("labels.layout", "")
    told = table if layout != "folders" else None
    levels = [] if pictures.shared else class_folders(pictures, told.rows if told else None, told, case)
    if table is not None and levels and not layout:
        layout = _table_or_folders(table, levels, pictures, case)
    if table is not None and layout in {"", "csv"}:
        require_answers(table.entry, table.column, table.rows, inventory, case)
        _take_table(table, tables, names, case)
    elif cocos and layout in {"", "json"} and take_coco(cocos, pictures, names, case):
        return
    elif not layout and (holder := asked_table(inventory, case)) is not None:
        raise KitError(nothing(pictures, names, inventory, case, holder))
    elif levels and layout in {"", "folders"}:
        _take_level(levels, pictures, case)
    elif layout == "folders":
        raise KitError(f"--set labels.layout=folders: no folders of {pictures.train[0].name} tell classes")
    elif not (found := file_names(pictures, any(e.is_table and e.role not in case.used for e in entries), case)):
        raise KitError(nothing(pictures, names, inventory, case))
    else:
        case.raw["labels"] |= {"layout": "filename", **found[1]}
        case.classes = found[0]
        case.because(f"labels in the file names: {examples(PurePosixPath(n).name for n in pictures.named)}")
        target_of_files(case)


def _tables(names: FileNames, inventory: Inventory, case: Case) -> list[Table]:
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


def _choose_table(tables: list[Table], case: Case) -> Table | None:
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
    if len({tuple(table.rows.columns) for table in equal}) > 1 or _disagree(equal):
        options = [(t.entry.name, f"{len(t.rows):,} rows, columns {examples(t.rows.columns, 4)}") for t in equal]
        name = case.choose("files.train_labels", "Several tables name the pictures.", options)
        return next(table for table in equal if table.entry.name == name)
    return tables[0]


def _disagree(tables: list[Table]) -> bool:
    """Do two tables of the same columns name the same picture?"""
    ids = [set(table.rows[table.column]) for table in tables]
    return any(one & two for number, one in enumerate(ids) for two in ids[:number])


def _table_or_folders(table: Table, levels: list[Level], pictures: Pictures, case: Case) -> str:
    by_table, by_folder = bool(table.evidence(case)), any(level.fits(case) for level in levels)
    if by_table != by_folder:
        return "csv" if by_table else "folders"
    validation = [is_validation(entry.name) for entry in pictures.train for _ in entry.pictures]
    only_those = all(validation[place] for places in table.match.places for place in places)
    if not by_table and (only_those or any(one_to_one(lv, table.rows, table.match, pictures) for lv in levels)):
        return "folders"
    options = [
        ("csv", f"{table.entry.name}: columns {examples(table.rows.columns, 4)}"),
        ("folders", f"the folders {examples(levels[0].names, 4)}"),
    ]
    return case.choose("labels.layout", "A table and the folders may both tell the class.", options)


def _take_table(table: Table, tables: list[Table], names: FileNames, case: Case) -> None:
    used = [table]
    if table.match.share == 1:  # others of the same columns, for the pictures that it lacks
        same = [one for one in tables if list(one.rows.columns) == list(table.rows.columns) and one is not table]
        used += [one for one in same if not _disagree([table, one])]
    roles = [one.entry.role for one in used]
    case.raw["files"]["train_labels"] = roles if len(roles) == 1 else [roles]
    case.used |= set(roles)
    case.id_column = table.column
    case.raw["labels"] |= {"layout": "csv", "id_column": table.column}
    if table.form is not None:
        case.raw["labels"] |= {"column": table.form.column, "joined": table.form.joint}
    case.table = pd.concat([one.rows for one in used], ignore_index=True)
    how = f", {table.match.how}" if table.match.how else ""
    where = " and ".join(one.entry.name for one in used)
    case.because(f"labels in {where}: column '{table.column}' names the pictures{how}")
    if (only := split_column(table.entry.table())) is not None:
        case.raw["labels"]["only"] = {only[0]: only[1]}
        case.because(f"of {where}, the rows whose '{only[0]}' is {' or '.join(only[1])}")
    if table.match.share < 1:
        lost = [name for name, places in zip(table.rows[table.column], table.match.places, strict=True) if not places]
        case.warnings.append(f"{where}: {counted(len(lost), 'row')} without a picture ({examples(lost)}), left out")
    unnamed = len(names.files) - len({place for one in used for places in one.match.places for place in places})
    if unnamed and case.raw["files"]["train"] != case.raw["files"].get("test"):
        case.warnings.append(f"{counted(unnamed, 'training picture')} in no row of {where}, left out")
    target_of_table(case)
    _take_test_labels(case)


def _take_test_labels(case: Case) -> None:
    """Where the table of the test images has their classes too: they score."""
    test, labels = case.test_table, case.raw["labels"]
    if test is None or case.test_role is None or case.id_column not in test or labels.get("column") not in test:
        return
    cells = test[labels["column"]]
    if cells.nunique() > 1 and set(cells) <= set(labels.get("classes", ())):
        case.raw["files"]["test_labels"] = [case.test_role]
        case.because("the test images' classes are known there, too: they score, and nothing learns from them")


def _take_level(levels: Sequence[Level], pictures: Pictures, case: Case) -> None:
    fitting = [level for level in levels if level.fits(case)]
    options = fitting if len(fitting) == 1 else list(levels)
    meanings = [(str(level.number), f"{len(level.names):,} names: {examples(level.names, 4)}") for level in options]
    number = int(case.choose("labels.level", "Which folders are the classes?", meanings))
    case.raw["labels"] |= {"layout": "folders"} | ({"level": number} if number != -1 else {})
    by_folder = Labels(layout="folders", level=number)

    def classes_in(entries: Sequence[Entry]) -> set[str]:
        return {class_of(by_folder, name) for entry in entries for name in entry.named}

    train = [one for one in pictures.train if not is_validation(one.name)] or pictures.train
    names = classes_in(train)
    more = [one for one in pictures.train if one not in train]
    if more and not classes_in(more) & names:
        case.warnings.append(f"{examples(one.name for one in more)}: no folders of classes there, left out")
        case.raw["files"]["train"] = [one.role for one in train] if len(train) == 1 else [[one.role for one in train]]
        more = []
    train, names = [*train, *more], names | classes_in(more)
    hold_folders_together([name for entry in train for name in entry.named], number, case)
    holds = "holds" if len(train) == 1 else "hold"
    case.because(f"labels by folder: {' and '.join(entry.name for entry in train)} {holds} {len(names):,} of them")
    if len(known := classes_in(pictures.test)) > 1 and known <= names and not pictures.shared:
        case.because("the test pictures are in folders of classes, too: they score, and nothing learns from them")
    case.classes = sorted(names, key=number_first)
    target_of_files(case)
