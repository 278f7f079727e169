"""Someone else's predictions as a member of a blend: two tables, as team mates hand them to each other."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.competition import NAME_PATTERN, NAME_WORDS, Competition
from kit.data.matching import FileNames
from kit.data.rows import read_rows
from kit.data.text_tables import read_text_csv
from kit.errors import ConfigError, KitError, counted, examples
from kit.run.member import Member

FORM = "--with NAME=OOF.csv,TEST.csv"
SUM = 0.02  # a row of probabilities may miss 1 by this much


def read_friend(given: str, like: Member) -> Member:
    """`given`: NAME=OOF.csv,TEST.csv. `like`: a run's member, whose images, labels and folds count. Columns: the id,
    then as in a submission of probabilities (a column per class, or the positive class's; a number), or as the kit
    writes them; `fold`, where the friend has one. Any order; every image once. Raises `KitError` where the tables do
    not fit."""
    name, equals, files = given.partition("=")
    oof_file, comma, test_file = files.partition(",")
    if not (equals and name and oof_file) or (like.test_ids and not comma):
        raise ConfigError(f"--with {given}: expected {FORM}")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigError(f"--with {given}: '{name}': expected {NAME_WORDS}")
    paths = [Path(file).expanduser() for file in (oof_file, test_file) if file]
    competition = like.run.competition
    oof, fold = _read(paths[0], like.oof["image_id"].tolist(), competition)
    tests = [_read(path, like.test_ids, competition)[0] for path in paths[1:]]
    _compare_folds(name, paths[0], fold, like)
    table = like.oof.copy()
    table[competition.predictions] = oof
    return replace(like, name=name, oof=table, tests=tests, files=paths, by_friend=True)


def _read(file: Path, ids: Sequence[str], competition: Competition) -> tuple[np.ndarray, list[str] | None]:
    """(predictions (N, C) of `ids`, in their order; their folds, where the file has them)"""
    table = read_rows(file) if file.with_suffix(".npz").is_file() else read_text_csv(file, str(file))
    column = next((one for one in (competition.submission.id_column, "image_id", "id") if one in table), None)
    if column is None:
        there = examples(table.columns, 6)
        raise KitError(
            f"{file}: no column '{competition.submission.id_column}' that names the images (there is {there})"
        )
    twice = table[column][table[column].duplicated()]
    if len(twice):
        raise KitError(f"{file}: column '{column}': {counted(len(twice), 'image')} with two rows ({examples(twice)})")
    found = FileNames(table[column].tolist()).match(list(ids)).places
    rows = [places[0] if len(places) == 1 else -1 for places in found]
    lost = [name for name, row in zip(ids, rows, strict=True) if row < 0]
    if lost:
        both = f"{examples(lost)}; it has {examples(table[column])}"
        raise KitError(f"{file}: {len(lost):,} of {counted(len(ids), 'image')} have no row ({both})")
    table = table.iloc[rows].reset_index(drop=True)
    folds = table["fold"].tolist() if "fold" in table else None
    return _values(table.drop(columns=column), file, competition), folds


def _values(table: pd.DataFrame, file: Path, competition: Competition) -> np.ndarray:
    """float (N, C). One column for two classes is the positive one's."""
    classes, own = competition.classes, competition.predictions
    ways = [own, list(classes), [competition.written(name) for name in classes]]
    columns = next((way for way in ways if way and set(way) <= set(table)), None)
    others = [str(name) for name in table if name not in {"fold", *competition.targets}]
    if columns is None and len(others) == 1 and len(classes) <= 2:
        columns = others
    if columns is None:
        wanted = f"a column per class ({examples(classes, 4)})" if len(classes) > 1 else "one column of predictions"
        raise KitError(
            f"{file}: expected {wanted}, as {examples(own, 2)} or by the names alone; there is {examples(others, 6)}"
        )
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    wrong = ~np.isfinite(values)
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        cell = table[columns[place]].iloc[row]
        raise KitError(f"{file}: column '{columns[place]}' holds '{cell}': expected {_wanted(competition)}")
    if competition.task == "number":
        return values
    if values.min() < 0 or values.max() > 1:
        low, high = values.min(), values.max()
        raise KitError(
            f"{file}: values from {low:.4g} to {high:.4g}: expected probabilities; of logits take the softmax"
        )
    if np.isin(values, (0, 1)).all():
        raise KitError(f"{file}: holds 0 and 1 alone: labels; a blend needs probabilities")
    if len(columns) == 1 and len(classes) == 2:
        values = np.hstack([values, 1 - values] if competition.positive_index == 0 else [1 - values, values])
    sums = values.sum(axis=1)
    if competition.task != "labels" and np.abs(sums - 1).max() > SUM:
        raise KitError(
            f"{file}: rows sum to {sums.min():.3g} up to {sums.max():.3g}: expected probabilities that sum to 1"
        )
    return values / sums[:, None] if competition.task != "labels" else values


def _wanted(competition: Competition) -> str:
    return "a number" if competition.task == "number" else "probabilities, not labels"


def _compare_folds(name: str, file: Path, folds: list[str] | None, like: Member) -> None:
    """Say what the friend's folds are, beside ours: his OOF counts as he made it."""
    if folds is None:
        text = "no column 'fold': that each prediction is by a model that never saw its image is taken on trust, and a"
        console.warn(f"{name}: {file} has {text} score that is too good would not show in this CV")
        return
    pairs = pd.DataFrame({"ours": like.oof["fold"].astype(str), "theirs": folds}).drop_duplicates()
    if pairs["ours"].is_unique and pairs["theirs"].is_unique:
        console.stage("ensemble", f"{name}: the same folds as {like.name}")
        return
    group_of = like.run.group_of
    groups = pd.DataFrame({"group": like.oof["image_id"].map(group_of), "fold": folds})
    apart = int((groups.groupby("group")["fold"].nunique() > 1).sum())
    text = f"{name}: other folds than {like.name}'s ({len(set(folds))} of them)"
    if apart:
        kinds = "near-identical images or patients, sites"
        console.warn(f"{text}; {counted(apart, 'group')} ({kinds}) lie in several of them: that OOF is too good")
    else:
        console.stage("ensemble", f"{text}; none of them divides a group")
