"""What every figure needs: the theme, a file that appears whole, a logarithmic axis with plain numbers."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from kit.workspace import atomic_path

__all__ = ["grid", "logarithmic", "plt", "save", "sns", "write"]
sns.set_theme(style="whitegrid", palette="deep", rc={"text.parse_math": False})  # two $ in a name are no formula


def save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    write(figure, path)


def write(figure: Figure, path: Path) -> None:
    """As it is laid out. At PNG's usual level of compression, 6, a sheet of photos takes half as long again."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight", pil_kwargs={"compress_level": 3})
    plt.close(figure)


def grid(count: int, side: float) -> tuple[Figure, list[Axes]]:
    """A figure of `count` axes, the first dozen where there are more, `side` inches each where it is one."""
    count = min(count, 12)
    columns = min(4, count)
    rows, each = -(-count // columns), side if count == 1 else 3.2
    figure, axes = plt.subplots(rows, columns, figsize=(max(each, 5.0) if count == 1 else each * columns, each * rows))
    flat = list(np.atleast_1d(axes).ravel())
    for empty in flat[count:]:
        empty.set_axis_off()
    return figure, flat[:count]


def logarithmic(axes: Axes, which: str) -> None:
    """A logarithmic axis (x or y) with plain numbers: matplotlib's own labels are formulas, not parsed here."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
