"""Many pictures in one file: tables of pixels, and idx files."""

from kit.data.containers import parse_idx
from kit.data.pixel_tables import without_pixels
from kit.describe.case import Case, number_first
from kit.describe.entry import Entry
from kit.describe.names import is_test, is_train, plainest, split_column
from kit.describe.targets import target_of_files
from kit.errors import KitError, examples


def pixel_tables(tables: list[Entry], case: Case) -> None:
    """A row per picture; its class, and maybe its id, in columns of their own."""
    ordered = sorted(tables, key=lambda entry: (not is_train(entry.name), plainest(entry.name)))
    train, others = ordered[0], ordered[1:]
    rows = train.table()
    test = min(others, key=lambda entry: (not is_test(entry.name), plainest(entry.name)), default=train)
    only, unseen = split_column(rows) if test is train else None, test.table()
    if test is train and only is None:
        raise KitError(f"pixels in {train.name}, but no second table of pixels for the test set")
    named = [column for column in without_pixels(rows) if only is None or column != only[0]]
    wanted = set(case.sample[case.sample_id]) if case.sample is not None else set()
    ids = [column for column in named if rows[column].is_unique and column in unseen and unseen[column].is_unique]
    ids = [column for column in ids if len(named) > 1 and (not wanted or wanted & set(unseen[column]))]
    targets = [column for column in named if column not in ids and column != ""]
    if not targets:
        raise KitError(f"{train.name}: no column besides its pixels, where the class should be")
    options = [(column, f"e.g. {rows[column].iloc[0]}") for column in targets]
    column = case.choose("labels.column", f"{train.name}: which column is the class?", options)
    case.raw["labels"] |= {"layout": "pixels-csv", "column": column}
    if ids:
        found = case.choose("labels.id_column", "Which column is the id?", [(one, "") for one in ids])
        case.raw["labels"]["id_column"] = found
        said = f"ids in '{found}'"
    else:
        first = min((int(one) for one in wanted if one.isdecimal()), default=0)
        case.raw["labels"]["first_id"] = first
        said = f"ids from {first}"
    case.raw["files"] |= {"train": [train.role], "test": [test.role]}
    case.used |= {train.role, test.role}
    where = f"{train.name} (class in '{column}')" + (f" and {test.name}" if test is not train else "")
    case.because(f"pixels in tables: {where}; {said}")
    if only is not None:
        case.raw["labels"]["only"] = {only[0]: only[1]}
        case.because(f"for training the rows whose '{only[0]}' is {' or '.join(only[1])}, for the test set the others")
        rows = rows[rows[only[0]].isin(only[1])]
    case.classes = sorted(rows[column][rows[column] != ""].unique(), key=number_first)
    target_of_files(case)


def idx_files(entries: list[Entry], case: Case) -> None:
    def one(kind: str, train: bool) -> Entry | None:
        return next((e for e in entries if kind in e.name and ("train" in e.name) == train), None)

    roles = {
        "train": one("idx3", True), "train_labels": one("idx1", True),
        "test": one("idx3", False), "test_labels": one("idx1", False),
    }  # fmt: skip
    there = {role: entry for role, entry in roles.items() if entry is not None}
    missing = [role for role in ("train", "train_labels", "test") if role not in there]
    if missing:
        raise KitError(f"idx files without {missing[0]}; found {examples(entry.name for entry in entries)}")
    case.raw["files"] |= {role: [entry.role] for role, entry in there.items()}
    case.used |= {entry.role for entry in there.values()}
    case.raw["labels"]["layout"] = "idx"
    case.because("pictures and labels in idx files, MNIST's format")
    numbers = parse_idx(there["train_labels"].read(""), there["train_labels"].name)
    case.classes = [str(number) for number in range(int(numbers.max()) + 1)]
    target_of_files(case)
