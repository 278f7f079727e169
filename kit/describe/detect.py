"""What competition is this? Files in, the mapping of a competition's YAML out, with a reason for every decision.

Here: which file is which. Then `targets` finds what is to be predicted, `submission` its format and metric."""

from pathlib import PurePosixPath

from kit.data.label_files import parse_coco
from kit.data.sources import parse_idx
from kit.describe.inventory import IDX, Entry
from kit.describe.submission import describe_submission
from kit.describe.targets import Case, Choose, number_first, target_of_coco, target_of_files, target_of_table
from kit.errors import KitError, examples
from kit.metrics import Metric

ENOUGH = 0.9  # of the ids must be files


def describe_files(entries: list[Entry], metrics: list[Metric], choose: Choose) -> Case:
    """files, labels, task, metric and submission of a competition, in `raw` of the result. `metrics`: what the
    competition's may be, the likelier first; empty: it is not known. Where the files can be read in two ways, `choose`
    is asked. Raises `KitError` where nothing fits, `ConfigError` where the metric does not."""
    case = Case(metrics, choose, {"files": {}, "labels": {}})
    sample = _sample(entries, case)
    idx = [entry for entry in entries if any(mark in entry.name for mark in IDX)]
    tables = [e for e in entries if e.name.endswith(".csv") and e is not sample]
    pictures = [entry for entry in entries if entry.pictures]
    pixels = [entry for entry in tables if "pixel0" in entry.columns]
    if pictures:
        train, test = _picture_roles(pictures, case)
        _labels(train, test, tables, [e for e in entries if e.name.endswith(".json")], case)
    elif pixels:
        _pixel_tables(pixels, case)
    elif idx:
        _idx_files(idx, case)
    else:
        raise KitError(f"no pictures; found {examples(entry.name for entry in entries)}")
    if sample is not None:
        case.raw["files"]["sample_submission"] = [sample.role]
    describe_submission(case)
    return case


def _sample(entries: list[Entry], case: Case) -> Entry | None:
    tables = [e for e in entries if e.name.endswith(".csv")]
    named = [e for e in tables if "sample" in e.name.lower() or "submission" in e.name.lower()]
    if not named:
        case.because("no sample submission: a row per test image, columns id and label")
        return None
    sample = min(named, key=lambda e: ("sample" not in e.name.lower(), len(e.name)))
    case.sample = sample.table()
    case.because(f"sample submission {sample.name}: {len(case.sample):,} rows, columns {examples(sample.columns, 4)}")
    return sample


def _picture_roles(pictures: list[Entry], case: Case) -> tuple[Entry, Entry]:
    """(train, test): by name; one folder may serve both."""
    ordered = sorted(pictures, key=lambda entry: (len(entry.name), entry.name))
    train = next((e for e in ordered if "train" in e.name.lower()), None)
    test = next((e for e in ordered if "test" in e.name.lower() and e is not train), None)
    if train is None and test is None:
        train = test = max(pictures, key=lambda entry: len(entry.pictures))
        case.because(f"pictures of train and test in one folder: {train.name} ({len(train.pictures):,})")
    elif train is None or test is None:
        one, part = (train, "training") if train is not None else (test, "the test")
        others = examples(e.name for e in pictures if e is not one) or "no other folder of pictures"
        found = f"pictures for {part} in {one.name if one else ''}"
        raise KitError(f"{found}, and none for the other part ({others}); a competition has both")
    else:
        case.because(f"{len(train.pictures):,} pictures in {train.name}, {len(test.pictures):,} in {test.name}")
    case.raw["files"] |= {"train": [train.role], "test": [test.role]}
    return train, test


def _labels(train: Entry, test: Entry, tables: list[Entry], jsons: list[Entry], case: Case) -> None:
    """Where the pictures' labels are: a table, COCO's JSON, class folders, or the file names."""
    found = [(entry, column) for entry in tables if (column := _id_column(entry, train)) is not None]
    found = [(entry, column) for entry, column in found if "test" not in entry.name.lower()]
    if found:
        asked = set(case.wanted)
        found.sort(key=lambda pair: (-len(asked & set(pair[0].columns)), "train" not in pair[0].name, pair[0].name))
        entry, case.id_column = found[0]
        case.table = entry.table()
        case.raw["files"]["train_labels"] = [entry.role]
        case.raw["labels"] |= {"layout": "csv", "id_column": case.id_column}
        case.because(f"labels in {entry.name}: column '{case.id_column}' names the files of {train.name}")
        target_of_table(case)
        return
    coco = [entry for entry in jsons if b'"images"' in entry.read("") and b'"file_name"' in entry.read("")]
    if coco:
        entry = min(coco, key=lambda e: ("train" not in e.name.lower(), e.name))
        case.raw["files"]["train_labels"] = [entry.role]
        others = [e for e in coco if e is not entry and "test" in e.name.lower()]
        if others:
            case.raw["files"]["test_labels"] = [others[0].role]
        case.raw["labels"]["layout"] = "json"
        case.because(f"labels in {entry.name}: COCO's images and annotations")
        target_of_coco(case, parse_coco(entry.read(""), entry.role))
        return
    folders = [PurePosixPath(name).parent.name for name in train.pictures]
    names = [PurePosixPath(name).name.split(".") for name in train.pictures]
    classes = {parts[0] for parts in names}
    if train is not test and all(folders) and len(set(folders)) > 1:
        case.raw["labels"]["layout"] = "folders"
        case.because(f"labels by folder: {train.name} holds {len(set(folders)):,} of them")
        case.classes = sorted(set(folders), key=number_first)
    elif all(len(parts) >= 3 for parts in names) and 2 <= len(classes) <= max(2, len(names) // 2):
        case.raw["labels"]["layout"] = "filename"
        case.because(f"labels in the file names: {examples(PurePosixPath(n).name for n in train.pictures)}")
        case.classes = sorted(classes, key=number_first)
    else:
        none = f"no table has a column with the names of {train.name}'s files ({examples(train.pictures)})"
        raise KitError(f"no labels found: {none}, and they are neither in class folders nor named class.id.ext")
    target_of_files(case)


def _id_column(entry: Entry, train: Entry) -> str | None:
    """The column that names the training pictures, if one does."""
    table = entry.table().head(2000)
    paths = [PurePosixPath(name) for name in train.pictures]
    names = {n for path in paths for n in (path.name, path.stem, str(path), str(path.with_suffix("")))}
    shares = {str(column): table[column].isin(names).mean() for column in table if table[column].is_unique}
    best = max(shares, key=lambda column: shares[column], default=None)
    return best if best is not None and shares[best] >= ENOUGH else None


def _pixel_tables(tables: list[Entry], case: Case) -> None:
    train = next((e for e in tables if "train" in e.name.lower()), tables[0])
    others = sorted((e for e in tables if e is not train), key=lambda e: "test" not in e.name.lower())
    if not others:
        raise KitError(f"pixels in {train.name}, but no second table of pixels for the test set")
    named = [column for column in train.columns if not column.startswith("pixel")]
    if len(named) != 1:
        raise KitError(f"{train.name}: expected one column besides its pixels, the class, got {examples(named)}")
    first = str(case.sample.iloc[0, 0]) if case.sample is not None and len(case.sample) else "0"
    number = int(first) if first.isdecimal() else 0
    case.raw["files"] |= {"train": [train.role], "test": [others[0].role]}
    case.raw["labels"] |= {"layout": "pixels-csv", "column": named[0], "first_id": number}
    case.because(f"pixels in tables: {train.name} (class in '{named[0]}') and {others[0].name}; ids from {first}")
    case.classes = sorted(train.table()[named[0]].unique(), key=number_first)
    target_of_files(case)


def _idx_files(entries: list[Entry], case: Case) -> None:
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
    case.raw["labels"]["layout"] = "idx"
    case.because("pictures and labels in idx files, MNIST's format")
    numbers = parse_idx(there["train_labels"].read(""), there["train_labels"].name)
    case.classes = [str(number) for number in range(int(numbers.max()) + 1)]
    target_of_files(case)
