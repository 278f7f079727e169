"""Which pictures there are, and what is to be predicted for each, by the competition's layout."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.images import EXTENSIONS
from kit.data.label_files import read_labels
from kit.data.sources import MARK, num_pictures, read_idx, read_pixel_table
from kit.data.table import TARGET
from kit.errors import KitError, counted, examples

HIDDEN = ("Thumbs.db", "desktop.ini")


def list_split(
    competition: Competition, split: str, place: Path, labels: Path | None = None, wanted: Sequence[str] | None = None
) -> pd.DataFrame:
    """image_id, split, target columns (text, empty where not known), path (absolute), given_group, problem. `place`:
    the folder, or the one file, that holds the pictures; `labels`: the file of their labels, where there is one (a test
    set may have it too); `wanted`: the ids that the sample submission asks for. Files are in natural order of their
    ids, tables in their own order. A picture without a known target is noted as a problem; if none has one, the
    description is wrong (`KitError`). Hidden files are skipped."""
    layout = competition.labels.layout
    if layout in {"idx", "pixels-csv"}:
        table = _list_container(competition, split, place, labels)
    elif layout in {"csv", "json"}:
        table = _list_table(competition, split, place, labels, wanted)
    else:
        table = _list_folder(competition, split, place, wanted)
    repeated = table[table["image_id"].duplicated(keep=False)]
    if len(repeated):
        raise KitError(f"{place}: files share an id: {examples(Path(p).name for p in repeated['path'])}; rename one")
    columns = ["image_id", "split", *competition.targets, "path", "given_group", "problem"]
    table = table.reindex(columns=columns, fill_value="").fillna("").assign(split=split)
    if split == "train":
        unknown = (table[competition.targets] == "").any(axis=1) & (table["problem"] == "")
        table.loc[unknown, "problem"] = "its target is not known"
    return table


def _files(folder: Path) -> list[Path]:
    """Every file that may be a picture, in natural order."""
    if not folder.is_dir():
        raise KitError(f"{folder}: is not a folder of pictures; correct `labels.layout` in the competition's YAML")
    files = sorted(walk(folder), key=_natural)
    if not files:
        raise KitError(f"{folder}: no files; expected images there")
    return files


def walk(folder: Path | str, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Ordinary files that are not hidden, unsorted, as the folders' listings give them, without a stat for each. Linked
    folders are entered, except one that contains itself (`above`: the real paths that led here)."""
    here = os.path.realpath(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__")) or entry.name in HIDDEN:
                continue
            if entry.is_dir():
                if os.path.realpath(entry.path) not in (*above, here):
                    yield from walk(entry.path, (*above, here))
            elif entry.is_file():
                yield Path(entry.path)


def _list_folder(competition: Competition, split: str, folder: Path, wanted: Sequence[str] | None) -> pd.DataFrame:
    """filename and folders: the files' paths give the class."""
    classes, by_folder = competition.classes, competition.labels.layout == "folders"
    files = _files(folder)
    ids = [file.stem for file in files]
    if split == "test" and wanted is not None and {file.name for file in files} & set(wanted):  # ids with the ending
        ids = [file.name for file in files]
    elif by_folder and len(set(ids)) < len(ids):  # cat/1.jpg and dog/1.jpg
        ids = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    expected = "in a folder named after its class:" if by_folder else "class.id.ext with one of"
    labels = [""] * len(files)
    if split == "train":
        names = [file.parent.name if by_folder else file.name.split(".")[0] for file in files]
        labels = [name if name in classes else "" for name in names]
        if not any(labels):
            raise KitError(
                f"{folder}: no file is {expected} {', '.join(classes)} (there is "
                f"{examples(file.relative_to(folder) for file in files)}); correct `labels` in the competition's YAML"
            )
    problem = f"no class in the name: expected {expected} {', '.join(classes)}"
    problems = [problem if split == "train" and not label else "" for label in labels]
    return pd.DataFrame({"image_id": ids, TARGET: labels, "path": list(map(str, files)), "problem": problems})


def _list_table(
    competition: Competition, split: str, folder: Path, labels: Path | None, wanted: Sequence[str] | None
) -> pd.DataFrame:
    """csv and json: a table names the images; train and test may share a folder."""
    files = _files(folder)
    table = read_labels(competition, labels) if labels is not None else pd.DataFrame({"image_id": [], "file": []})
    source = f"{labels}: column '{competition.labels.id_column}'" if labels is not None else "the sample submission"
    if split == "test" and wanted is not None:
        table = pd.DataFrame({"image_id": list(wanted)}).merge(table, on="image_id", how="left").fillna("")
        source = "the sample submission"
    elif table.empty:
        table = pd.DataFrame({"image_id": [file.stem for file in files], "file": [file.name for file in files]})
    by_name: dict[str, list[Path]] = {}
    for file in files:
        inside = file.relative_to(folder)
        for name in {file.name, file.stem, inside.as_posix(), inside.with_suffix("").as_posix()}:
            by_name.setdefault(name, []).append(file)
    names = [file or image_id for image_id, file in zip(table["image_id"], table["file"], strict=True)]
    found = [_likely_pictures(by_name.get(name, [])) for name in names]
    if not any(found):
        both = f"{examples(names)}; files there: {examples(file.name for file in files)}"
        advice = "correct `labels.id_column` or `files` in the competition's YAML"
        raise KitError(f"{source}: none of {counted(len(names), 'id')} is a file in {folder} ({both}); {advice}")
    missing = [name for name, places in zip(names, found, strict=True) if not places]
    if missing and split == "test":
        advice = "is everything unpacked, and `files.test` in the competition's YAML the right folder?"
        raise KitError(f"{source}: {len(missing):,} ids are not files in {folder} ({examples(missing)}); {advice}")
    several = [name for name, places in zip(names, found, strict=True) if len(places) > 1]
    if several:
        raise KitError(f"{folder}: {len(several):,} ids name several files ({examples(several)}); rename them")
    used = {place for places in found for place in places}
    if split == "train" and len(used) < len(files) and competition.files.train != competition.files.test:
        console.warn(f"{folder}: {len(files) - len(used):,} files are in no row of {labels}; they are left out")
    nowhere = [str(folder / name.replace("/", "_")) for name in names]  # cannot leave the folder
    return table.assign(path=[str(f[0]) if f else path for f, path in zip(found, nowhere, strict=True)])


def _likely_pictures(files: list[Path]) -> list[Path]:
    pictures = [file for file in files if file.suffix.lower() in EXTENSIONS]
    return pictures or files


def _list_container(competition: Competition, split: str, file: Path, labels: Path | None) -> pd.DataFrame:
    """One file of many pictures; a row's path is `file#row`."""
    count = num_pictures(file)
    known: Sequence[str] = [""] * count
    if competition.labels.layout == "idx" and labels is not None:
        numbers = read_idx(labels)
        if numbers.shape != (count,):
            raise KitError(f"{labels}: holds {numbers.size:,} labels for {counted(count, 'picture')} in {file.name}")
        known = _by_number(competition.classes, numbers, labels)
    if competition.labels.layout == "pixels-csv":
        table, column = read_pixel_table(file), competition.labels.column
        if column in table:
            known = table[column].tolist()
        elif split == "train":
            there = ", ".join(table.columns) or "nothing"
            advice = "correct `labels.column` in the competition's YAML"
            raise KitError(f"{file}: has no column '{column}' (besides its pixels: {there}); {advice}")
    problems = np.where([not label or label in competition.classes for label in known], "", "not one of the classes")
    ids = [str(competition.labels.first_id + row) for row in range(count)]
    target = [label if label in competition.classes else "" for label in known]
    if split == "train" and not any(target):
        raise KitError(f"{file}: no label is one of {', '.join(competition.classes)} (there is {examples(set(known))})")
    paths = [f"{file}{MARK}{row}" for row in range(count)]
    return pd.DataFrame({"image_id": ids, TARGET: target, "path": paths, "problem": problems})


def _by_number(classes: tuple[str, ...], numbers: np.ndarray, file: Path) -> list[str]:
    if numbers.max() >= len(classes):
        raise KitError(f"{file}: holds the label {numbers.max()}; there are {len(classes)} classes, counted from 0")
    return [classes[number] for number in numbers]


def _natural(file: Path) -> str:
    """cat.2 before cat.10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(20), str(file)) + f"\0{file}"
