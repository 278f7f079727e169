"""Which pictures there are, and each one's class, by the competition's layout."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kit.competition import Competition
from kit.data.sources import MARK, num_pictures, read_idx, read_pixel_table
from kit.data.table import TARGET
from kit.errors import KitError, counted, examples

COLUMNS = ["image_id", "split", TARGET, "path", "problem"]
HIDDEN = ("Thumbs.db", "desktop.ini")


def list_split(competition: Competition, split: str, place: Path, labels: Path | None = None) -> pd.DataFrame:
    """image_id, split, target_label, path (absolute), problem: a row per picture.

    `place`: the folder, or the one file, that holds them; `labels`: the file of their labels, where there is one (a
    test set may have it too). Files go by id in natural order. A picture whose class is not known is a problem of its
    own, pictures of which none has one are a wrong description (`KitError`). Hidden files are passed over.
    """
    if competition.labels.layout in {"idx", "pixels-csv"}:
        return _list_container(competition, split, place, labels)
    table = _list_folder(competition, split, place)
    repeated = table[table["image_id"].duplicated(keep=False)]
    if len(repeated):
        raise KitError(
            f"{place}: two files have one id: {examples(Path(p).name for p in repeated['path'])}; rename one"
        )
    return table


def _list_folder(competition: Competition, split: str, folder: Path) -> pd.DataFrame:
    classes, by_folder = competition.classes, competition.labels.layout == "folders"
    if not folder.is_dir():
        raise KitError(f"{folder}: is no folder of pictures; correct `labels.layout` in the competition's YAML")
    files = [f for f in folder.rglob("*") if f.is_file() and not f.name.startswith((".", "__"))]
    files = sorted((f for f in files if f.name not in HIDDEN), key=_natural)
    if not files:
        raise KitError(f"{folder}: no files; expected the {split} images there")
    stems = [file.stem for file in files]
    if by_folder and len(set(stems)) < len(stems):  # cat/1.jpg and dog/1.jpg
        stems = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    expected = "in a folder named like its class:" if by_folder else "class.id.ext with one of"
    rows = []
    for file, stem in zip(files, stems, strict=True):
        label, problem = "", ""
        if split == "train":
            name = file.parent.name if by_folder else file.name.split(".")[0]
            label = name if name in classes else ""
            problem = "" if label else f"no class in the name: expected {expected} {', '.join(classes)}"
        rows.append((stem, split, label, str(file), problem))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if split == "train" and (table[TARGET] == "").all():
        raise KitError(
            f"{folder}: no file is {expected} {', '.join(classes)} (there is "
            f"{examples(file.relative_to(folder) for file in files)}); `labels` of the competition's YAML says which"
        )
    return table


def _list_container(competition: Competition, split: str, file: Path, labels: Path | None) -> pd.DataFrame:
    """One file of many pictures; a row's path is `file#row`."""
    count = num_pictures(file)
    known: Sequence[str] = [""] * count
    if competition.labels.layout == "idx" and labels is not None:
        numbers = read_idx(labels)
        if numbers.shape != (count,):
            raise KitError(
                f"{labels}: holds {numbers.size:,} labels for the {counted(count, 'picture')} of {file.name}"
            )
        known = _by_number(competition.classes, numbers, labels)
    if competition.labels.layout == "pixels-csv":
        table, column = read_pixel_table(file), competition.labels.column
        if column in table:
            known = table[column].tolist()
        elif split == "train":
            raise KitError(
                f"{file}: has no column '{column}' (beside its pixels: {', '.join(table.columns) or 'nothing'}); "
                f"correct `labels.column` in the competition's YAML"
            )
    problems = np.where([not label or label in competition.classes for label in known], "", "not one of the classes")
    ids = [str(competition.labels.first_id + row) for row in range(count)]
    labels_known = [label if label in competition.classes else "" for label in known]
    if split == "train" and not any(labels_known):
        raise KitError(f"{file}: no label is one of {', '.join(competition.classes)} (there is {examples(set(known))})")
    paths = [f"{file}{MARK}{row}" for row in range(count)]
    return pd.DataFrame(
        {"image_id": ids, "split": split, TARGET: labels_known, "path": paths, "problem": problems}, columns=COLUMNS
    )


def _by_number(classes: tuple[str, ...], numbers: np.ndarray, file: Path) -> list[str]:
    if numbers.max() >= len(classes):
        raise KitError(f"{file}: holds the label {numbers.max()}; there are {len(classes)} classes, counted from 0")
    return [classes[number] for number in numbers]


def _natural(file: Path) -> list[tuple[int, int, str]]:
    """cat.2 before cat.10."""
    parts = re.split(r"(\d+)", str(file))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
