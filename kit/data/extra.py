"""Extra labelled pictures (`data.extra`): trained on by every fold, never scored, never a copy of what is scored."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import Competition
from kit.data.duplicates import likeness, near_any
from kit.data.facts import hash_values, look_at
from kit.data.images import DECODED_BY
from kit.data.layouts import Places, list_split
from kit.data.reading import Reading
from kit.data.table import TARGET, read_index, readable, value_range
from kit.errors import ConfigError, KitError, counted, examples
from kit.locks import lock
from kit.sections import Labels
from kit.workspace import Workspace, atomic_path, fingerprint

VERSION = 1
PREFIX = "extra/"  # of their ids


def extra_index(folder: Path, competition: Competition, index: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """The folder's pictures as rows of the index, split `extra`; without those near-identical to the competition's.
    `folder` holds a folder of pictures per class. Paths are absolute. Computed once, kept beside the index. Raises
    `ConfigError` where there is no such folder, `KitError` where it holds no class."""
    if competition.task not in {"classes", "ordinal"}:
        raise ConfigError(f"data.extra: needs one class per image; this competition's task is {competition.task}")
    if competition.pictures is not None:
        raise ConfigError("data.extra: adds single pictures; this competition's samples have several")
    if not folder.is_dir():
        raise ConfigError(f"data.extra: {folder}: no such folder; expected one that holds a folder per class")
    files = _labelled_files(folder, competition)
    facts = [(path, os.stat(path).st_size, os.stat(path).st_mtime_ns) for path in files["path"]]
    key = fingerprint(VERSION, facts, files[TARGET].tolist(), index["md5"].tolist(), *DECODED_BY)
    kept = workspace.index(competition.name).with_name(f"extra-{key[:16]}.csv")
    with lock(kept.with_suffix(".lock"), str(kept), patience=3600):
        if not kept.is_file():
            looked_at = _looked_at(files, index, workspace.raw(competition.name))
            with atomic_path(kept) as temporary:
                looked_at.to_csv(temporary, index=False)
    return read_index(kept)


def _labelled_files(folder: Path, competition: Competition) -> pd.DataFrame:
    inside = sorted(place.name for place in folder.iterdir() if place.is_dir())
    if not set(inside) & set(competition.classes):
        raise KitError(f"{folder}: no folder in it is named after a class ({examples(competition.classes, 6)})")
    by_folder = Labels(competition.classes, "folders", rename=competition.labels.rename)
    plain = replace(competition, labels=by_folder, files=replace(competition.files, train_groups=()))
    files = list_split(plain, "train", Places([folder.resolve()]))
    return files[files[TARGET] != ""].reset_index(drop=True)


def _looked_at(files: pd.DataFrame, index: pd.DataFrame, raw: Path) -> pd.DataFrame:
    reading = Reading(value_range(index))
    facts, miniatures = look_at(files["path"].tolist(), "extra", reading)
    table = pd.concat([files.drop(columns="problem"), facts], axis=1)
    seen = readable(table)
    table, miniatures = table[seen].reset_index(drop=True), miniatures[seen]
    theirs = index[readable(index)]

    def miniature(row: int) -> np.ndarray:
        return likeness(reading.indexed(raw / theirs["path"].iloc[row]).rgb)[1]

    hashes = hash_values(table["dhash"]), hash_values(theirs["dhash"])
    copies = near_any(hashes[0], miniatures, hashes[1], miniature)
    copies |= table["md5"].isin(set(theirs["md5"])).to_numpy()
    unread = f", {int((~seen).sum()):,} without a readable picture" if not seen.all() else ""
    console.stage("extra", f"{counted(len(table), 'labelled picture')} beside the competition's own{unread}")
    if copies.any():
        console.warn(f"{int(copies.sum()):,} of them are near-identical to one of the competition's own: left out")
    table = table[~copies]
    return table.assign(image_id=PREFIX + table["image_id"], split="extra", group=-1)
