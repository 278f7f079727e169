"""Keep the learning curves of measured runs, and draw all of them in one figure.

    python benchmarks/curves.py WORKSPACE RUN...     curves/RUN.csv from runs/RUN, then figures/curves.png from all CSVs

A curve is the mean over the run's folds; the metric is the fold's own images', or the test set's of `--fold full`.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import MaxNLocator

from kit import Run
from kit.tracking.metrics_file import read_history

HERE = Path(__file__).resolve().parent


def keep(run: Run) -> Path:
    """curves/RUN.csv: competition, fold, epoch, seconds, images_per_second, train_loss, metric, value."""
    rows = []
    for files in run.files.fold_folders():
        for line in read_history(files.metrics):
            kind = "test" if "test_loss" in line else "valid"
            metric = next(key for key in line if key.startswith(f"{kind}_") and key != f"{kind}_loss")
            facts = {key: line[key] for key in ("epoch", "seconds", "images_per_second", "train_loss")}
            fold = files.folder.name.removeprefix("fold_")
            rows.append(
                {"competition": run.asked.competition, "fold": fold, **facts, "metric": metric, "value": line[metric]}
            )
    path = HERE / "curves" / f"{run.name}.csv"
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def draw(panels: dict[str, dict[str, Any]], metrics: dict[str, str], path: Path) -> None:
    """Runs beside each other, a panel a group: `panels[group][run]` is (epochs, training losses, metric by epoch)."""
    figure, axes = plt.subplots(2, len(panels), figsize=(4.6 * len(panels), 6.5), squeeze=False)
    for (group, runs), (above, below) in zip(panels.items(), axes.T, strict=True):
        for number, (run, (epochs, losses, values)) in enumerate(runs.items()):
            above.plot(epochs, losses, marker=".", color=f"C{number % 10}", label=run)
            below.plot(epochs, values, marker=".", color=f"C{number % 10}")
        above.set(title=group, ylabel="training loss", ylim=(0, None))
        above.legend(fontsize=7)
        below.set(xlabel="epoch", ylabel=f"{metrics[group]}, validation or test")
        for axis in (above, below):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.tight_layout()
    figure.savefig(path, dpi=110, bbox_inches="tight")


def draw_all() -> Path:
    panels: dict[str, dict] = {}
    metrics: dict[str, str] = {}  # of each panel
    for file in sorted((HERE / "curves").glob("*.csv")):
        table = pd.read_csv(file)
        competition = str(table["competition"].iloc[0])
        folds = table[table["fold"].astype(str) != "full"]
        table = folds if len(folds) else table  # the folds' own images and the test set are no one curve
        mean = table.groupby("epoch")[["train_loss", "value"]].mean()
        name = file.stem.removeprefix(competition + "-")
        metrics[competition] = str(table["metric"].iloc[0]).partition("_")[2]
        panels.setdefault(competition, {})[name] = (mean.index, mean["train_loss"], mean["value"])
    path = HERE / "figures" / "curves.png"
    draw(panels, metrics, path)
    return path


if __name__ == "__main__":
    for name in sys.argv[2:]:
        print(keep(Run.named(name, sys.argv[1])))
    print(draw_all())
