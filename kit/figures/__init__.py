"""The one room that knows matplotlib: every figure the kit draws. Each function writes one PNG.

What draws is loaded by the first figure: matplotlib and seaborn take longer than many a command."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.figures.charts import *  # noqa: F403


def __getattr__(name: str) -> Any:
    return getattr(import_module("kit.figures.charts"), name)
