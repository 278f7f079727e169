"""Where the pictures' labels are: a table, COCO's JSON, class folders, or the files' names."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from kit.data.layouts import class_of
from kit.data.matching import FileNames
from kit.describe.annotations import take_coco
from kit.describe.case import Case, number_first
from kit.describe.entry import Entry, Inventory
from kit.describe.folders import Level, class_folders, file_names, one_to_one
from kit.describe.groups import find_group_beside, hold_folders_together, hold_names_together
from kit.describe.label_tables import Table, choose_table, disagree, naming_tables
from kit.describe.names import is_validation, split_column
from kit.describe.pictures import Pictures
from kit.describe.targets import classes_in, target_of_files, target_of_table
from kit.describe.unlabelled import asked_table, nothing, require_answers
from kit.errors import KitError, counted, examples
from kit.sections import Labels


def find_labels(pictures: Pictures, inventory: Inventory, case: Case) -> None:
    names = FileNames(pictures.named)
    tables = naming_tables(names, inventory, case)
    classes = _take(tables, names, pictures, inventory, case)
    find_group_beside(tables, classes, inventory, case)
    hold_folders_together(list(classes), case)
    hold_names_together(classes, pictures, case)


def _take(
    tables: list[Table], names: FileNames, pictures: Pictures, inventory: Inventory, case: Case
) -> dict[str, str]:
    """Training picture (its path, the role's folder first) -> its class, "" where it has not one."""
    table, entries = choose_table(tables, case), inventory.entries
    cocos = [entry for entry in entries if entry.coco() is not None]
    layout = case.given.get("labels.layout", "")
    told = table if layout != "folders" else None
    levels = [] if pictures.shared else class_folders(pictures, told.rows if told else None, told, case)
    if table is not None and levels and not layout:
        layout = _table_or_folders(table, levels, pictures, case)
    if table is not None and layout in {"", "csv"}:
        require_answers(table.entry, table.column, table.rows, inventory, case)
        return _classes_in(_take_table(table, tables, names, case), names, case)
    if cocos and layout in {"", "json"} and (marked := take_coco(cocos, pictures, names, case)):
        return marked
    if not layout and (holder := asked_table(inventory, case)) is not None:
        raise KitError(nothing(pictures, names, inventory, case, holder))
    if levels and layout in {"", "folders"}:
        return _take_level(levels, pictures, case)
    if layout == "folders":
        raise KitError(f"--set labels.layout=folders: no folders of {pictures.train[0].name} tell classes")
    if not (found := file_names(pictures, any(e.is_table and e.role not in case.used for e in entries), case)):
        raise KitError(nothing(pictures, names, inventory, case))
    case.raw["labels"] |= {"layout": "filename", **found[1]}
    case.classes = found[0]
    case.because(f"labels in the file names: {examples(PurePosixPath(n).name for n in pictures.named)}")
    target_of_files(case)
    by_name = Labels(pattern=found[1].get("pattern"))
    return {name: class_of(by_name, name) for name in pictures.named}


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


def _take_table(table: Table, tables: list[Table], names: FileNames, case: Case) -> list[Table]:
    """With those that go on where it ends: which were taken."""
    used = [table]
    if table.match.share == 1:  # others of the same columns, for the pictures that it lacks
        same = [one for one in tables if list(one.rows.columns) == list(table.rows.columns) and one is not table]
        used += [one for one in same if not disagree([table, one])]
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
    return used


def _classes_in(tables: list[Table], names: FileNames, case: Case) -> dict[str, str]:
    """Training picture -> its class."""
    found: dict[str, str] = {}
    for table in tables:
        cells = classes_in(table.rows, case.raw["labels"].get("column", ""), case.answers)
        for cell, places in zip(cells, table.match.places, strict=True):
            found |= {names.files[place]: cell for place in places}
    return found


def _take_test_labels(case: Case) -> None:
    """Where the table of the test images has their classes too: they score."""
    test, labels = case.test_table, case.raw["labels"]
    if test is None or case.test_role is None or case.id_column not in test or labels.get("column") not in test:
        return
    cells = test[labels["column"]]
    if cells.nunique() > 1 and set(cells) <= set(labels.get("classes", ())):
        case.raw["files"]["test_labels"] = [case.test_role]
        case.because("the test images' classes are known there, too: they score, and nothing learns from them")


def _take_level(levels: Sequence[Level], pictures: Pictures, case: Case) -> dict[str, str]:
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
    holds = "holds" if len(train) == 1 else "hold"
    case.because(f"labels by folder: {' and '.join(entry.name for entry in train)} {holds} {len(names):,} of them")
    if len(known := classes_in(pictures.test)) > 1 and known <= names and not pictures.shared:
        case.because("the test pictures are in folders of classes, too: they score, and nothing learns from them")
    case.classes = sorted(names, key=number_first)
    target_of_files(case)
    return {name: class_of(by_folder, name) for entry in train for name in entry.named}
