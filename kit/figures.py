"""The one place that knows matplotlib: every figure the kit draws. Each function writes one PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import seaborn as sns  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from kit.workspace import atomic_path  # noqa: E402

sns.set_theme(style="whitegrid", palette="deep")


def _save(figure: Figure, path: Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def learning_curves(history: Sequence[Mapping[str, Any]], metric: str, title: str, path: Path) -> None:
    """Losses at the left, the competition's metric and the learning rate at the right, by epoch."""
    epochs = [line["epoch"] for line in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    left.plot(epochs, [line["train_loss"] for line in history], marker=".", label="train")
    if history[0]["valid_loss"] is not None:
        left.plot(epochs, [line["valid_loss"] for line in history], marker=".", label="validation")
        right.plot(epochs, [line[f"valid_{metric}"] for line in history], marker=".", color="C2")
    left.set(xlabel="epoch", ylabel="loss (nats)", title=title, ylim=(0, None))
    left.legend()
    right.set(xlabel="epoch", ylabel=f"validation {metric}", title=f"{metric}, learning rate (dashed)")
    rate = right.twinx()
    rate.plot(epochs, [line["learning_rate"] for line in history], "--", color="0.6")
    rate.set(ylabel="learning rate after the epoch")
    rate.grid(False)
    figure.tight_layout()
    _save(figure, path)
