"""Which column says what must stay in one fold: patients, sites, sequences."""

import re
from collections.abc import Sequence

import pandas as pd

from kit.describe.case import Case

_OF = (
    "patient|subject|person|individual|animal|case|study|site|series|group|hospital|location|loc|seq|sequence|lesion|"
    "scene|video|camera|plot|slide|donor|participant|exam|center|centre|institution|family|clip|session|experiment"
)
SURE = re.compile(rf"^({_OF})[_ ]?(id|no|num|number|code|name)$")
BARE = re.compile(rf"^({_OF})$")
FEW = 10  # values of a group column for each fold, at least
FOLDS = 5


def hold_folders_together(named: Sequence[str], level: int, case: Case) -> None:
    """`labels.group_pattern`, where the classes' folders hold a folder for each patient or series. `named`: pictures'
    paths, the role's folder first; `level`: which of their folders is the class."""
    if level < 0 or "labels.group_pattern" in case.given:
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
    if key in case.given:  # written by whoever gave it
        return
    for column in map(str, table):
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower()
        sure, bare = SURE.match(name), BARE.match(name)
        if column in taken or not (sure or bare):
            continue
        values = table[column][table[column] != ""]
        count = values.nunique()
        part = sure and column in case.raw.get("pictures", {}).get("columns", ())  # of what a sample is
        if values.is_unique or count < FOLDS or (count < FEW * FOLDS * (0.2 if sure else 1) and not part):
            continue
        facts = f"column '{column}' repeats ({count:,} values)"
        theirs = set(test[column]) if test is not None and column in test else set()
        both = set(values) & theirs
        if len(both) > 0.5 * len(theirs):
            case.because(f"{facts}, but the test set has {len(both):,} of them too: folds need not hold them together")
            continue
        apart = " and shares none with the test set" if theirs and not both else ""
        if bare and not apart:
            options = [("none", "folds mix its values"), (column, "images of one value stay in one fold")]
            if case.choose(key, f"C{facts[1:]}: is it a patient, a place, a series?", options) == "none":
                continue
        case.raw["labels"]["group_column"] = column
        case.because(f"{facts}{apart}: its images stay in one fold")
        return
