"""explore: what the data is like -> `data/<competition>/stats.json` and `figures/`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kit import console, figures
from kit.artifacts import Artifact, to_make
from kit.competition import Competition
from kit.data.images import resize_square
from kit.data.reading import Reading, as_rgb, located, parts_of
from kit.data.table import (
    MEANS,
    TARGET,
    VARIANCES,
    channel_columns,
    channel_statistics,
    class_counts,
    readable,
    targets,
    trainable,
)
from kit.errors import counted
from kit.randomness import key
from kit.run.run import Run
from kit.workspace import file_hash, fingerprint, read_json, write_json

VERSION = 2
PER_SHEET = 40
SHEETS = 20  # classes with a sheet
THUMBNAIL = 128
Thumbnail = Callable[[str], np.ndarray]
"""A path of the index -> uint8 (THUMBNAIL, THUMBNAIL, 3)"""
MIN_FOR_ADVERSARIAL = 50  # images of each split; fewer say nothing


@dataclass(frozen=True)
class ExploreResult:
    stats: Path
    figures: Path
    summary: dict[str, Any]


def explore(run: Run, force: bool = False) -> ExploreResult:
    """Statistics and figures of the whole data set, from the index; pixels are read only for the contact sheets."""
    competition, index = run.competition, run.index
    index_path, folder = run.workspace.index(competition.name), run.workspace.figures(competition.name)
    path = run.workspace.stats(competition.name)
    inputs = fingerprint(VERSION, file_hash(index_path), list(competition.classes or competition.numbers))
    first = "target" if competition.task == "number" else "classes"
    outputs = [path, *(folder / f"{name}.png" for name in (first, "sizes", "channels"))]
    for artifact in to_make("explore", [Artifact(str(path), path.with_name(".explore.json"), inputs, outputs)], force):
        with artifact.making():
            stats = _statistics(index, competition)
            raw, reading = run.workspace.raw(competition.name), Reading.of(competition, index)
            _draw(index, competition, partial(_thumbnail, raw, reading), folder)
            write_json(path, stats)
    stats = read_json(path)
    _report(stats, folder)
    return ExploreResult(path, folder, stats)


def _statistics(index: pd.DataFrame, competition: Competition) -> dict[str, Any]:
    usable, train = index[readable(index)], index[trainable(index)]
    mean, std = channel_statistics(train)
    means, variances = channel_columns(len(mean))
    pixels = (train["width"] * train["height"]).to_numpy(float)
    problems = index.loc[index["problem"] != "", ["path", "problem"]]
    groups = _groups(usable)
    named = competition.targets if competition.task != "number" else []
    contradicting = [g for g in groups if any(g.loc[g["split"] == "train", c].nunique() > 1 for c in named)]
    twins = [g for g in groups if g["split"].nunique() > 1]
    return {
        "competition": competition.name,
        "images": {split: int((index["split"] == split).sum()) for split in ("train", "test")},
        "classes": class_counts(train, competition),
        "target": {name: _spread(pd.Series(column)) for name, column in _numbers(train, competition).items()} or None,
        "width": _spread(usable["width"]), "height": _spread(usable["height"]),
        "aspect": _spread(usable["width"] / usable["height"]), "bytes": _spread(usable["bytes"]),
        "formats": {str(k): int(v) for k, v in usable["format"].value_counts().items()},
        "channels": {
            "of": "training pixels, RGB in [0, 1], every image with equal weight",
            "mean": mean, "std": std, "variance": [value**2 for value in std],
            "mean_by_pixels": np.average(train[means].to_numpy(float), axis=0, weights=pixels).tolist(),
            "mean_of_image_variances": train[variances].mean().tolist(),
        },
        "problems": dict(zip(problems["path"], problems["problem"], strict=True)),
        "near_identical": {
            "groups": [g["path"].tolist() for g in groups],
            "with_contradicting_labels": [g["path"].tolist() for g in contradicting],
            "across_train_and_test": [g["path"].tolist() for g in twins],
        },
        "adversarial": _adversarial(usable),
    }  # fmt: skip


def _spread(values: pd.Series) -> dict[str, float]:
    quantiles = values.quantile([0, 0.05, 0.5, 0.95, 1]).tolist()
    return dict(zip(("min", "p5", "median", "p95", "max"), map(float, quantiles), strict=True))


def _numbers(train: pd.DataFrame, competition: Competition) -> dict[str, np.ndarray]:
    return dict(zip(competition.numbers, targets(train, competition).T, strict=True)) if competition.numbers else {}


def _groups(index: pd.DataFrame) -> list[pd.DataFrame]:
    several = index[index.duplicated("group", keep=False)]
    return sorted((g for _, g in several.groupby("group")), key=lambda g: (-len(g), g["path"].iloc[0]))


def _adversarial(index: pd.DataFrame) -> dict[str, Any] | None:
    """Can a small model tell train from test by size, bytes and colours? Cross-validated ROC AUC; 0.5 means no."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # takes longer to load than most of the kit
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    test = (index["split"] == "test").to_numpy()
    if min(test.sum(), (~test).sum()) < MIN_FOR_ADVERSARIAL:
        return None
    columns = ["width", "height", "bytes", *MEANS, *VARIANCES]
    features = index[columns].assign(bytes_per_pixel=index["bytes"] / (index["width"] * index["height"]))
    seed = key("adversarial") % 2**31
    model = HistGradientBoostingClassifier(max_iter=60, class_weight="balanced", random_state=seed)
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    guesses = cross_val_predict(model, features, test, cv=folds, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(test, guesses))
    n, m = int(test.sum()), int((~test).sum())
    error = float(np.sqrt((n + m + 1) / (12 * n * m)))  # of the AUC where nothing tells them apart (Mann-Whitney)
    model.fit(features, test)
    importance = permutation_importance(model, features, test, scoring="roc_auc", n_repeats=3, random_state=seed)
    telling = str(features.columns[int(importance.importances_mean.argmax())])
    return {"auc": auc, "chance": [0.5 - 1.96 * error, 0.5 + 1.96 * error], "most_telling": telling}


def _thumbnail(raw: Path, reading: Reading, path: str) -> np.ndarray:
    """uint8 (THUMBNAIL, THUMBNAIL, 3); of several pictures the first, of channels the first three."""
    shown = located(raw, path if not reading.is_usual else parts_of(path)[0])
    return resize_square(as_rgb(reading.indexed(shown, THUMBNAIL).rgb), THUMBNAIL, "pad")


def _draw(index: pd.DataFrame, competition: Competition, thumbnail: Thumbnail, folder: Path) -> None:
    usable, train = index[readable(index)], index[trainable(index)]
    if competition.task == "number":
        figures.histograms(_numbers(train, competition), f"{len(train):,} training images", folder / "target.png")
    else:
        figures.class_counts(class_counts(train, competition), len(train), folder / "classes.png")
    width, height, split = (usable[name].to_numpy() for name in ("width", "height", "split"))
    figures.image_sizes(width, height, split, folder / "sizes.png")
    means, stds = train[MEANS].to_numpy(float), np.sqrt(train[VARIANCES].to_numpy(float))
    figures.channel_histograms(means, stds, f"{len(train):,} training images", folder / "channels.png")
    generator = np.random.default_rng(key("contact sheet", competition.name))
    for name, members in _classes_shown(train, competition).items():
        some = members.iloc[np.sort(generator.choice(len(members), min(PER_SHEET, len(members)), replace=False))]
        file = folder / ("class-" + re.sub(r"[^\w.-]+", "_", name) + ".png")
        _sheet(some, some["image_id"].tolist(), f"{name}: {len(some)} of {len(members):,}", thumbnail, file)
    groups = _groups(usable)
    pairs = pd.concat([g.head(4) for g in groups]).head(PER_SHEET) if groups else usable.head(0)
    captions = [f"{row.split} {row.image_id}\ngroup {row.group}" for row in pairs.itertuples()]
    title = f"near-identical: {counted(len(groups), 'group')} ({counted(len(pairs), 'image')} shown)"
    _sheet(pairs, captions, title, thumbnail, folder / "near_identical.png")
    odd = usable[usable["problem"] != ""].head(PER_SHEET)
    captions = [f"{row.image_id}\n{str(row.problem)[:24]}" for row in odd.itertuples()]
    _sheet(odd, captions, "readable, with a problem", thumbnail, folder / "problems.png")


def _classes_shown(train: pd.DataFrame, competition: Competition) -> dict[str, pd.DataFrame]:
    """What gets its own contact sheet: the most frequent classes; of numbers, the first one's lowest and highest
    tenth."""
    if competition.task == "number":
        ordered = train.iloc[np.argsort(targets(train, competition)[:, 0], kind="stable")]
        tenth = max(1, len(train) // 10)
        return {"lowest": ordered.head(tenth), "highest": ordered.tail(tenth)}
    counts = class_counts(train, competition)
    names = [name for name in counts if counts[name] >= sorted(counts.values())[-SHEETS:][0]][:SHEETS]
    if competition.task == "labels":
        return {name: train[train[f"target_{name}"] == "1"] for name in names}
    return {name: train[train[TARGET] == name] for name in names}


def _sheet(rows: pd.DataFrame, captions: list[str], title: str, thumbnail: Thumbnail, path: Path) -> None:
    path.unlink(missing_ok=True)  # an outdated sheet, in case there is nothing left to show
    if len(rows):
        figures.contact_sheet([thumbnail(one) for one in rows["path"]], captions, title, path)


def _report(stats: dict[str, Any], folder: Path) -> None:
    channels = stats["channels"]
    called = ["R", "G", "B", *map(str, range(4, 1 + len(channels["mean"])))][: len(channels["mean"])]
    rows = [
        [name, *(f"{channels[key][c]:.5f}" for key in ("mean", "std", "variance"))] for c, name in enumerate(called)
    ]
    console.table("Channels over the training pixels", ["channel", "mean", "std", "variance"], rows)
    names = ("width", "height", "aspect", "bytes")
    rows = [[name, *(f"{value:,.2f}".removesuffix(".00") for value in stats[name].values())] for name in names]
    console.table("Sizes", ["", "min", "5 %", "median", "95 %", "max"], rows)
    near = stats["near_identical"]
    console.stage("explore", f"{counted(len(near['groups']), 'group')} of near-identical images")
    texts = {"have different labels": "with_contradicting_labels", "span train and test": "across_train_and_test"}
    for text, groups in ((text, near[which]) for text, which in texts.items()):
        if groups:
            console.warn(f"{len(groups)} of these groups {text}, for example {', '.join(groups[0][:3])}")
    if stats["problems"]:
        console.warn(f"{counted(len(stats['problems']), 'file')} with a problem (listed in stats.json)")
    check = stats["adversarial"]
    if check:
        low, high = check["chance"]
        verdict = "no difference seen" if check["auc"] <= high else f"they differ, above all in {check['most_telling']}"
        text = f"telling train from test: AUC {check['auc']:.3f} (chance: {low:.3f} to {high:.3f})"
        console.stage("explore", f"{text}: {verdict}")
    console.stage("explore", f"figures: {folder}")
