"""index: every image file read once -> `data/<competition>/index.csv`, a row per image."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from kit import console
from kit.artifacts import Artifact, to_make
from kit.competition import Competition
from kit.data.columns import names_of
from kit.data.depth import set_range
from kit.data.duplicates import MAX_GROUP, near_identical_groups
from kit.data.facts import hash_values, look_at
from kit.data.images import DECODED_BY
from kit.data.layouts import Places, list_split
from kit.data.places import require_in_raw
from kit.data.reading import SEPARATOR, Reading, parts_of
from kit.data.samples_seen import linked, one_row_each
from kit.data.sources import holding_file
from kit.data.table import (
    MEANS,
    RANGE,
    SEEN,
    TARGET,
    VARIANCES,
    channel_columns,
    class_counts,
    readable,
    target_columns,
)
from kit.data.values import written
from kit.errors import KitError, counted, examples
from kit.locks import lock
from kit.run.run import Run
from kit.run.submission import images_asked_for, read_sample
from kit.workspace import atomic_path, fingerprint

VERSION = 5


@dataclass(frozen=True)
class IndexResult:
    path: Path
    num_train: int
    num_test: int
    num_problems: int
    num_unreadable: int
    num_groups: int  # of two or more near-identical images


def index(run: Run, force: bool = False) -> IndexResult:
    """Read every file once: size, md5, difference hash, channel statistics, near-duplicates, problems."""
    competition = run.competition
    raw, path = run.workspace.raw(competition.name), run.workspace.index(competition.name)
    files = list_competition(competition, raw)
    with lock(path.with_name(".index.lock"), str(path)):
        held = dict.fromkeys(holding_file(part) for path in files["path"] for part in parts_of(path))
        listing = [(_within(raw, file), *facts) for file in held if (facts := _facts(file)) is not None]
        described = files.drop(columns=["path", "problem"]).to_numpy().tolist()
        inputs = fingerprint(
            VERSION, list(files.columns), described, listing, *DECODED_BY, *Reading.of(competition).facts
        )
        made = Artifact(str(path), path.with_name(".index.json"), inputs, [path])
        for artifact in to_make("index", [made], force):
            with artifact.making(), atomic_path(path) as temporary:
                _index(files, raw, competition).to_csv(temporary, index=False)
        run.refresh()
    result = _result(path, run.index)
    _report(result, run.index, competition)
    return result


def list_competition(competition: Competition, raw: Path) -> pd.DataFrame:
    """Every training and test picture, by the competition's layout; raises `KitError` when a folder is missing."""
    places = {role: require_in_raw(competition, raw, role) for role in competition.files.roles()}
    wanted = None
    if competition.files.sample_submission or competition.files.test_ids:
        table = places.get("sample_submission", places.get("test_ids", []))[0]
        wanted = images_asked_for(competition, read_sample(competition, raw), str(table))
    train = list_split(competition, "train", _places_of("train", places), wanted)
    if not competition.files.test:
        return train
    test = list_split(competition, "test", _places_of("test", places), wanted)
    _check(competition, train, test, wanted, places)
    return pd.concat([train, test], ignore_index=True)


def _places_of(split: str, places: Mapping[str, list[Path]]) -> Places:
    labels = places.get(f"{split}_labels", places.get(f"{split}_table", []))
    return Places(places[split], labels, places.get(f"{split}_groups", []))


def _check(
    competition: Competition, train: pd.DataFrame, test: pd.DataFrame, wanted: list[str] | None,
    places: dict[str, list[Path]],
) -> None:  # fmt: skip
    """What would otherwise come up after hours of training: ids without a picture, classes without an example."""
    there = set(test["image_id"])
    missing = [image_id for image_id in wanted or [] if image_id not in there]
    if missing:
        table = places.get("sample_submission", places.get("test_ids", []))[0]
        column = f"{table}: column '{competition.submission.id_column}'"
        stray = f"{counted(len(missing), 'id')} without a picture in {' and '.join(one.name for one in places['test'])}"
        advice = "correct `submission.id_column` or `files.test` in the competition's YAML, or download again"
        raise KitError(f"{column}: {stray} ({examples(missing)}; found {examples(sorted(there))}); {advice}")
    if competition.task == "number":
        return
    if competition.task == "labels":
        seen = {name for name in competition.classes if (train[f"target_{name}"] == "1").any()}
    else:
        seen = set(train[TARGET])
    unseen = [name for name in competition.classes if name not in seen]
    if unseen:
        place = places.get("train_labels", places["train"])[0]
        if competition.submission.format == "probabilities" and competition.files.sample_submission:
            console.warn(f"{place}: no training image has the class {examples(unseen)}, which the sample asks for")
            return
        advice = "correct `labels.classes` in the competition's YAML, or the labels"
        raise KitError(f"{place}: no training image has the class {examples(unseen)}; {advice}")


def _facts(file: str) -> tuple[int, int] | None:
    """(size in bytes, time of the last change), or `None` where there is no such file."""
    try:
        seen = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen.st_size, seen.st_mtime_ns


def _index(files: pd.DataFrame, raw: Path, competition: Competition) -> pd.DataFrame:
    parts = [parts_of(path) for path in files["path"]]
    each = [part for row in parts for part in row]
    depth, deep_parts = set_range(each)
    owners = np.repeat(np.arange(len(files)), [len(row) for row in parts])
    deep = np.bincount(owners, deep_parts, len(files)) > 0
    reading = replace(Reading.of(competition), value_range=depth)
    if reading.is_usual and len(each) > len(files):
        seen, miniatures = look_at(each, "index", reading)
        facts, paths = one_row_each(seen, parts)
    else:
        paths, owners = files["path"].tolist(), np.arange(len(files))
        facts, miniatures = look_at(paths, "index", reading)
        seen = facts
    table = pd.concat([files.drop(columns="problem"), facts], axis=1)
    means, variances = channel_columns(reading.channels)
    more = [*means[len(MEANS) :], *variances[len(VARIANCES) :]]
    extra = {} if depth is None else {RANGE: np.where(deep, written(depth), "")}
    if depth is not None:
        console.stage("index", f"{int(deep.sum()):,} pictures deeper than 8 bits: black to white is {written(depth)}")
    table["problem"] = [" ; ".join(filter(None, both)) for both in zip(files["problem"], facts["problem"], strict=True)]
    table["path"] = [SEPARATOR.join(_within(raw, part) for part in parts_of(path)) for path in paths]
    if not readable(table).any():
        first = f"{table['path'].iloc[0]}: {table['problem'].iloc[0]}"
        raise KitError(f"{raw}: none of {len(table):,} files is a readable picture ({first}); get them again")
    good = readable(seen)
    hashes = hash_values(seen.loc[good, "dhash"])
    groups, apart = near_identical_groups(seen.loc[good, "md5"].tolist(), hashes, miniatures[good])
    if apart:
        limit = f"a group is what is near one image, at most {MAX_GROUP}"
        console.warn(
            f"{counted(apart, 'pair')} of near-identical images in different groups ({limit}): where folds separate "
            f"them, the CV is optimistic"
        )
    of_pictures = np.arange(len(seen))
    of_pictures[good] = np.flatnonzero(good)[groups]
    table["group"] = of_pictures if len(seen) == len(table) else linked(of_pictures, owners, len(table))
    return table[
        ["image_id", "split", *target_columns(table), "path", "given_group", *SEEN, *more, *names_of(competition)]
    ].assign(**extra)


def _within(raw: Path, path: str) -> str:
    inside = path.removeprefix(f"{raw}{os.sep}")
    return inside if inside != path else os.path.relpath(path, raw)


def _result(path: Path, index: pd.DataFrame) -> IndexResult:
    problems, train = index["problem"] != "", index["split"] == "train"
    groups = int((index["group"].value_counts() > 1).sum())
    unreadable = int((~readable(index)).sum())
    return IndexResult(path, int(train.sum()), int((~train).sum()), int(problems.sum()), unreadable, groups)


def _report(result: IndexResult, index: pd.DataFrame, competition: Competition) -> None:
    slices = int(index["format"].str.endswith(" stack").sum())
    if slices:
        text = "holds" if slices == 1 else "hold"
        console.stage("index", f"{counted(slices, 'picture')} {text} several frames or pages: the middle one is used")
    counts = class_counts(index[index["split"] == "train"], competition)
    classes = examples((f"{name}: {count:,}" for name, count in counts.items()), 20)
    inside = f" ({classes})" if counts else ""
    console.stage("index", f"{result.num_train:,} training images{inside}, {result.num_test:,} test images")
    console.stage("index", f"{counted(result.num_groups, 'group')} of near-identical images, each kept in one fold")
    troubled = index[index["problem"] != ""]
    if len(troubled):
        unusable = result.num_unreadable
        console.warn(f"{counted(len(troubled), 'file')} with a problem, {unusable:,} without a readable picture:")
        for row in troubled.head(20).itertuples():
            console.say(f"          {row.path}: {row.problem}")
        if len(troubled) > 20:
            console.say(f"          ... for all of them see column `problem` of {result.path}")
