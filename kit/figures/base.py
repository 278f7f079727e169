"""What every figure needs: the theme, a file that appears whole, a logarithmic axis with plain numbers."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from kit.workspace import atomic_path

__all__ = ["logarithmic", "plt", "save", "sns"]
sns.set_theme(style="whitegrid", palette="deep", rc={"text.parse_math": False})  # two $ in a name are no formula


def save(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def logarithmic(axes: Axes, which: str) -> None:
    """A logarithmic axis (x or y) with plain numbers: matplotlib's own labels are formulas, not parsed here."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
