"""Figures of a search."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from kit.figures.base import logarithmic, plt, save

MOST_LETTERS = 14  # of a value on an axis


def search_history(
    done: Mapping[int, float], higher: bool, importance: Mapping[str, float], title: str, path: Path
) -> None:
    """Left each trial's value by its number, with the best so far; right how much of the variance each key explains."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    values = np.array(list(done.values()))
    left.plot(list(done), values, "o", label="trial")
    best = np.maximum.accumulate(values) if higher else np.minimum.accumulate(values)
    left.step(list(done), best, where="post", color="C1", label="best so far")
    left.set(xlabel="trial", title=title)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend()
    names = sorted(importance, key=lambda name: importance[name])
    bars = right.barh(names, [importance[name] for name in names], color="C0")
    right.bar_label(bars, fmt="{:.0%}", padding=4)
    right.set(xlabel="share of the variance between trials (fANOVA)", title="what matters", xlim=(0, 1.1))
    right.grid(False, axis="y")
    save(figure, path)


def search_slices(
    values: Mapping[str, Sequence[Any]], scores: Sequence[float], logs: Collection[str], title: str, path: Path
) -> None:
    """A panel for each key: the trials' scores by its value, later ones darker. `logs`: keys on a logarithmic axis."""
    columns = min(3, len(values))
    rows = -(-len(values) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.8 * columns, 3.1 * rows + 0.4), sharey=True, squeeze=False)
    for axis in axes.flat[len(values) :]:
        axis.axis("off")
    for axis, (key, tried) in zip(axes.flat, values.items(), strict=False):
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in tried)
        places = tried if numbers else [str(one)[:MOST_LETTERS] for one in tried]
        axis.scatter(places, scores, c=np.arange(len(scores)), cmap="Blues", vmin=-len(scores), s=28)
        if key in logs:
            logarithmic(axis, "x")
        axis.set(xlabel=key)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    save(figure, path)
