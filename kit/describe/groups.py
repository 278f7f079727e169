"""What must stay in one fold: patients, sites, sequences, by a column, by folders, or by the files' names."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from kit.data.grouping import group_of
from kit.data.matching import FileNames
from kit.describe.case import Case
from kit.describe.entry import Inventory
from kit.describe.label_tables import Table
from kit.describe.names import is_test
from kit.describe.pictures import Pictures
from kit.errors import examples
from kit.sections import Labels

_OF = (
    "patient|subject|person|individual|animal|case|study|site|series|group|hospital|location|loc|seq|sequence|lesion|"
    "scene|video|camera|plot|slide|donor|participant|exam|center|centre|institution|family|clip|session|experiment"
)
SURE = re.compile(rf"^({_OF})[_ ]?(id|no|num|number|code|name)$")
BARE = re.compile(rf"^({_OF})$")
PEOPLE = re.compile(r"^(patient|subject|driver|volunteer|participant|donor)$")  # sure, too
FEW = 10  # values of a group column for each fold, at least
FOLDS = 5
_COPY = "aug|augmented|copy|crop|cropped|flip|flipped|rot|rotated|frame|slice|tile|patch|view"
# What files' names say, the likelier first, and whether it is believed where no test set's names bear it out
IN_NAMES = (
    (rf"(?i)(?<![a-z])(?P<group>(?:{_OF})[_ -]?\d+)", True),  # person12_virus_3.jpeg
    *(
        (rf"(?i)(?:^|/)(?P<group>[^/]+?)[_ -](?:{side})(?![a-z])[^/]*$", True)
        for side in ("left|right", "l|r", "od|os")
    ),
    (r"(?P<group>[^/]+)\.rf\.[0-9a-f]{16,}\.[^.]+$", True),  # one picture's versions, as Roboflow calls them
    (rf"(?i)^(?P<group>.+?)(?:[_ -]?(?:{_COPY})[_ -]?\d+)*\.[^.]+$", True),
    (r"(?P<group>[^/]*[^/_ -])[_ -]\d+\.[^.]+$", False),  # storm_17.jpg
)
GIVEN = ("labels.group_column", "labels.group_pattern")


def is_grouped(case: Case) -> bool:
    """Is it settled what stays in one fold, by what was found or given?"""
    return bool({"group_column", "group_pattern"} & set(case.raw["labels"]) or set(GIVEN) & set(case.given))


def hold_folders_together(named: Sequence[str], case: Case) -> None:
    """`labels.group_pattern`, where the classes' folders hold a folder for each patient or series. `named`: pictures'
    paths, the role's folder first."""
    level = case.raw["labels"].get("level", -1)
    if case.raw["labels"]["layout"] != "folders" or level < 0 or is_grouped(case):
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


def find_group(
    table: pd.DataFrame, taken: set[str], classes: Sequence[str], case: Case, test: pd.DataFrame | None = None
) -> None:
    """`labels.group_column`, where a column of many repeated values is called like one. `classes`: the rows', "" where
    they are not known. With `test`, the test set's table: groups that occur on both sides are no reason to hold them
    together."""
    key = "labels.group_column"
    if is_grouped(case):
        return
    for column in map(str, table):
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()
        values = table[column][table[column] != ""]
        theirs = set(test[column]) - {""} if test is not None and column in test else set()
        both, count = set(values) & theirs, values.nunique()
        sure, bare, apart = SURE.match(name) or PEOPLE.match(name), BARE.match(name), bool(theirs) and not both
        if column in taken or not (sure or bare or (name.endswith("_id") and apart and len(theirs) > 1)):
            continue
        part = sure and column in case.raw.get("pictures", {}).get("columns", ())  # of what a sample is
        least = FOLDS if apart else FEW if sure else FEW * FOLDS
        if values.is_unique or count < FOLDS or (count < least and not part) or _is_class(table[column], classes):
            continue
        facts = f"column '{column}' repeats ({count:,} values)"
        if len(both) > 0.5 * len(theirs):
            case.because(f"{facts}, but the test set has {len(both):,} of them too: folds need not hold them together")
            continue
        if not sure and not apart:
            options = [("none", "folds mix its values"), (column, "images of one value stay in one fold")]
            if case.choose(key, f"C{facts[1:]}: is it a patient, a place, a series?", options) == "none":
                continue
        case.raw["labels"]["group_column"] = column
        none = " and shares none with the test set" if apart else ""
        case.because(f"{facts}{none}: its images stay in one fold")
        return


def _is_class(groups: pd.Series, classes: Sequence[str]) -> bool:
    """Has most of what is of one class one and the same group? Of classes of fewer than four images nothing is said."""
    pairs = pd.DataFrame({"group": groups.to_numpy(), "kind": list(classes)})
    pairs = pairs[(pairs["group"] != "") & (pairs["kind"] != "")]
    found = pairs.groupby("kind")["group"].agg(["size", "nunique"]).query("size >= 4")
    return bool(found["size"][found["nunique"] == 1].sum() > 0.5 * found["size"].sum())


def find_group_beside(tables: Sequence[Table], classes: Mapping[str, str], inventory: Inventory, case: Case) -> None:
    """`files.train_groups`, where a table beside the labels' names the training pictures and has a group's column.
    `classes`: training picture (its path, the role's folder first) -> its class, "" where it has not one."""
    labels, wanted = case.raw["labels"], case.given.get(GIVEN[0], "none")
    named, held = FileNames(list(classes)), list(classes.values())
    for table in tables:
        if table.entry.role in case.used or table.form is not None or "group_column" in labels:
            continue
        rows = table.rows
        tests = [entry.rows() for entry in inventory.entries if entry.is_table and is_test(entry.name)]
        test = max(tests, key=lambda one: len(set(one) & set(rows)), default=None)
        places = named.match(rows[table.column].tolist()).places
        find_group(rows, {table.column}, [held[at[0]] if at else "" for at in places], case, test)
        if "group_column" in labels or (wanted in rows and (case.table is None or wanted not in case.table)):
            case.raw["files"]["train_groups"] = [table.entry.role]
            labels["group_id_column"] = table.column
            case.used.add(table.entry.role)
            case.because(f"{table.entry.name}: column '{table.column}' names the pictures")
            return


def hold_names_together(classes: Mapping[str, str], pictures: Pictures, case: Case) -> None:
    """`labels.group_pattern`, where the files' names hold a patient, a side, a frame or a copy. `classes`: as in
    `find_group_beside`."""
    if is_grouped(case):
        return
    test = [name for entry in pictures.test for name in entry.named if name not in classes]
    for pattern, believed in IN_NAMES:
        groups = pd.Series(_groups(pattern, classes), dtype=str)
        sizes = groups[groups != ""].value_counts()
        if len(sizes) < FEW or sizes[sizes > 1].sum() < len(groups) / 2 or sizes.max() > len(groups) / FOLDS:
            continue
        theirs = Counter(group.rpartition("/")[2] for group in _groups(pattern, test) if group)
        both = set(theirs) & {group.rpartition("/")[2] for group in sizes.index}
        borne_out = not both and sum(count > 1 for count in theirs.values()) >= FOLDS
        if _is_class(groups, list(classes.values())) or not (believed or borne_out):
            continue
        facts = f"{len(sizes):,} groups in the pictures' names: {examples(sizes.index)}"
        if len(both) > 0.5 * len(theirs):
            case.because(f"{facts}, but the test set has {len(both):,} of them too: folds need not hold them together")
            return
        case.raw["labels"]["group_pattern"] = pattern
        case.because(f"{facts}: pictures of one stay in one fold (--set {GIVEN[1]}=none: they need not)")
        return


def _groups(pattern: str, named: Iterable[str]) -> list[str]:
    labels = Labels(layout="folders", group_pattern=pattern)
    return [group_of(labels, name) for name in named]
