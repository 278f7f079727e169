"""Which pictures there are, and what is to be predicted for each, by the competition's layout."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.columns import names_of
from kit.data.containers import names_in, other_columns, read_idx
from kit.data.grouping import groups_of
from kit.data.images import EXTENSIONS
from kit.data.label_files import one_per_sample, read_labels, read_test_table
from kit.data.listing import File, files_in
from kit.data.matching import FileNames, Match
from kit.data.sources import named_in
from kit.data.table import TARGET, require_one_row
from kit.errors import KitError, counted, examples, nearest
from kit.sections import Labels


@dataclass(frozen=True)
class Places:
    """Where a split is: the folders, or the one file, that hold the pictures; the files of their labels, where there
    are some (a test set may have them too); the tables of their groups."""

    pictures: Sequence[Path]
    labels: Sequence[Path] = ()
    groups: Sequence[Path] = ()


def list_split(
    competition: Competition, split: str, places: Places, wanted: Sequence[str] | None = None
) -> pd.DataFrame:
    """image_id, split, target columns (text, empty where not known), path (absolute), given_group, problem. `wanted`:
    the ids that the sample submission asks for. Files are in natural order of their ids, tables in their own order. A
    picture without a known target is noted as a problem; if none has one, the description is wrong (`KitError`). Hidden
    files, and what is no picture by its ending, are skipped."""
    layout = competition.labels.layout
    if layout in {"idx", "pixels-csv"}:
        table = _list_container(competition, split, places)
    elif layout in {"csv", "json"}:
        table = _list_table(competition, split, places, wanted)
    else:
        table = _list_folder(competition, split, places, wanted)
    repeated = table[table["image_id"].duplicated(keep=False)]
    if len(repeated):
        there = " and ".join(map(str, places.pictures))
        raise KitError(f"{there}: files share an id: {examples(Path(p).name for p in repeated['path'])}; rename one")
    columns = ["image_id", "split", *competition.targets, "path", "given_group", "problem", *names_of(competition)]
    table = table.reindex(columns=columns, fill_value="").fillna("").assign(split=split)
    if split == "train":
        unknown = (table[competition.targets] == "").any(axis=1) & (table["problem"] == "")
        table.loc[unknown, "problem"] = "its target is not known"
    return table


def _list_folder(competition: Competition, split: str, places: Places, wanted: Sequence[str] | None) -> pd.DataFrame:
    """filename and folders: the files' paths give the class; of test pictures where all are in several classes'."""
    classes, labels = competition.classes, competition.labels
    by_folder, files = labels.layout == "folders", files_in(places.pictures, competition)
    names = [""] * len(files)
    expected = f"in a folder named after its class: {examples(classes, 10)}"
    if not by_folder:
        expected = f"named by its class, as {labels.pattern or 'class.id.ext'}, with one of {examples(classes, 10)}"
    if split == "train" or by_folder:
        found = [class_of(labels, file.named) for file in files]
        names = [name if name in classes else "" for name in map(labels.class_of, found)]
        if split == "test" and not (all(names) and len(set(names)) > 1):  # one folder of all says nothing
            names = [""] * len(files)
        if split == "train" and not any(names):
            there = examples(file.inside for file in files)
            where = " and ".join(map(str, places.pictures))
            raise KitError(f"{where}: no file is {expected} (there is {there}); correct `labels` in the YAML")
    ids = _ids(files, split, wanted, by_folder)
    problem = f"no class in the name: expected {expected}"
    problems = [problem if split == "train" and not name else "" for name in names]
    paths = [file.path for file in files]
    groups = groups_of(competition, files, places.groups)
    table = pd.DataFrame({"image_id": ids, TARGET: names, "path": paths, "given_group": groups, "problem": problems})
    return table if split == "train" or wanted is None else table[table["image_id"].isin(set(wanted))]


def class_of(labels: Labels, named: str) -> str:
    """The class that a file's path tells, the role's folder first in it: layouts folders and filename."""
    path = PurePosixPath(named)
    if labels.layout == "folders":
        above = path.parts[:-1]
        return above[labels.level] if -len(above) <= labels.level < len(above) else ""
    if labels.pattern is None:
        return path.name.split(".")[0]
    found = re.search(labels.pattern, path.name)
    return found["class"] if found else ""


def _ids(files: list[File], split: str, wanted: Sequence[str] | None, by_folder: bool) -> list[str]:
    stems = [file.stem for file in files]
    if split == "test" and wanted is not None:
        matched = FileNames([file.named for file in files]).match(wanted)
        _say_how(matched, "the sample submission")
        ids = {place: name for name, found in zip(wanted, matched.places, strict=True) for place in found}
        return [ids.get(place, stem) for place, stem in enumerate(stems)]
    if by_folder and len(set(stems)) < len(stems):  # cat/1.jpg and dog/1.jpg
        inside = [file.inside for file in files]
        several = len(set(inside)) < len(inside)  # of several roles' folders
        return [PurePosixPath(file.named if several else file.inside).with_suffix("").as_posix() for file in files]
    return stems


def _list_table(competition: Competition, split: str, places: Places, wanted: Sequence[str] | None) -> pd.DataFrame:
    """csv and json: a table names the images; train and test may share a folder."""
    folders, labels = places.pictures, places.labels
    files = files_in(folders, competition)
    table = pd.DataFrame({"image_id": [], "file": []})
    if labels:
        has_labels = split == "train" or bool(competition.files.test_labels)
        table = read_labels(competition, labels) if has_labels else read_test_table(competition, labels[0])
    source = f"{' and '.join(map(str, labels))}: column '{competition.labels.id_column}'"
    if split == "test" and "sample" in table:
        table = table if wanted is None else table[table["sample"].isin(set(wanted))].reset_index(drop=True)
    elif split == "test" and wanted is not None:
        table = pd.DataFrame({"image_id": list(wanted)}).merge(table, on="image_id", how="left").fillna("")
        source = "the sample submission"
    elif table.empty:
        table = pd.DataFrame({"image_id": [f.stem for f in files], "file": [f.inside for f in files]})
    names = [file or image_id for image_id, file in zip(table["image_id"], table["file"], strict=True)]
    matched = FileNames([file.named for file in files]).match(names)
    _say_how(matched, source)
    found = [_likely_pictures([files[place] for place in places]) for places in matched.places]
    where = " and ".join(map(str, folders))
    if not any(found):
        both = f"{examples(names)}; files there: {examples(file.inside for file in files)}"
        advice = "correct `labels.id_column` or `files` in the competition's YAML"
        raise KitError(f"{source}: none of {counted(len(names), 'id')} is a file in {where} ({both}); {advice}")
    missing = [name for name, places in zip(names, found, strict=True) if not places]
    if missing and split == "test":
        advice = "is everything unpacked, and `files.test` in the competition's YAML the right folder?"
        raise KitError(
            f"{source}: {counted(len(missing), 'id')} without a file in {where} ({examples(missing)}); {advice}"
        )
    several = [name for name, places in zip(names, found, strict=True) if len(places) > 1]
    if several:
        raise KitError(
            f"{where}: {counted(len(several), 'id')} with several files ({examples(several)}); rename them, "
            "or leave a folder of them out: `files.without` in the competition's YAML"
        )
    used = {place for places in found for place in places}
    if split == "train" and len(used) < len(files) and competition.files.train != competition.files.test:
        of = " and ".join(map(str, labels))
        console.warn(f"{where}: {counted(len(files) - len(used), 'file')} in no row of {of}, left out")
    nowhere = [str(folders[0] / name.replace("/", "_")) for name in names]  # cannot leave the folder
    table = table.assign(path=[f[0].path if f else path for f, path in zip(found, nowhere, strict=True)])
    if competition.labels.group_pattern is not None or places.groups:
        groups = dict(zip((file.path for file in files), groups_of(competition, files, places.groups), strict=True))
        table["given_group"] = [groups[f[0].path] if f else "" for f in found]
    return one_per_sample(table, competition, source) if "sample" in table else table


def _say_how(matched: Match, source: str) -> None:
    if matched.how:
        console.stage("index", f"{source}: ids are the files' names {matched.how}")


def _likely_pictures(files: list[File]) -> list[File]:
    pictures = [file for file in files if file.ending in EXTENSIONS]
    return pictures or files


def _list_container(competition: Competition, split: str, places: Places) -> pd.DataFrame:
    """One file of many pictures, by number or by name."""
    file, labels = places.pictures[0], places.labels[0] if places.labels else None
    held = names_in(file)
    count = len(held)
    known: Sequence[str] = [""] * count
    mine = _rows_of_split(competition, split, file)
    if competition.labels.layout == "idx" and labels is not None:
        numbers = read_idx(labels)
        if numbers.shape != (count,):
            raise KitError(f"{labels}: holds {numbers.size:,} labels for {counted(count, 'picture')} in {file.name}")
        known = _by_number(competition.classes, numbers, labels)
    if competition.labels.layout == "pixels-csv":
        table, column = other_columns(file), competition.labels.column
        if column in table:
            known = table[column].tolist()
        elif split == "train":
            there = ", ".join(table.columns) or "nothing"
            advice = "correct `labels.column` in the competition's YAML"
            raise KitError(f"{file}: has no column '{column}' (besides its pixels: {there}); {advice}")
    problems = np.where([not label or label in competition.classes for label in known], "", "not one of the classes")
    ids = _ids_of_rows(competition, file, count)
    target = [label if label in competition.classes else "" for label in known]
    if split == "train" and not any(target):
        raise KitError(
            f"{file}: no label is one of {examples(competition.classes, 10)} (there is {examples(set(known))})"
        )
    paths = [named_in(file, name, competition.labels.pixel_shape) for name in held]
    table = pd.DataFrame({"image_id": ids, TARGET: target, "path": paths, "problem": problems})
    return table if mine is None else table[mine].reset_index(drop=True)


def _rows_of_split(competition: Competition, split: str, file: Path) -> np.ndarray | None:
    """bool (rows,): those of `labels.only`, or, of a table for train and test, the others; `None`: all."""
    only, one_table = competition.labels.only, competition.files.train == competition.files.test
    if not only or (split == "test" and not one_table):
        return None
    table = other_columns(file)
    if missing := [column for column in only if column not in table]:
        close = nearest(missing[0], table.columns)
        raise KitError(f"{file}: has no column '{missing[0]}'{close}; correct `labels.only` in the competition's YAML")
    chosen = np.logical_and.reduce([table[column].isin(values) for column, values in only.items()])
    return chosen if split == "train" else ~chosen


def _ids_of_rows(competition: Competition, file: Path, count: int) -> list[str]:
    """A table's own ids, or row numbers."""
    column = competition.labels.id_column
    if competition.labels.layout == "pixels-csv" and column in (table := other_columns(file)):
        require_one_row(table[column], f"{file}: column '{column}'")
        return [str(one) for one in table[column]]
    return [str(competition.labels.first_id + row) for row in range(count)]


def _by_number(classes: tuple[str, ...], numbers: np.ndarray, file: Path) -> list[str]:
    if numbers.max() >= len(classes):
        raise KitError(f"{file}: holds the label {numbers.max()}; there are {len(classes)} classes, counted from 0")
    return [classes[number] for number in numbers]
