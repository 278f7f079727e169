"""What competition is this? Files in, the mapping of a competition's YAML out, with a reason for every decision.

Where files allow two readings, `choose` is asked; what a person then reads is the list of reasons.
"""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from kit.data.inventory import IDX, Entry
from kit.data.sources import parse_idx
from kit.data.targets import Choose, Shown, target_of_files, target_of_table
from kit.errors import KitError, examples

ENOUGH = 0.9  # of the ids must be files


@dataclass
class Reading:
    """The mapping of the YAML, grown step by step, and why."""

    raw: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def because(self, reason: str) -> None:
        self.reasons.append(reason)


def describe(entries: list[Entry], metric: str | None, choose: Choose) -> Reading:
    """files, labels, task, metric and submission of a competition. Raises `KitError` where nothing fits."""
    reading = Reading()
    sample = _sample(entries, reading)
    files: dict[str, list[str]] = {}
    reading.raw["files"] = files
    idx = [entry for entry in entries if any(mark in entry.name for mark in IDX)]
    tables = [e for e in entries if e.name.endswith(".csv") and e is not sample]
    pictures = [entry for entry in entries if entry.pictures]
    pixels = [entry for entry in tables if "pixel0" in entry.table().columns]
    if not pictures and pixels:
        shown = _pixel_tables(pixels, reading)
    elif not pictures and idx:
        shown = _idx_files(idx, reading)
    elif pictures:
        train, test = _picture_roles(pictures, reading)
        shown = _labels(train, test, tables, [e for e in entries if e.name.endswith(".json")], sample, reading)
    else:
        raise KitError(f"no pictures: there is {examples(entry.name for entry in entries)}")
    if sample is not None:
        files["sample_submission"] = [sample.role]
    labels = reading.raw.pop("labels")
    (target_of_table if shown.table is not None else target_of_files)(
        shown, metric, choose, reading.raw, reading.because
    )
    reading.raw["labels"] = labels | reading.raw["labels"]
    return reading


def _sample(entries: list[Entry], reading: Reading) -> Entry | None:
    named = [
        e for e in entries if e.name.endswith(".csv") and ("sample" in e.name.lower() or "submission" in e.name.lower())
    ]
    if not named:
        reading.because("no sample submission: a row per test image, columns id and label")
        return None
    if len(named) > 1:
        named.sort(key=lambda e: ("sample" not in e.name.lower(), len(e.name)))
    table = named[0].table()
    reading.because(f"sample submission {named[0].name}: {len(table):,} rows, columns {examples(table.columns, 4)}")
    return named[0]


def _picture_roles(pictures: list[Entry], reading: Reading) -> tuple[Entry, Entry]:
    """(train, test): by name; one folder serves both."""
    ordered = sorted(pictures, key=lambda entry: (len(entry.name), entry.name))
    train = next((e for e in ordered if "train" in e.name.lower()), None)
    test = next((e for e in ordered if "test" in e.name.lower() and e is not train), None)
    if train is None and test is None:
        train = test = max(pictures, key=lambda entry: len(entry.pictures))
        reading.because(f"pictures of train and test in one folder: {train.name} ({len(train.pictures):,})")
    elif train is None or test is None:
        one = train or test
        others = [e for e in pictures if e is not one]
        raise KitError(
            f"pictures for {'training' if train else 'the test'} in {one.name if one else ''}, and none for the other "
            f"part ({examples(e.name for e in others) or 'no other folder of pictures'}); a competition has both"
        )
    else:
        reading.because(f"{len(train.pictures):,} pictures in {train.name}, {len(test.pictures):,} in {test.name}")
    reading.raw["files"] |= {"train": [train.role], "test": [test.role]}
    return train, test


def _labels(
    train: Entry, test: Entry, tables: list[Entry], coco: list[Entry], sample: Entry | None, reading: Reading
) -> Shown:
    """Where the labels of pictures stand: a table, COCO's JSON, class folders, or the file names."""
    table, submission = None, sample.table() if sample is not None else None
    found = [(entry, column) for entry in tables if (column := _id_column(entry, train)) is not None]
    found = [(e, c) for e, c in found if "test" not in e.name.lower()] or found
    if found:
        values = list(submission.columns[1:]) if submission is not None else []
        found.sort(
            key=lambda pair: (
                -len(set(values) & set(pair[0].table().columns)),
                "train" not in pair[0].name,
                pair[0].name,
            )
        )
        entry, column = found[0]
        table = entry.table()
        reading.raw["files"]["train_labels"] = [entry.role]
        reading.raw["labels"] = {"layout": "csv", "id_column": column}
        reading.because(f"labels in {entry.name}: column '{column}' names the files of {train.name}")
        return Shown(train.name, submission, table, column)
    by_json = [entry for entry in coco if b'"images"' in entry.read("")[:10_000_000]]
    if by_json:
        entry = min(by_json, key=lambda e: ("train" not in e.name.lower(), e.name))
        reading.raw["files"]["train_labels"] = [entry.role]
        others = [e for e in by_json if e is not entry and "test" in e.name.lower()]
        if others:
            reading.raw["files"]["test_labels"] = [others[0].role]
        reading.raw["labels"] = {"layout": "json"}
        reading.because(f"labels in {entry.name}: COCO's images and annotations")
        return Shown(train.name, submission, None, "", coco=entry.read(""))
    folders = [PurePosixPath(name).parent.name for name in train.pictures]
    if train is not test and all(folders) and len(set(folders)) > 1:
        reading.raw["labels"] = {"layout": "folders"}
        reading.because(f"labels by folder: {train.name} holds {len(set(folders)):,} of them")
        return Shown(train.name, submission, None, "", classes=sorted(set(folders)))
    names = [PurePosixPath(name).name.split(".") for name in train.pictures]
    classes = {parts[0] for parts in names}
    if all(len(parts) >= 3 for parts in names) and 2 <= len(classes) <= max(2, len(names) // 2):
        reading.raw["labels"] = {"layout": "filename"}
        reading.because(
            f"labels in the file names, class.id.ext: {examples(PurePosixPath(n).name for n in train.pictures)}"
        )
        return Shown(train.name, submission, None, "", classes=sorted(classes))
    raise KitError(
        f"no labels found: no table has a column with the names of {train.name}'s files "
        f"({examples(train.pictures)}), they stand in no class folders and are not called class.id.ext"
    )


def _id_column(entry: Entry, train: Entry) -> str | None:
    """The column that names the training pictures, if one does."""
    table = entry.table().head(2000)
    names = {PurePosixPath(name).name for name in train.pictures}
    names |= {PurePosixPath(name).stem for name in train.pictures} | set(train.pictures)
    names |= {str(PurePosixPath(name).with_suffix("")) for name in train.pictures}
    shares = {column: table[column].isin(names).mean() for column in table if table[column].is_unique}
    best = max(shares, key=lambda c: shares[c], default=None)
    return str(best) if best is not None and shares[best] >= ENOUGH else None


def _pixel_tables(tables: list[Entry], reading: Reading) -> Shown:
    train = next((e for e in tables if "train" in e.name.lower()), tables[0])
    test = next((e for e in tables if e is not train), None)
    if test is None:
        raise KitError(f"pixels in {train.name}, and no second table of pixels for the test")
    table = train.table()
    others = [str(c) for c in table if not str(c).startswith("pixel")]
    if len(others) != 1:
        raise KitError(
            f"{train.name}: beside its pixels it should have one column, the class; it has {examples(others)}"
        )
    reading.raw["files"] |= {"train": [train.role], "test": [test.role]}
    reading.raw["labels"] = {"layout": "pixels-csv", "first_id": 1}
    reading.because(
        f"pixels in tables: {train.name} ({len(table):,} rows, class in '{others[0]}'), {test.name}; ids from 1"
    )
    classes = sorted(table[others[0]].unique(), key=lambda v: (len(v), v))
    return Shown(train.name, None, None, "", classes=classes, column=others[0])


def _idx_files(entries: list[Entry], reading: Reading) -> Shown:
    def one(kind: str, train: bool) -> Entry | None:
        return next((e for e in entries if kind in e.name and ("train" in e.name) == train), None)

    roles = {
        "train": one("idx3", True), "train_labels": one("idx1", True),
        "test": one("idx3", False), "test_labels": one("idx1", False),
    }  # fmt: skip
    missing = [role for role in ("train", "train_labels", "test") if roles[role] is None]
    if missing:
        raise KitError(f"idx files without {missing[0]}: there is {examples(entry.name for entry in entries)}")
    reading.raw["files"] |= {role: [entry.role] for role, entry in roles.items() if entry is not None}
    reading.raw["labels"] = {"layout": "idx"}
    reading.because("pictures and labels in idx files, MNIST's format")
    found = roles["train_labels"]
    assert found is not None
    numbers = parse_idx(found.read(""), found.name)
    return Shown("train", None, None, "", classes=[str(k) for k in range(int(numbers.max()) + 1)])
