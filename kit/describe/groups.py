"""Which column says what must stay in one fold: patients, sites, sequences."""

import re

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
        if values.is_unique or count < FEW * FOLDS * (0.2 if sure else 1) or count < FOLDS:
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
