"""What must stay in one fold: patients, sites, sequences, by a column, by folders, or by the files' names."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from kit.data.grouping import group_of
from kit.describe.case import Case
from kit.describe.entry import Inventory
from kit.describe.label_tables import Table
from kit.describe.names import is_test
from kit.describe.pictures import Pictures
from kit.errors import examples
from kit.sections import Labels

_WHO = "patient|subject|person|individual|animal|driver|volunteer|participant|donor"
_OF = (
    f"{_WHO}|case|study|site|series|group|hospital|location|loc|seq|sequence|lesion|"
    "scene|video|camera|plot|slide|exam|center|centre|institution|family|clip|session|experiment"
)
SURE = re.compile(rf"^(({_OF})[_ ]?(id|no|num|number|code|name)|{_WHO})$")
BARE = re.compile(rf"^({_OF})$")
FEW = 10  # values of a group column for each fold, at least
FOLDS = 5
_COPY = "aug|augmented|copy|crop|cropped|flip|flipped|rot|rotated|frame|slice|tile|patch|view"
# What files' names say, the likelier first, and whether it is believed where no test set's names bear it out
IN_NAMES = (
    (rf"(?i)(?<![a-z])(?P<group>(?:{_OF})[_ -]?\d+)", True),  # person12_virus_3.jpeg
    *((rf"(?i)(?P<group>[^/]+?)[_ -](?:{side})(?![a-z])[^/]*$", True) for side in ("left|right", "l|r", "od|os")),
    (r"(?P<group>[^/]+)\.rf\.[0-9a-f]{16,}\.[^.]+$", True),  # one picture's versions, as Roboflow calls them
    (rf"(?i)^(?P<group>.+?)(?:[_ -]?(?:{_COPY})[_ -]?\d+)*\.[^.]+$", True),
    (r"(?P<group>[^/]*[^/_ -])[_ -]\d+\.[^.]+$", False),  # storm_17.jpg
)


def hold_folders_together(named: Sequence[str], level: int, case: Case) -> None:
    """`labels.group_pattern`, where the classes' folders hold a folder for each patient or series. `named`: pictures'
    paths, the role's folder first; `level`: which of their folders is the class."""
    if level < 0 or "labels.group_pattern" in case.given or "group_column" in case.raw["labels"]:
        return
    parts = pd.DataFrame([name.split("/")[: level + 2] for name in named if name.count("/") > level + 1])
    if len(parts) < len(named):
        return
    inner = parts.groupby(level)[level + 1]
    count, sizes = inner.nunique().sum(), parts.value_counts()
    if inner.nunique().min() < FOLDS or count < FEW or (sizes > 1).mean() < 0.5:
        return
    case.raw["labels"]["group_pattern"] = f"^(?P<group>(?:[^/]+/){{{level + 2}}})"
    case.because(f"{count:,} folders within the classes' own: images of one folder stay in one fold")


def find_group(table: pd.DataFrame, taken: set[str], case: Case, test: pd.DataFrame | None = None) -> None:
    """`labels.group_column`, where a column of many repeated values is called like one. With `test`, the test set's
    table: groups that occur on both sides are no reason to hold them together."""
    key = "labels.group_column"
    if key in case.given or case.given.get("labels.group_pattern", "none") != "none":  # written by whoever gave it
        return
    for column in map(str, table):
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()
        values = table[column][table[column] != ""]
        theirs = set(test[column]) if test is not None and column in test else set()
        both, count = set(values) & theirs, values.nunique()
        sure, bare = SURE.match(name), BARE.match(name) or (name.endswith("_id") and theirs and not both)
        if column in taken or not (sure or bare):
            continue
        part = sure and column in case.raw.get("pictures", {}).get("columns", ())  # of what a sample is
        least = FOLDS if theirs and not both else FEW if sure else FEW * FOLDS
        if values.is_unique or count < FOLDS or (count < least and not part):
            continue
        facts = f"column '{column}' repeats ({count:,} values)"
        if len(both) > 0.5 * len(theirs):
            case.because(f"{facts}, but the test set has {len(both):,} of them too: folds need not hold them together")
            continue
        apart = " and shares none with the test set" if theirs and not both else ""
        if not sure and not apart:
            options = [("none", "folds mix its values"), (column, "images of one value stay in one fold")]
            if case.choose(key, f"C{facts[1:]}: is it a patient, a place, a series?", options) == "none":
                continue
        case.raw["labels"]["group_column"] = column
        case.because(f"{facts}{apart}: its images stay in one fold")
        return


def find_group_beside(tables: Sequence[Table], inventory: Inventory, case: Case) -> None:
    """`files.train_groups`, where a table beside the labels' names the training pictures and has a group's column."""
    labels, wanted = case.raw["labels"], case.given.get("labels.group_column", "none")
    here = case.table is not None and wanted in case.table
    if here or {"group_column", "group_pattern"} & set(labels):
        return
    for table in tables:
        if table.entry.role in case.used or table.form is not None:
            continue
        columns = set(table.rows.columns)
        tests = [entry.rows() for entry in inventory.entries if entry.is_table and is_test(entry.name)]
        test = next((rows for rows in tests if columns <= set(rows.columns)), None)
        find_group(table.rows, {table.column}, case, test)
        if "group_column" in labels or wanted in columns:
            case.raw["files"]["train_groups"] = [table.entry.role]
            labels["group_id_column"] = table.column
            case.used.add(table.entry.role)
            case.because(f"{table.entry.name}: column '{table.column}' names the pictures")
            return


def hold_names_together(classes: Mapping[str, str], pictures: Pictures, case: Case) -> None:
    """`labels.group_pattern`, where the files' names hold a patient, a side, a frame or a copy. `classes`: training
    picture (its path, the role's folder first) -> its class, "" where it has not one."""
    if "labels.group_pattern" in case.given or {"group_column", "group_pattern"} & set(case.raw["labels"]):
        return
    test = [name for entry in pictures.test for name in entry.named if name not in classes]
    for pattern, believed in IN_NAMES:
        theirs = {group.rpartition("/")[2] for group in _groups(pattern, test)} - {""}
        groups = pd.Series(_groups(pattern, classes), dtype=str)
        known = groups != ""
        sizes = groups[known].value_counts()
        if len(sizes) < FEW or sizes[sizes > 1].sum() < len(groups) / 2 or sizes.max() > len(groups) / FOLDS:
            continue
        if groups[known].groupby(pd.Series(classes.values(), dtype=str)[known]).nunique().median() < 2:
            continue  # it is the class
        both = theirs & {group.rpartition("/")[2] for group in sizes.index}
        if not believed and (both or not theirs):
            continue
        facts = f"{len(sizes):,} groups in the pictures' names: {examples(sizes.index)}"
        if len(both) > 0.5 * len(theirs):
            case.because(f"{facts}, but the test set has {len(both):,} of them too: folds need not hold them together")
            return
        case.raw["labels"]["group_pattern"] = pattern
        case.because(f"{facts}: pictures of one stay in one fold")
        return


def _groups(pattern: str, named: Iterable[str]) -> list[str]:
    labels = Labels(layout="folders", group_pattern=pattern)
    return [group_of(labels, name) for name in named]
