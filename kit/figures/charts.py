"""Every figure of a run and its data. Each function writes one PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from kit.figures.base import grid, logarithmic, plt, save, sns, write

MANY_CLASSES, CAPTION = 50, 26  # named in a figure; characters per line


def learning_curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], metric: str, title: str, path: Path) -> None:
    """Losses on the left (training dotted), the metric and the learning rate on the right; one colour per fold. A fold
    without validation images shows the test set's, where its labels are known."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    rate = right.twinx()
    watched = set()
    for number, (fold, history) in enumerate(histories.items()):
        color, epochs = f"C{number % 10}", [line["epoch"] for line in history]
        left.plot(epochs, [line["train_loss"] for line in history], ":", color=color)
        rate.plot(epochs, [line["learning_rate"] for line in history], "--", color="0.75", linewidth=1)
        kinds = [kind for kind in ("valid", "test") if history and history[0].get(f"{kind}_loss") is not None]
        for kind in kinds[:1]:
            watched.add({"valid": "validation", "test": "test"}[kind])
            left.plot(epochs, [line[f"{kind}_loss"] for line in history], marker=".", color=color, label=f"fold {fold}")
            right.plot(epochs, [line[f"{kind}_{metric}"] for line in history], marker=".", color=color)
    shown = " and ".join(sorted(watched, reverse=True)) or "no validation"
    left.set(xlabel="epoch", ylabel="loss", title=f"{title}: {shown}, training dotted", ylim=(0, None))
    if left.get_legend_handles_labels()[1]:
        left.legend()
    right.set(xlabel="epoch", ylabel=f"{shown} {metric}", title=f"{metric}; learning rate dashed")
    rate.set(ylabel="learning rate after the epoch")
    rate.grid(False)
    for axis in (left, right):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    save(figure, path)


def penalties(tried: Sequence[float], paths: np.ndarray, chosen: Mapping[str, float], title: str, path: Path) -> None:
    """Each fold's loss by the penalty of its head: `paths` float (folds, tried); rings mark those `chosen`."""
    figure, axis = plt.subplots(figsize=(6, 4))
    for fold, losses in enumerate(paths):
        axis.plot(tried, losses, marker=".", color=f"C{fold % 10}", label=f"fold {fold}")
        if str(fold) in chosen:
            place = list(tried).index(chosen[str(fold)])
            axis.plot(chosen[str(fold)], losses[place], "o", fillstyle="none", markersize=11, color=f"C{fold % 10}")
    logarithmic(axis, "x")
    axis.set(xlabel="penalty", ylabel="loss on the fold's own images", title=f"{title}: heads")
    axis.legend(fontsize=8)
    save(figure, path)


def rate_sweep(rates: np.ndarray, losses: np.ndarray, suggestion: float, title: str, path: Path) -> None:
    """The smoothed loss as the learning rate rises, and the suggested rate."""
    figure, axis = plt.subplots(figsize=(6, 4))
    axis.plot(rates, losses)
    axis.axvline(suggestion, color="C1", linestyle="--", label=f"suggested: {suggestion:.1e}")
    low = float(losses.min())
    logarithmic(axis, "x")
    axis.set(xlabel="learning rate", ylabel="training loss, smoothed", title=f"{title}: LR range test")
    axis.set_ylim(low - 0.05 * (losses[0] - low + 0.1), losses[0] + 0.5 * (losses[0] - low + 0.1))
    axis.legend()
    save(figure, path)


def cv_against_lb(points: Mapping[str, tuple[float, float]], metric: str, title: str, path: Path) -> None:
    """CV against Kaggle's score, a point for each submission."""
    figure, axis = plt.subplots(figsize=(5, 5))
    values = np.array(list(points.values()))
    low, high = values.min(), values.max()
    margin = 0.05 * (high - low) or 0.01
    axis.plot([low - margin, high + margin], [low - margin, high + margin], ":", color="0.5")
    for name, (cv, lb) in points.items():
        axis.plot(cv, lb, "o")
        axis.annotate(name, (cv, lb), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axis.set(xlabel=f"CV {metric}", ylabel=f"LB {metric}", title=title)
    save(figure, path)


def reliability(curves: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], title: str, path: Path) -> None:
    """Observed share by predicted probability; `curves[name]`: (mean prediction, observed share, count) per bin."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(5.5, 6.5), height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], ":", color="0.5")
    for number, (name, (said, seen, count)) in enumerate(curves.items()):
        above.plot(said, seen, marker=".", color=f"C{number}", label=name)
        below.step(said, count, where="mid", color=f"C{number}")
    above.set(ylabel="observed share", title=title)
    above.legend()
    logarithmic(below, "y")
    below.set(xlabel="predicted probability", ylabel="predictions")
    save(figure, path)


def contact_sheet(pictures: Sequence[np.ndarray], captions: Sequence[str], title: str, path: Path) -> None:
    """uint8 RGB pictures of any size in a grid, each with a caption of a few lines. All on one axis, in inches: one for
    each picture would take matplotlib seconds."""
    columns = min(8, len(pictures))
    width, height, above = 1.75 * columns, 2.15 * -(-len(pictures) // columns), 0.4
    figure = plt.figure(figsize=(width, height + above))
    axis = figure.add_axes((0, 0, 1, 1), frameon=False)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(place, columns)
        high, wide = (np.array(picture.shape[:2]) * 1.6 / max(picture.shape[:2])).tolist()
        middle, bottom = 1.75 * (column + 0.5), 2.15 * (row + 1)
        axis.imshow(picture, extent=(middle - wide / 2, middle + wide / 2, bottom, bottom - high))
        lines = [line if len(line) <= CAPTION else line[: CAPTION - 1] + "…" for line in caption.split("\n")]
        axis.text(middle, bottom - high - 0.04, "\n".join(lines), fontsize=8, ha="center", va="bottom")
    axis.set(xlim=(0, width), ylim=(height, -above), xticks=[], yticks=[])
    axis.text(0.1, -above / 2, title, fontsize=11)
    write(figure, path)


def confusion_matrix(targets: np.ndarray, guesses: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Counts, one row per true class; `targets` and `guesses` int (N,). Of many classes, those with the most errors."""
    wrong = targets != guesses
    errors = np.bincount(targets[wrong], minlength=len(classes)) + np.bincount(guesses[wrong], minlength=len(classes))
    shown = np.sort(np.argsort(-errors, kind="stable")[:MANY_CLASSES])
    place = np.full(len(classes), -1)
    place[shown] = np.arange(len(shown))
    inside = (place[targets] >= 0) & (place[guesses] >= 0)
    counts = np.zeros((len(shown), len(shown)), np.int64)
    np.add.at(counts, (place[targets[inside]], place[guesses[inside]]), 1)
    totals = np.bincount(targets, minlength=len(classes))[shown]
    if len(shown) < len(classes):
        title += f"; the {len(shown)} of {len(classes):,} classes with the most errors"
    side = max(4.0, 0.55 * len(shown) + 2.5) if len(shown) <= 20 else 0.25 * len(shown) + 4
    figure, axis = plt.subplots(figsize=(side + 0.8, side))
    shares = counts / np.maximum(totals[:, None], 1)
    names = [classes[number] for number in shown]
    sns.heatmap(
        shares, fmt="d", cmap="Blues", vmin=0, vmax=1, ax=axis, cbar_kws={"label": "share of the row"},
        xticklabels=names, yticklabels=names, annot=counts if len(shown) <= 20 else False,
    )  # fmt: skip
    axis.set(xlabel="predicted", ylabel="true", title=title)
    save(figure, path)


def scatter(columns: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str, path: Path) -> None:
    """Predicted over true values, by number (true, predicted), both float (N,), with the line where they agree."""
    figure, axes = grid(len(columns), 6.0)
    for axis, (name, (wanted, said)) in zip(axes, columns.items(), strict=False):
        axis.scatter(wanted, said, s=8, alpha=0.4, linewidth=0)
        ends = [min(wanted.min(), said.min()), max(wanted.max(), said.max())]
        axis.plot(ends, ends, color="0.5", linewidth=1)
        axis.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    figure.suptitle(title, fontsize="medium")
    save(figure, path)


def label_scores(scores: Mapping[str, float], title: str, path: Path) -> None:
    """ROC AUC of each label; of many labels, the lowest."""
    lowest = dict(sorted(scores.items(), key=lambda item: item[1])[:MANY_CLASSES])
    figure, axis = plt.subplots(figsize=(8, max(2.0, 0.3 * len(lowest) + 1)))
    bars = axis.barh(list(lowest), list(lowest.values()), color="C0")
    axis.bar_label(bars, fmt="{:.4f}", padding=4)
    axis.invert_yaxis()
    axis.set(xlabel="ROC AUC", title=title, xlim=(0, 1.12))
    axis.grid(False, axis="y")
    save(figure, path)


def histograms(columns: Mapping[str, np.ndarray], title: str, path: Path) -> None:
    """How often each value occurs, by number; float (N,) each."""
    figure, axes = grid(len(columns), 4.0)
    for axis, (name, values) in zip(axes, columns.items(), strict=False):
        axis.hist(values, bins=50)
        axis.set(xlabel=name, ylabel="images")
    figure.suptitle(title, fontsize="medium")
    save(figure, path)


def class_counts(counts: Mapping[str, int], num_images: int, path: Path) -> None:
    """Training images per class, of `num_images` in all; of many classes, the sorted counts."""
    if len(counts) > MANY_CLASSES:
        figure, axis = plt.subplots(figsize=(8, 4))
        axis.plot(np.arange(1, len(counts) + 1), sorted(counts.values(), reverse=True))
        axis.set(xlabel="class, by frequency", ylabel="images")
        if min(counts.values()):
            logarithmic(axis, "y")
    else:
        figure, axis = plt.subplots(figsize=(8, max(2.0, 0.3 * len(counts) + 1)))
        names = list(counts)
        bars = axis.barh(names, [counts[name] for name in names], color="C0")
        axis.bar_label(bars, fmt="{:,.0f}", padding=4)
        axis.invert_yaxis()
        axis.set(xlabel="images")
        axis.margins(x=0.12)
        axis.grid(False, axis="y")
    axis.set_title(f"{num_images:,} training images, {len(counts):,} classes")
    save(figure, path)


def image_sizes(width: np.ndarray, height: np.ndarray, split: np.ndarray, path: Path) -> None:
    """Height over width, a dot per image, with the distribution of each at the margins."""
    data = {"width (px)": width, "height (px)": height, "split": split}
    given: dict[str, Any] = {"x": "width (px)", "y": "height (px)", "height": 7}
    if len(np.unique(width)) > 1 and len(np.unique(height)) > 1:
        dots = {"s": 10, "alpha": 0.35, "linewidth": 0}
        given |= {"hue": "split", "joint_kws": dots, "marginal_kws": {"warn_singular": False}}
    else:
        given |= {"marginal_kws": {"bins": 20, "binrange": (0, 1.05 * max(width.max(), height.max()))}}
    with np.errstate(all="ignore"):
        grid = sns.jointplot(data, **given)
    grid.ax_joint.set(xlim=(0, width.max() * 1.05), ylim=(0, height.max() * 1.05))
    grid.figure.suptitle(f"Sizes of {len(width):,} images", y=1.0)
    save(grid.figure, path)


def channel_histograms(means: np.ndarray, stds: np.ndarray, title: str, path: Path) -> None:
    """Each image's mean and standard deviation by channel; both float (N, 3), RGB in [0, 1], nan where an image has
    fewer channels."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4))
    for axis, values, name in ((axes[0], means, "mean"), (axes[1], stds, "standard deviation")):
        for channel, color in enumerate(("tab:red", "tab:green", "tab:blue")):
            if np.isnan(values[:, channel]).all():
                continue
            label = f"{'RGB'[channel]}: {values[:, channel].mean():.4f}"
            axis.hist(values[:, channel], bins=60, histtype="step", color=color, label=label, linewidth=1.5)
        axis.set(xlabel=f"{name} of an image's pixels", ylabel="images")
        axis.set_ylim(0, axis.get_ylim()[1] * 1.3)
        axis.legend(title=f"average {name}", loc="upper right", fontsize=9)
    figure.suptitle(title, x=0.01, ha="left")
    save(figure, path)
